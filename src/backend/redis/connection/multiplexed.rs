//! One connection, shared by many commands at once: opening it and sending commands.
//!
//! Its health checks are in `health_check.rs`. Start with [`Connection::connect`].

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};

use super::clocks::{Checks, ServerClock, SuspendAwareInstant};
use super::command_error::CommandError;
use super::handshake::{HandshakeOptions, shake_hands};
use super::problem::RedisProblem;
use super::reply_monitor::ReplyMonitor;
use super::server_info::ServerIdentity;
use crate::timeout::with_timeout;

/// The number of commands that may wait to be written.
const WRITE_QUEUE: usize = 1024;

/// Options of a [`Connection`].
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) handshake: HandshakeOptions,
    /// A key whose expiry each health check renews to `keep_alive_ttl`.
    pub(crate) keep_alive_key: Arc<str>,
    pub(crate) keep_alive_ttl: Duration,
    /// The number of connections that were opened in place of others, or after a failed attempt.
    pub(crate) reconnects: Arc<AtomicU64>,
}

/// One connection to a primary, with the identity of its server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) inner: MultiplexedConnection,
    identity: ServerIdentity,
    /// The replication id that `INFO` reports as long as `identity` holds.
    pub(super) replication_id: String,
    pub(super) clock: ServerClock,
    pub(super) options: ConnectionOptions,
    broken: AtomicBool,
    /// The time that the large transfers in flight may take, in nanoseconds.
    transfer_time: AtomicU64,
    pub(super) replies: ReplyMonitor,
    pub(super) checks: Mutex<Checks>,
    /// Held during the check of a connection that was idle.
    pub(super) idle_check: tokio::sync::Mutex<()>,
}

impl Connection {
    /// Connects, and checks that the server can be used: see `handshake.rs`. `on_login` is called
    /// between the two.
    pub(super) async fn connect(
        client: &Client,
        options: &ConnectionOptions,
        on_login: impl FnOnce(),
    ) -> Result<Self, CommandError> {
        let connected = Self::connect_and_identify(client, options, on_login);
        let connected = with_timeout(options.connect_timeout, connected).await;
        connected.unwrap_or(Err(RedisProblem::Timeout.into()))
    }

    async fn connect_and_identify(
        client: &Client,
        options: &ConnectionOptions,
        on_login: impl FnOnce(),
    ) -> Result<Self, CommandError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE);
        #[cfg(feature = "redis-tls")]
        install_crypto_provider(client);
        let inner = client.get_multiplexed_async_connection_with_config(&config);
        let mut inner = inner.await.map_err(CommandError::from_connecting)?;
        on_login();
        let begun = SuspendAwareInstant::now();
        let handshake = shake_hands(&mut inner, &options.handshake).await?;
        Ok(Self {
            identity: handshake.identity,
            replication_id: handshake.replication_id.unwrap_or_default(),
            clock: handshake.clock,
            options: options.clone(),
            inner,
            broken: AtomicBool::new(false),
            transfer_time: AtomicU64::new(0),
            replies: ReplyMonitor::new(),
            checks: Mutex::new(Checks::new(begun)),
            idle_check: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn identity(&self) -> ServerIdentity {
        self.identity
    }

    /// Returns the server's time as a stamp for a new entry: see [`ServerClock::stamp`].
    pub(crate) fn stamp(&self) -> u64 {
        self.clock.stamp()
    }

    /// Returns the longest time since `stamp`, `None` if it is unknown: see
    /// [`ServerClock::max_age`].
    pub(crate) fn max_age(&self, stamp: u64) -> Option<Duration> {
        self.clock.max_age(stamp)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Takes the connection out of use; the pool replaces it.
    pub(crate) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Takes the connection out of use after a reply of the wrong shape.
    ///
    /// It may have been the reply to another command, so that no later reply can be trusted.
    pub(crate) fn reject_reply(&self) -> CommandError {
        self.mark_broken();
        CommandError::UnexpectedReply
    }

    /// Returns how long no reply may arrive before the connection counts as dead: the time of the
    /// large transfers in flight is part of it.
    pub(super) fn patience(&self) -> Duration {
        let transfers = Duration::from_nanos(self.transfer_time.load(Ordering::Relaxed));
        self.options.response_timeout.saturating_add(transfers)
    }

    /// Sends a command and waits for its reply, at most for `response_timeout`.
    ///
    /// After an error the command may have been executed. Cancelling does not take it back.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, CommandError> {
        let limit = self.options.response_timeout;
        self.wait_for(limit, self.reply_to(command)).await
    }

    /// Sends a command that transfers a lot, in either direction, and waits for its reply until the
    /// connection counts as dead. `transfer_time` is added to its [`patience`](Self::patience)
    /// meanwhile.
    ///
    /// Replies come in the order of commands: each that arrives is progress towards this one.
    pub(super) async fn send_patiently(
        &self,
        transfer_time: Duration,
        command: &Cmd,
    ) -> Result<Value, CommandError> {
        let _transfer = Transfer::begin(&self.transfer_time, transfer_time);
        let mut reply = pin!(self.reply_to(command));
        loop {
            match self.wait_for(self.patience(), reply.as_mut()).await {
                Err(CommandError::ResponseTimeout) if !self.is_broken() => {}
                outcome => return outcome,
            }
        }
    }

    async fn reply_to(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self.inner.clone().send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    /// Waits for a reply, at most for `limit`.
    pub(super) async fn wait_for<T>(
        &self,
        limit: Duration,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CommandError> {
        let pending = self.replies.start_waiting();
        let Some(reply) = with_timeout(limit, reply).await else {
            // Another command's reply proves that the connection works; this one is only late.
            if pending.heard_nothing() {
                self.mark_broken();
            }
            return Err(CommandError::ResponseTimeout);
        };
        pending.received();
        reply.map_err(|error| {
            let error = CommandError::from_redis(error);
            if !error.is_connection_usable() {
                self.mark_broken();
            }
            error
        })
    }
}

/// A large transfer in flight, whose time is added to the patience of its connection.
struct Transfer<'c> {
    total: &'c AtomicU64,
    nanos: u64,
}

impl<'c> Transfer<'c> {
    fn begin(total: &'c AtomicU64, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 1024);
        total.fetch_add(nanos, Ordering::Relaxed);
        Self { total, nanos }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.nanos, Ordering::Relaxed);
    }
}

/// Installs ring as the crypto provider for TLS, unless the application has chosen one.
///
/// rustls panics if it has to choose between several.
#[cfg(feature = "redis-tls")]
fn install_crypto_provider(client: &Client) {
    let is_tls = matches!(
        client.get_connection_info().addr(),
        redis::ConnectionAddr::TcpTls { .. }
    );
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails if the application installs one at this moment, which then counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
