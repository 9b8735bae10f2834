//! A timeout and a sleep that can also be used outside of a tokio runtime.
//!
//! Inside of a runtime both use its timers, so the runtime must have time enabled
//! (`Builder::enable_time` or `enable_all`), as for tower's own timeouts: tokio panics where it is
//! not. Outside of a runtime there are no timers: a timeout then never ends the wait. This module
//! knows nothing of caching; start reading at [`with_timeout`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep};

/// The rate below which a transfer times out, in bytes a second.
const MIN_TRANSFER_RATE: u64 = 1024 * 1024;

/// Returns how long the slowest transfer of this many bytes takes that does not time out.
pub(crate) fn max_transfer_time(bytes: usize) -> Duration {
    let nanos = (bytes as u64).saturating_mul(1_000_000_000) / MIN_TRANSFER_RATE;
    Duration::from_nanos(nanos)
}

pin_project! {
    /// The future of [`with_timeout`]. Written by hand, because an `async fn` would hold the inner
    /// future twice.
    pub(crate) struct WithTimeout<F> {
        #[pin]
        future: F,
        limit: Limit,
        timer: Timer,
    }
}

/// The end of a wait.
#[derive(Clone, Copy)]
enum Limit {
    /// This long after the future was pending for the first time.
    After(Duration),
    At(Instant),
}

enum Timer {
    /// The inner future has not been pending yet.
    Unset,
    /// Without tokio's budget: a future that always uses up its own would never time out.
    Running(Pin<Box<Unconstrained<Sleep>>>),
    /// There is no runtime, hence no timer.
    Unavailable,
}

/// Waits for a future for at most `limit`; resolves to `None` if the limit passes first.
///
/// The timer starts at the first poll that leaves the inner future pending: a future that is ready
/// at once makes none. Outside of a runtime the wait has no limit.
///
/// Dropping it drops the inner future.
///
/// # Panics
///
/// In a runtime without time enabled, when the inner future is pending.
pub(crate) fn with_timeout<F: Future>(limit: Duration, future: F) -> WithTimeout<F> {
    WithTimeout {
        future,
        limit: Limit::After(limit),
        timer: Timer::Unset,
    }
}

/// Waits for a future until `deadline`, like [`with_timeout`]. A future that is ready at once reads
/// no clock.
///
/// # Panics
///
/// In a runtime without time enabled, when the inner future is pending.
pub(crate) fn with_deadline<F: Future>(deadline: Instant, future: F) -> WithTimeout<F> {
    WithTimeout {
        future,
        limit: Limit::At(deadline),
        timer: Timer::Unset,
    }
}

impl<F: Future> Future for WithTimeout<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if let Timer::Unset = this.timer {
            *this.timer = Timer::start(*this.limit);
        }
        match this.timer {
            Timer::Running(timer) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(None)
            }
            Timer::Unset | Timer::Unavailable => Poll::Pending,
        }
    }
}

/// Sleeps for `duration`. Outside of a runtime it returns `false` at once, since there is no timer.
///
/// # Panics
///
/// In a runtime without time enabled.
pub(crate) async fn sleep(duration: Duration) -> bool {
    match Timer::start(Limit::After(duration)) {
        Timer::Running(timer) => {
            timer.await;
            true
        }
        Timer::Unset | Timer::Unavailable => false,
    }
}

impl Timer {
    fn start(limit: Limit) -> Self {
        let sleep = || match limit {
            Limit::After(duration) => tokio::time::sleep(duration),
            Limit::At(deadline) => tokio::time::sleep_until(deadline),
        };
        match Handle::try_current() {
            Ok(_) => Self::Running(Box::pin(unconstrained(sleep()))),
            Err(_) => Self::Unavailable,
        }
    }
}
