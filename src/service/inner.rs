//! Calling the inner service.

use std::future::{Future, poll_fn};
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use tokio::runtime::Handle;
use tower_service::Service;

/// How many fills wait for the inner service to be ready.
#[derive(Debug, Default)]
pub(crate) struct Queue(AtomicUsize);

/// A place in the queue; left when dropped.
struct Place<'q>(&'q Queue);

impl Queue {
    fn enter(&self, most: usize) -> Option<Place<'_>> {
        let grow = |waiting: usize| (waiting < most).then_some(waiting + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
            .then(|| Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until a service is ready for one call, in a queue of at most `most`; `None` if that is full.
pub(super) async fn ready_in<S: Service<Request<Req>>, Req>(
    queue: &Queue,
    most: usize,
    service: &mut S,
) -> Option<Result<(), S::Error>> {
    let mut place = None;
    poll_fn(|cx| match service.poll_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(Some(ready)),
        Poll::Pending => {
            // Whoever need not wait needs no place either.
            place = place.take().or_else(|| queue.enter(most));
            match place {
                Some(_) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    })
    .await
}

/// Waits until a service is ready for one call.
pub(super) async fn ready<S: Service<Request<Req>>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Readies this very clone and calls it.
pub(super) async fn call<S, Req, Res>(
    mut service: S,
    request: Request<Req>,
) -> Result<Response<Res>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    ready(&mut service).await?;
    service.call(request).await
}

/// Waits for a future, but no longer than `limit`; `None` if that is over first.
///
/// No timer is made for what needs no waiting. Where the runtime has none, or there is no runtime, nothing can end the
/// wait: it is then without limit.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
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
