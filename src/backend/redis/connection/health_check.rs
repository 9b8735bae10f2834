//! Health checks of a connection: whether its server is still the same primary.
//!
//! A connection in use is checked once a second, beside the commands it carries. One whose last
//! passed check is too long ago, because it was idle or the check gets no reply, is checked together
//! with its next command, whose reply counts only if the check passes. Start with
//! [`Connection::usability`].

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clocks::{Checks, SuspendAwareInstant, monotonic_millis};
use super::multiplexed::Connection;
use super::script::LuaScript;
use super::server_info::{ServerInfo, server_info_commands};

/// The time between health checks of a connection in use.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A connection whose last passed check is older than this is not used before the next one has
/// passed: so long may a demoted primary be read, as the module `redis` documents.
const MAX_UNCHECKED: Duration = Duration::from_secs(2);

/// Renews the expiry of a key, unless another program has stored a value of another type there.
///
/// Keys: the key. Arguments: its time to live.
const KEEP_ALIVE: &str = "\
local value = redis.pcall('GETRANGE', KEYS[1], 0, 0)
if type(value) == 'string' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end";

/// Whether a connection can carry a command.
pub(crate) enum Usability {
    Usable,
    /// It was idle for so long that it cannot be trusted. A command may be sent at once: waiting for
    /// the check first would cost a round trip. Its reply counts only if the check passes.
    IfCheckPasses(PendingCheck),
    Broken,
}

/// The health check of a connection that was idle.
pub(crate) struct PendingCheck(JoinHandle<()>);

impl PendingCheck {
    /// Waits for the check, and returns whether the connection has passed.
    pub(crate) async fn wait_until_passed(self, connection: &Connection) -> bool {
        self.0.await.is_ok() && !connection.is_broken()
    }
}

impl Connection {
    /// Returns whether the connection can be used, and starts the health check that is due, if any.
    pub(crate) fn usability(self: &Arc<Self>, runtime: &Handle) -> Usability {
        let (now, last) = (SuspendAwareInstant::now(), *self.checks());
        if now.since(last.passed) >= MAX_UNCHECKED && !self.is_broken() {
            let connection = self.clone();
            // In its own task: the caller may be cancelled at its deadline, and the check must
            // still find a dead connection.
            let check = runtime.spawn(async move { connection.check_after_idle().await });
            return Usability::IfCheckPasses(PendingCheck(check));
        }
        if now.since(last.begun) >= CHECK_INTERVAL && self.claim_check(last, now) {
            let connection = self.clone();
            drop(runtime.spawn(async move { connection.health_check().await }));
        }
        if self.replies.is_silent_for(self.patience()) {
            self.mark_broken();
        }
        match self.is_broken() {
            true => Usability::Broken,
            false => Usability::Usable,
        }
    }

    /// Runs one health check for all callers that wait for it.
    async fn check_after_idle(&self) {
        let _guard = self.idle_check.lock().await;
        let unchecked = SuspendAwareInstant::now().since(self.checks().passed);
        if unchecked >= MAX_UNCHECKED && !self.is_broken() {
            self.health_check().await;
        }
    }

    /// Returns whether this caller is the first to notice that a check is due.
    fn claim_check(&self, last: Checks, now: SuspendAwareInstant) -> bool {
        let mut checks = self.checks();
        let is_first = checks.begun == last.begun;
        if is_first {
            checks.begun = now;
        }
        is_first
    }

    /// Checks that the server is the same primary and takes writes (it may miss its replicas),
    /// reads its clock and renews the keep-alive key.
    async fn health_check(&self) {
        let ttl = self.options.keep_alive_ttl.as_millis().to_string();
        let key = self.options.keep_alive_key.to_string();
        let mut pipeline = server_info_commands();
        pipeline.add_command(LuaScript::new(KEEP_ALIVE).eval(&[key], &[ttl.into()]));
        let mut inner = self.inner.clone();
        let begun = SuspendAwareInstant::now();
        let sent = monotonic_millis(Instant::now());
        let checks = inner.send_packed_commands(&pipeline, 0, 3);
        let replies = self.wait_for(self.patience(), checks);
        let replies = replies.await.unwrap_or_default();
        let Some(info) = ServerInfo::from_replies(&replies) else {
            tracing::debug!("redis health check failed; reconnecting");
            return self.mark_broken();
        };
        if !self.is_same_primary(&info) {
            tracing::warn!("redis server changed its role or replication id; reconnecting");
            return self.mark_broken();
        }
        if let Some(Value::ServerError(error)) = replies.get(2) {
            tracing::warn!(%error, "redis server takes no writes; reconnecting");
            return self.mark_broken();
        }
        let received = monotonic_millis(Instant::now());
        self.clock.update(info.clock_millis, sent, received);
        self.checks().passed = begun;
    }

    fn is_same_primary(&self, info: &ServerInfo<'_>) -> bool {
        let is_same = info.replication_id.unwrap_or_default() == self.replication_id;
        !info.is_replica && (is_same || self.options.handshake.trust_restarts)
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        // No panic can leave the value half written.
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
