//! Who is asked for readiness, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::CacheLayer;

use crate::support::origin::{Origin, OriginBody, OriginError, OriginFuture, answer, versions};
use crate::support::polling::poll_once;
use crate::support::time::in_time;
use crate::support::{get, in_memory, put, request, send, with};
use crate::{miss_hit_write_miss, on_both_backends};

/// Takes a second poll to get ready, and panics when it is called without: this very clone, for
/// this very call.
struct Strict {
    origin: Origin,
    polls: usize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            polls: 0,
        }
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        self.polls += 1;
        if self.polls >= 2 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        assert!(self.polls >= 2, "called, but not ready");
        self.polls = 0;
        self.origin.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_readies_its_own_clone_of_the_inner_service() {
    on_both_backends(async |backend| {
        let strict = Strict {
            origin: versions(),
            polls: 0,
        };
        let service = CacheLayer::new(backend).layer(strict);
        miss_hit_write_miss(&service).await;
        let upgrade = with(get("/a"), "upgrade", "echo");
        let without_host = Request::get("/a").body(()).expect("a request");
        for request in [
            request(Method::HEAD, "/b"),
            request(Method::OPTIONS, "/a"),
            request(Method::DELETE, "/a"),
            upgrade,
            without_host,
        ] {
            assert_eq!(send(&service, request).await.status, StatusCode::OK);
        }
    })
    .await;
}

/// Not ready while the flag says so.
#[derive(Clone)]
struct Saturable {
    origin: Origin,
    saturated: Arc<AtomicBool>,
}

impl Service<Request<()>> for Saturable {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        if self.saturated.load(Ordering::SeqCst) {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        self.origin.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_and_hits_while_the_inner_service_is_not() {
    let saturated = Arc::new(AtomicBool::new(false));
    let inner = Saturable {
        origin: versions(),
        saturated: saturated.clone(),
    };
    let mut service = in_memory().layer(inner);
    send(&service, get("/a")).await;
    saturated.store(true, Ordering::SeqCst);

    let is_ready = poll_once(&mut ServiceExt::<Request<()>>::ready(&mut service));
    assert!(is_ready.is_ready());
    let hit = poll_once(&mut service.call(get("/a")));
    assert!(hit.is_ready(), "without waiting for anything");
    let mut miss = service.call(get("/b"));
    assert!(poll_once(&mut miss).is_pending());

    saturated.store(false, Ordering::SeqCst);
    assert!(poll_once(&mut miss).is_ready());
}

/// Fails to get ready.
#[derive(Clone)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Err(OriginError("not ready")))
    }

    fn call(&mut self, _: Request<()>) -> OriginFuture {
        panic!("called, but not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_get_ready_is_an_error_of_the_future() {
    let layer = in_memory();
    let mut service = layer.layer(Broken);
    for request in [get("/a"), put("/a"), request(Method::OPTIONS, "/a")] {
        let is_ready = poll_once(&mut ServiceExt::<Request<()>>::ready(&mut service));
        assert!(matches!(is_ready, Poll::Ready(Ok(_))));
        let error = service.call(request).await.expect_err("not ready");
        assert_eq!(error, OriginError("not ready"));
    }
    let writes = layer.handle().stats().writes;
    assert_eq!(writes.total(), 0, "what was not called wrote nothing");
}

/// A request that is sent once more waits for readiness once more, and lets go of all that the
/// first response holds before: with one place it must not wait for itself.
#[tokio::test(start_paused = true)]
async fn a_repeated_call_readies_the_service_again() {
    on_both_backends(async |backend| {
        let origin = Origin::at_once(|request| {
            let is_validation = request.headers().contains_key("if-none-match");
            let (status, tag) = if is_validation {
                (304, "\"b\"")
            } else {
                (200, "\"a\"")
            };
            answer(
                status,
                &[("etag", tag), ("cache-control", "no-cache")],
                "text",
            )
        });
        let strict = Strict {
            origin: origin.clone(),
            polls: 0,
        };
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(backend))
            .layer(HoldsItsPlace(Arc::new(Semaphore::new(1))))
            .service(strict);
        for calls in [1, 3] {
            let answer = in_time(send(&service, get("/a"))).await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
            assert_eq!(origin.calls(), calls);
        }
    })
    .await;
}

/// Allows as many calls at a time as there are places. A response holds its place until its body
/// is dropped.
struct HoldsItsPlace(Arc<Semaphore>);

impl<S> Layer<S> for HoldsItsPlace {
    type Service = Placed<S>;

    fn layer(&self, inner: S) -> Placed<S> {
        Placed {
            inner,
            places: PollSemaphore::new(self.0.clone()),
            place: None,
        }
    }
}

struct Placed<S> {
    inner: S,
    places: PollSemaphore,
    place: Option<OwnedSemaphorePermit>,
}

impl<S: Clone> Clone for Placed<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            places: self.places.clone(),
            place: None,
        }
    }
}

impl<S> Service<Request<()>> for Placed<S>
where
    S: Service<Request<()>, Response = Response<OriginBody>, Error = OriginError>,
    S::Future: Send + 'static,
{
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        if self.place.is_none() {
            self.place = ready!(self.places.poll_acquire(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        let place = self.place.take().expect("called, but not ready");
        let called = self.inner.call(request);
        Box::pin(async move {
            let response = called.await?;
            let held = response.map(|body| {
                body.map_frame(move |frame| {
                    let _ = &place;
                    frame
                })
            });
            Ok(held.map(BodyExt::boxed_unsync))
        })
    }
}
