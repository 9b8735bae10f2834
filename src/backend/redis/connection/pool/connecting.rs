//! An attempt to connect, as it is seen by the operations that wait for it.
//!
//! It takes several round trips, of which each has the deadline of a lookup: see `reply_count.rs`.
//! Start with [`Connecting::wait`].

use std::sync::Arc;

use redis::{Client, ConnectionAddr};
use tokio::sync::watch;

use super::super::command_error::CommandError;
use super::super::multiplexed::Connection;
use crate::backend::reply_count::{expect_replies, record_reply};

/// How far an attempt has come.
#[derive(Debug)]
pub(super) enum ConnectStage {
    /// TCP, TLS and login.
    Opening,
    /// The handshake, which finds out which server it is.
    Checking,
    Done(Result<Arc<Connection>, CommandError>),
}

/// An attempt to connect. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    stage: watch::Receiver<ConnectStage>,
    /// The round trips of [`ConnectStage::Opening`].
    opening_trips: u32,
}

impl Connecting {
    /// Begins an attempt. The sender is to be told its stages.
    pub(super) fn begin(client: &Client) -> (watch::Sender<ConnectStage>, Self) {
        let (sender, stage) = watch::channel(ConnectStage::Opening);
        let opening_trips = opening_trips(client);
        let attempt = Self {
            stage,
            opening_trips,
        };
        (sender, attempt)
    }

    /// Creates one that has succeeded.
    pub(super) fn done(connection: Arc<Connection>) -> Self {
        let (_, stage) = watch::channel(ConnectStage::Done(Ok(connection)));
        Self {
            stage,
            opening_trips: 0,
        }
    }

    /// Whether the runtime of its task was shut down before its end.
    pub(super) fn is_abandoned(&self) -> bool {
        self.stage.has_changed().is_err()
    }

    /// Waits for the outcome. Each stage that ends meanwhile counts as a reply to the operation that
    /// waits.
    pub(crate) async fn wait(mut self) -> Result<Arc<Connection>, CommandError> {
        if let ConnectStage::Opening = &*self.stage.borrow_and_update() {
            // The client crate tells no single one of them.
            expect_replies(self.opening_trips - 1);
        }
        loop {
            if let ConnectStage::Done(outcome) = &*self.stage.borrow_and_update() {
                return outcome.clone();
            }
            if self.stage.changed().await.is_err() {
                // The connecting task ended with its runtime.
                return Err(CommandError::NO_RUNTIME);
            }
            record_reply();
        }
    }
}

/// Returns the round trips before the handshake: TCP, TLS, and the commands of the client crate.
fn opening_trips(client: &Client) -> u32 {
    let info = client.get_connection_info();
    let settings = info.redis_settings();
    let has_login = settings.password().is_some()
        || settings.db() != 0
        || settings.protocol().supports_resp3()
        || !settings.skip_set_lib_name();
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    1 + u32::from(is_tls) + u32::from(has_login)
}
