//! The wait for a response's head.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::proxy::body::timers::head_clock::HeadClock;
use crate::proxy::body::timers::poll_until::poll_until;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

/// A timer that is kept for the next wait: to set one anew takes less time than to make one.
pub(super) type KeptTimer = Option<Pin<Box<Sleep>>>;

/// The time that a server has for the head of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadWait<'c> {
    /// `None` for a request without content, which the server has as soon as there is a connection.
    pub(super) clock: Option<&'c HeadClock>,
    pub(super) timeout: Duration,
}

impl HeadWait<'_> {
    /// There is a connection: the time for it does not count.
    pub(super) fn connected(self) {
        if let Some(clock) = self.clock {
            clock.restart_if_running();
        }
    }

    /// Waits until the clock has run for the timeout; without a clock, for the timeout from now on.
    ///
    /// # Errors
    ///
    /// `HeadTimeout`.
    pub(super) async fn for_head<T>(
        self,
        timer: &mut KeptTimer,
        head: impl Future<Output = T>,
    ) -> Result<T, ProxyError> {
        let mut head = pin!(head);
        let mut since = self.running_since().unwrap_or_else(Instant::now);
        poll_fn(|cx| {
            if let Poll::Ready(head) = head.as_mut().poll(cx) {
                return Poll::Ready(Ok(head));
            }
            loop {
                ready!(poll_until(timer, since + self.timeout, cx));
                let running_since = self.running_since();
                // The clock was stopped or restarted meanwhile unless it shows the same start.
                if self.clock.is_none() || running_since == Some(since) {
                    return Poll::Ready(Err(ProxyErrorKind::HeadTimeout.into()));
                }
                since = running_since.unwrap_or_else(Instant::now);
            }
        })
        .await
    }

    fn running_since(self) -> Option<Instant> {
        self.clock?.running_since()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{sleep, timeout};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const LESS: Duration = Duration::from_secs(6);

    async fn time_until_timeout(wait: HeadWait<'_>, timer: &mut KeptTimer) -> Duration {
        let began = Instant::now();
        let waited = wait.for_head(timer, pending::<()>()).await;
        let error = waited.expect_err("no head comes");
        assert_eq!(error.kind(), ProxyErrorKind::HeadTimeout);
        began.elapsed()
    }

    /// Whether it has run before or not, and whether its time is over or not.
    #[tokio::test(start_paused = true)]
    async fn a_kept_timer_gives_each_wait_its_whole_time() {
        let wait = HeadWait {
            clock: None,
            timeout: TIMEOUT,
        };
        let mut timer = None;
        for pause in [Duration::ZERO, LESS, TIMEOUT * 10] {
            for _ in 0..3 {
                let head = wait.for_head(&mut timer, sleep(LESS)).await;
                assert!(head.is_ok(), "{pause:?}");
                sleep(pause).await;
            }
            let time = time_until_timeout(wait, &mut timer).await;
            assert_eq!(time, TIMEOUT, "{pause:?}");
        }
        let shorter = HeadWait {
            timeout: LESS,
            ..wait
        };
        let time = time_until_timeout(shorter, &mut timer).await;
        assert_eq!(time, LESS);
        assert!(wait.for_head(&mut timer, sleep(LESS)).await.is_ok());
    }

    /// The connection is ready only then, or more content was sent.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_restarted_begins_the_wait_anew() {
        let clock = HeadClock::started();
        let wait = HeadWait {
            clock: Some(&clock),
            timeout: TIMEOUT,
        };
        let mut timer = None;
        let mut late = pin!(wait.for_head(&mut timer, pending::<()>()));
        for _ in 0..3 {
            assert!(timeout(LESS, late.as_mut()).await.is_err());
            wait.connected();
        }
        assert!(timeout(LESS, late.as_mut()).await.is_err());
        let error = late.await.expect_err("no head comes");
        assert_eq!(error.kind(), ProxyErrorKind::HeadTimeout);
        assert_eq!(time_until_timeout(wait, &mut None).await, Duration::ZERO);
    }
}
