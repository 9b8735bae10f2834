//! Waiting, but not for ever.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::Sleep;

pin_project! {
    /// What [`within`] makes. By hand, because an async function would hold its future twice.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        limit: Duration,
        timer: Timer,
    }
}

enum Timer {
    /// Nothing had to be waited for yet.
    NotYet,
    Set(Pin<Box<Sleep>>),
    /// Nothing can end the wait.
    None,
}

/// Waits for a future, but no longer than `limit`; `None` if that is over first.
///
/// No timer is made for what needs no waiting. Where the runtime has none, or there is no runtime, nothing can end the
/// wait: it is then without limit.
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within {
        future,
        limit,
        timer: Timer::NotYet,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if let Timer::NotYet = this.timer {
            *this.timer = Timer::after(*this.limit);
        }
        match this.timer {
            Timer::Set(timer) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(None)
            }
            Timer::NotYet | Timer::None => Poll::Pending,
        }
    }
}

/// Waits for some time; whether there was a timer to do it with.
pub(crate) async fn pause(time: Duration) -> bool {
    match Timer::after(time) {
        Timer::Set(timer) => {
            timer.await;
            true
        }
        Timer::NotYet | Timer::None => false,
    }
}

impl Timer {
    fn after(limit: Duration) -> Self {
        if Handle::try_current().is_err() {
            return Self::None;
        }
        // tokio tells whether there are timers in no other way.
        let timer = catch_unwind(|| Box::pin(tokio::time::sleep(limit)));
        timer.map_or(Self::None, Self::Set)
    }
}
