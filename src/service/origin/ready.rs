//! Calling the inner service.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::{Request, Response};
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
pub(crate) async fn ready_in<S: Service<Request<Req>>, Req>(
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
pub(crate) async fn ready<S: Service<Request<Req>>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Readies this very clone and calls it.
pub(crate) async fn call<S, Req, Res>(
    mut service: S,
    request: Request<Req>,
) -> Result<Response<Res>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    ready(&mut service).await?;
    service.call(request).await
}
