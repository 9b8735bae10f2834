//! One connection, and what is known of the server at its other end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::fault::Fault;
use super::server_clock::{ServerClock, millis};
use super::standing::{Standing, field, standing, text};
use super::token::Identity;
use crate::timeout::with_timeout;

/// How often a connection in use is asked whether its server still is what it was.
const PULSE: Duration = Duration::from_secs(1);
/// A connection that nobody asked for so long is not trusted before it was.
const IDLE: Duration = Duration::from_secs(3);
/// Whoever leaves earlier than that was in a hurry; after that, it is the server that is slow.
const SUSPICIOUS: Duration = Duration::from_millis(20);
/// Commands that wait to be written.
const QUEUE: usize = 1024;

/// When something was, on two clocks: one of them stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    monotonic: Instant,
    wall: SystemTime,
}

impl Reading {
    fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        wall.max(monotonic)
    }
}

/// How a link is made, and for how long it waits.
#[derive(Clone, Debug)]
pub(super) struct LinkOptions {
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    /// Whether what a server kept over a restart counts, and a failover is none.
    pub(super) trusts_restarts: bool,
    /// A key that is kept alive.
    pub(super) epoch: Arc<str>,
    pub(super) epoch_life: Duration,
}

/// One connection. It is used by many at once.
#[derive(Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    identity: Identity,
    /// What is expected of `INFO replication` as long as the identity holds.
    replication: String,
    clock: ServerClock,
    options: LinkOptions,
    is_broken: AtomicBool,
    /// When the last reply came.
    answered: AtomicU64,
    /// Since when somebody has waited in vain; 0 if nobody has.
    silent: AtomicU64,
    /// When its pulse was last felt.
    pulse: Mutex<Reading>,
    waking: tokio::sync::Mutex<()>,
}

impl Link {
    /// Connects, and asks the server who it is.
    pub(super) async fn open(client: &Client, options: &LinkOptions) -> Result<Self, Fault> {
        let opened = with_timeout(options.connect_timeout, Self::connect(client, options)).await;
        opened.unwrap_or(Err(Fault::ConnectTimeout))
    }

    async fn connect(client: &Client, options: &LinkOptions) -> Result<Self, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        #[cfg(feature = "redis-tls")]
        provide_cryptography(client);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connection.await.map_err(Fault::Connect)?;
        let mut ask = standing();
        ask.cmd("INFO").arg("server");
        let asked = millis(Instant::now());
        let said = connection.send_packed_commands(&ask, 0, 3).await;
        let said = said.map_err(Fault::Connect)?;
        // What even this is refused for (`NOAUTH`, `BUSY`) is for the log.
        if let Some(Value::ServerError(error)) = said.first() {
            return Err(Fault::Connect(error.clone().into()));
        }
        let standing = Standing::of(&said).ok_or(Fault::Unexpected)?;
        let run = said.get(2).and_then(text);
        let run = run.and_then(|info| field(info, "run_id"));
        let identity = match (options.trusts_restarts, run, standing.replication) {
            (true, ..) => Identity::any(),
            (false, Some(run), Some(replication)) => Identity::of(run, replication),
            (false, ..) => return Err(Fault::Anonymous),
        };
        if standing.is_replica {
            return Err(Fault::NotPrimary);
        }
        let now = millis(Instant::now());
        Ok(Self {
            identity,
            replication: standing.replication.unwrap_or_default().to_owned(),
            clock: ServerClock::new(standing.clock, asked, now),
            options: options.clone(),
            connection,
            is_broken: AtomicBool::new(false),
            answered: AtomicU64::new(now),
            silent: AtomicU64::new(0),
            pulse: Mutex::new(Reading::now()),
            waking: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Whether it is worth trying. Has the server's standing looked after, now and then; where nobody has for long, before
    /// anybody trusts it.
    pub(super) async fn is_usable(self: &Arc<Self>, runtime: &Handle) -> bool {
        let (now, felt) = (Reading::now(), *self.pulse());
        let since = now.since(felt);
        if since >= IDLE && !self.is_broken() {
            let link = self.clone();
            // In a task of its own: whoever waits has a deadline, which must not keep a dead link alive.
            let _ = runtime.spawn(async move { link.wake().await }).await;
        } else if since >= PULSE && self.is_first_to_feel(felt, now) {
            let link = self.clone();
            drop(runtime.spawn(async move { link.feel_pulse().await }));
        }
        let silent = self.silent.load(Ordering::Relaxed);
        let patience = self.options.response_timeout.as_millis() as u64;
        if silent != 0 && millis(Instant::now()).saturating_sub(silent) >= patience {
            self.breaks();
        }
        !self.is_broken()
    }

    /// Feels the pulse for all who wait for that.
    async fn wake(&self) {
        let _first = self.waking.lock().await;
        if Reading::now().since(*self.pulse()) >= IDLE && !self.is_broken() {
            self.feel_pulse().await;
        }
    }

    fn pulse(&self) -> MutexGuard<'_, Reading> {
        // Nothing in here panics between two steps that belong together.
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first_to_feel(&self, felt: Reading, now: Reading) -> bool {
        let mut pulse = self.pulse();
        let is_first = *pulse == felt;
        if is_first {
            *pulse = now;
        }
        is_first
    }

    /// Nobody is to use it any more.
    pub(super) fn breaks(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Sends a command and waits for its reply.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut connection = self.connection.clone();
        let reply = async {
            match connection.send_packed_command(command).await? {
                Value::ServerError(error) => Err(error.into()),
                value => Ok(value),
            }
        };
        self.reply(reply).await
    }

    async fn reply<T>(
        &self,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Fault> {
        let waiting = Waiting {
            link: self,
            since: Instant::now(),
        };
        let reply = with_timeout(self.options.response_timeout, reply).await;
        let Some(reply) = reply else {
            waiting.in_vain();
            return Err(Fault::Timeout);
        };
        waiting.ended();
        reply.map_err(|error| {
            let fault = Fault::of(error);
            if !fault.spares_the_connection() {
                self.breaks();
            }
            fault
        })
    }

    /// Looks whether the server still is the one that was connected to, and what its clock says.
    async fn feel_pulse(&self) {
        let life = self.options.epoch_life.as_millis() as u64;
        let mut ask = standing();
        ask.cmd("PEXPIRE").arg(&*self.options.epoch).arg(life);
        let mut connection = self.connection.clone();
        let asked = millis(Instant::now());
        let said = self.reply(connection.send_packed_commands(&ask, 0, 3));
        let said = said.await.unwrap_or_default();
        let Some(standing) = Standing::of(&said) else {
            tracing::debug!("no pulse");
            return self.breaks();
        };
        if !self.is_as_before(&standing) {
            tracing::warn!("this Redis is not what it was: connecting anew");
            return self.breaks();
        }
        self.clock
            .set(standing.clock, asked, millis(Instant::now()));
        *self.pulse() = Reading::now();
    }

    fn is_as_before(&self, standing: &Standing<'_>) -> bool {
        let is_known = standing.replication.unwrap_or_default() == self.replication;
        !standing.is_replica && (is_known || self.options.trusts_restarts)
    }
}

/// For TLS, ring's, where nobody has chosen another: rustls panics if it is left to choose between several.
#[cfg(feature = "redis-tls")]
fn provide_cryptography(client: &Client) {
    let is_tls = matches!(
        client.get_connection_info().addr(),
        redis::ConnectionAddr::TcpTls { .. }
    );
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may be quicker; then it is his.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Somebody who waits for a reply. Dropped before there is one, it notes how long nothing came.
struct Waiting<'l> {
    link: &'l Link,
    since: Instant,
}

impl Waiting<'_> {
    /// There is a reply.
    fn ended(self) {
        let answered = millis(Instant::now());
        self.link.answered.store(answered, Ordering::Relaxed);
        self.link.silent.store(0, Ordering::Relaxed);
        std::mem::forget(self);
    }

    /// It took too long. Where nothing at all came meanwhile, nothing will.
    fn in_vain(self) {
        if self.heard_nothing() {
            self.link.breaks();
        }
    }

    fn heard_nothing(&self) -> bool {
        self.link.answered.load(Ordering::Relaxed) < millis(self.since)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= SUSPICIOUS && self.heard_nothing() {
            let (silent, since) = (&self.link.silent, millis(self.since));
            let _ = silent.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
