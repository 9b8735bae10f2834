//! The time that counts towards the timeout for a response's head.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Measures how long the upstream has had everything it needs to answer.
///
/// The request's body starts and stops the clock, [`UpstreamClient`] reads it. Clones share it.
///
/// [`UpstreamClient`]: crate::proxy::upstream::client::UpstreamClient
#[derive(Clone, Debug)]
pub(in crate::proxy) struct HeadClock(Arc<Mutex<Option<Instant>>>);

impl HeadClock {
    /// A clock that runs from now on.
    pub(in crate::proxy) fn started() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// Starts again from zero, unless the clock is stopped: the connection is ready only now.
    pub(in crate::proxy) fn restart_if_running(&self) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = since.map(|_| Instant::now());
    }

    /// Starts from zero: all content that the client has sent so far was handed to the connection.
    pub(in crate::proxy::body) fn restart(&self) {
        self.set(Some(Instant::now()));
    }

    /// Stops: the proxy waits for the client's content.
    pub(in crate::proxy::body) fn stop(&self) {
        self.set(None);
    }

    /// When the clock was started; `None` while it is stopped.
    pub(in crate::proxy) fn running_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
