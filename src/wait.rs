//! Waiting, but not for ever.

use std::future::{Future, poll_fn};
use std::panic::catch_unwind;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

/// Waits for a future, but no longer than `limit`; `None` if that is over first.
///
/// No timer is made for what needs no waiting. Where the runtime has none, or there is no runtime, nothing can end the
/// wait: it is then without limit.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| {
            Handle::try_current().ok()?;
            // tokio tells whether there are timers in no other way.
            catch_unwind(|| Box::pin(tokio::time::sleep(limit))).ok()
        });
        match timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
