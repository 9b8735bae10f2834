//! Calling the inner service.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use tokio::runtime::Handle;
use tower_service::Service;

/// Waits until a service is ready for one call.
pub(super) async fn ready<S: Service<Request<Req>>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Readies this very clone and calls it; `called` is told when that is.
pub(super) async fn call<S, Req, Res>(
    mut service: S,
    request: Request<Req>,
    called: impl FnOnce(),
) -> Result<Response<Res>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    ready(&mut service).await?;
    called();
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
        // tokio tells whether there are timers in no other way.
        let timer =
            timer.get_or_insert_with(|| catch_unwind(|| Box::pin(tokio::time::sleep(limit))).ok());
        match timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Runs what needs no waiting right here, and the rest, if there is one, in a task of its own.
pub(super) fn run_aside(future: impl Future<Output = ()> + Send + 'static) {
    run_on(Handle::try_current().ok().as_ref(), future);
}

/// The same with the runtime for the rest, whose timers and sockets may be needed at once. Without one there is nobody to
/// run it: it is given up, and said.
///
/// This is called while values are dropped, in a panic too: one of the future's own ends here.
pub(super) fn run_on(runtime: Option<&Handle>, future: impl Future<Output = ()> + Send + 'static) {
    let _entered = runtime.map(Handle::enter);
    let mut future = Box::pin(future);
    let mut cx = Context::from_waker(Waker::noop());
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx))) {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => match runtime {
            Some(runtime) => drop(runtime.spawn(future)),
            None => tracing::error!("no runtime: background work of the cache was given up"),
        },
        Err(_) => tracing::error!("background work of the cache panicked"),
    }
}
