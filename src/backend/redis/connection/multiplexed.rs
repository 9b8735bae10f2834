//! One connection, shared by many commands at once: opening it and sending commands.
//!
//! Its health checks are in `health_check.rs`. Start with [`Connection::connect`].

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::time::Instant;

use super::clocks::{ServerClock, SuspendAwareInstant, monotonic_millis};
use super::command_error::CommandError;
use super::reply_monitor::ReplyMonitor;
use super::server_info::ServerIdentity;
use super::server_info::{ServerInfo, bulk_text, info_field, server_info_commands};
use crate::timeout::with_timeout;

/// The number of commands that may wait to be written.
const WRITE_QUEUE: usize = 1024;

/// Options of a [`Connection`].
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// Whether a server stays the same over a restart or a failover.
    pub(crate) trust_restarts: bool,
    /// A key whose expiry each health check renews to `keep_alive_ttl`.
    pub(crate) keep_alive_key: Arc<str>,
    pub(crate) keep_alive_ttl: Duration,
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
    pub(super) replies: ReplyMonitor,
    pub(super) last_check: Mutex<SuspendAwareInstant>,
    /// Held during the check of a connection that was idle.
    pub(super) idle_check: tokio::sync::Mutex<()>,
}

impl Connection {
    /// Connects, and reads the identity and the clock of the server.
    pub(crate) async fn connect(
        client: &Client,
        options: &ConnectionOptions,
    ) -> Result<Self, CommandError> {
        let connected = Self::connect_and_identify(client, options);
        let connected = with_timeout(options.connect_timeout, connected).await;
        connected.unwrap_or(Err(CommandError::ConnectTimeout))
    }

    async fn connect_and_identify(
        client: &Client,
        options: &ConnectionOptions,
    ) -> Result<Self, CommandError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE);
        #[cfg(feature = "redis-tls")]
        install_crypto_provider(client);
        let inner = client.get_multiplexed_async_connection_with_config(&config);
        let mut inner = inner.await.map_err(CommandError::Connect)?;
        let mut pipeline = server_info_commands();
        pipeline.cmd("INFO").arg("server");
        let sent = monotonic_millis(Instant::now());
        let replies = inner.send_packed_commands(&pipeline, 0, 3).await;
        let replies = replies.map_err(CommandError::Connect)?;
        // `NOAUTH` or `BUSY`, which the log has to show.
        if let Some(Value::ServerError(error)) = replies.first() {
            return Err(CommandError::Connect(error.clone().into()));
        }
        let info = ServerInfo::from_replies(&replies).ok_or(CommandError::UnexpectedReply)?;
        let run_id = replies.get(2).and_then(bulk_text);
        let run_id = run_id.and_then(|info| info_field(info, "run_id"));
        let identity = match (options.trust_restarts, run_id, info.replication_id) {
            (true, ..) => ServerIdentity::any(),
            (false, Some(run_id), Some(replication)) => ServerIdentity::new(run_id, replication),
            (false, ..) => return Err(CommandError::UnknownIdentity),
        };
        if info.is_replica {
            return Err(CommandError::NotPrimary);
        }
        let received = monotonic_millis(Instant::now());
        Ok(Self {
            identity,
            replication_id: info.replication_id.unwrap_or_default().to_owned(),
            clock: ServerClock::new(info.clock_millis, sent, received),
            options: options.clone(),
            inner,
            broken: AtomicBool::new(false),
            replies: ReplyMonitor::new(),
            last_check: Mutex::new(SuspendAwareInstant::now()),
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

    /// Sends a command and waits for its reply.
    ///
    /// After an error the command may have been executed. Cancelling does not take it back.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, CommandError> {
        let mut inner = self.inner.clone();
        let reply = async {
            match inner.send_packed_command(command).await? {
                Value::ServerError(error) => Err(error.into()),
                value => Ok(value),
            }
        };
        self.wait_for(reply).await
    }

    /// Waits for a reply, at most for `response_timeout`.
    pub(super) async fn wait_for<T>(
        &self,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CommandError> {
        let pending = self.replies.start_waiting();
        let Some(reply) = with_timeout(self.options.response_timeout, reply).await else {
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
