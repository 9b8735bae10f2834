//! The wait for a response's head.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::proxy::body::timers::head_clock::HeadClock;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

/// The time that a server has for the head of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadWait<'c> {
    pub(super) clock: &'c HeadClock,
    pub(super) timeout: Duration,
}

impl HeadWait<'_> {
    /// There is a connection: the time for it does not count.
    pub(super) fn connected(self) {
        self.clock.restart_if_running();
    }

    /// Waits until the clock has run for the timeout.
    ///
    /// # Errors
    ///
    /// `HeadTimeout`.
    pub(super) async fn for_head<T>(self, head: impl Future<Output = T>) -> Result<T, ProxyError> {
        let mut head = pin!(head);
        loop {
            let since = self.clock.running_since().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                head = &mut head => return Ok(head),
                () = sleep_until(since + self.timeout) => {
                    // The clock was stopped or restarted meanwhile unless it shows the same start.
                    if self.clock.running_since() == Some(since) {
                        return Err(ProxyErrorKind::HeadTimeout.into());
                    }
                }
            }
        }
    }
}
