//! P5: a good tower citizen. Under every limit, on hyper and on axum, in and out of a runtime, and with any body.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::support::both::{AnyBackend, both_backends};
use crate::support::origin::{
    Origin, OriginBody, OriginError, OriginFuture, answer, cacheable, data, scripted,
};
use crate::support::yielding::Yielding;
use crate::support::{Answer, collect, get, put, request, send, with};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Either, Lookup, MemoryBackend, Moment, Put,
    Resource, StoredResponse, Target,
};
use tower_response_cache::stats::{Bypass, WriteOutcome};
use tower_response_cache::{BoxError, Cache, CacheLayer, ResponseBody};

/// On one that answers at once and one that makes everybody wait.
async fn on_both_backends(scenario: impl AsyncFn(AnyBackend)) {
    for backend in both_backends() {
        in_time(scenario(backend)).await;
    }
}

/// In virtual time who waits for ever has waited a day at once.
async fn in_time<F: Future>(future: F) -> F::Output {
    let day = Duration::from_secs(24 * 60 * 60);
    let output = tokio::time::timeout(day, future).await;
    output.expect("nobody waits for ever")
}

fn memory() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

/// An origin with one version of everything, which every write that reaches it counts up.
fn versions() -> Origin {
    let version = Arc::new(AtomicUsize::new(1));
    Origin::at_once(move |request| match *request.method() {
        Method::GET | Method::HEAD => cacheable(format!("v{}", version.load(Ordering::SeqCst))),
        _ => answer(
            200,
            &[],
            format!("v{}", version.fetch_add(1, Ordering::SeqCst) + 1),
        ),
    })
}

/// An origin that holds requests for `/held` until it is given a permit for each.
fn gated() -> (Arc<Semaphore>, Origin) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |request| {
        let held = held.clone();
        async move {
            if request.uri().path() == "/held" {
                held.acquire().await.expect("an open gate").forget();
            }
            Ok(cacheable(request.uri().path().to_owned()))
        }
    });
    (gate, origin)
}

/// Lets everything go on that can: what goes into a backend that waits, and what runs in tasks.
async fn settled() {
    sleep(Duration::from_millis(1)).await;
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn miss_hit_write_miss<S, B>(service: &S)
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let first = send(service, get("/a")).await;
    assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
    settled().await;
    let second = send(service, get("/a")).await;
    assert!(second.is_hit(), "{}", second.cache_status());
    assert_eq!(second.body, first.body);
    let written = send(service, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    let third = send(service, get("/a")).await;
    assert_eq!(third.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(third.body, written.body);
}

mod limits {
    use super::*;
    use tower::load_shed::error::Overloaded;
    use tower::timeout::error::Elapsed;

    #[tokio::test(start_paused = true)]
    async fn miss_hit_and_write_work_over_a_concurrency_limit_of_one() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .concurrency_limit(1)
                .service(versions());
            miss_hit_write_miss(&service).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn miss_hit_and_write_work_over_a_buffer() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .buffer(1)
                .service(versions());
            miss_hit_write_miss(&service).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn miss_hit_and_write_work_over_a_rate_limit_behind_a_buffer() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .buffer(1)
                .rate_limit(1, Duration::from_secs(1))
                .service(versions());
            let begun = Instant::now();
            miss_hit_write_miss(&service).await;
            // Three calls, one a second: the hit was not one of them.
            assert_eq!(begun.elapsed().as_secs(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn miss_hit_and_write_work_over_load_shedding() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .load_shed()
                .concurrency_limit(1)
                .service(versions());
            miss_hit_write_miss(&service).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn miss_hit_and_write_work_within_and_over_a_timeout() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .timeout(Duration::from_secs(1))
                .layer(CacheLayer::new(backend))
                .timeout(Duration::from_secs(1))
                .service(versions());
            miss_hit_write_miss(&service).await;
        })
        .await;
    }

    /// X03
    #[tokio::test(start_paused = true)]
    async fn hits_are_served_while_the_only_permit_is_taken() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .concurrency_limit(1)
                .service(origin.clone());
            send(&service, get("/a")).await;
            let in_flight = tokio::spawn(service.clone().call(get("/held")));
            settled().await;
            assert_eq!(origin.calls(), 2, "/held has the permit");

            assert!(send(&service, get("/a")).await.is_hit());
            assert!(send(&service, request(Method::HEAD, "/a")).await.is_hit());

            gate.add_permits(1);
            let held = in_flight.await.expect("no panic").expect("an answer");
            assert_eq!(collect(held).await.body, "/held");
        })
        .await;
    }

    /// X03
    #[tokio::test(start_paused = true)]
    async fn fills_and_writes_wait_for_the_permit_in_their_futures() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let mut service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .concurrency_limit(1)
                .service(origin.clone());
            let mut waiting = Vec::new();
            for request in [get("/held"), get("/b"), put("/b"), get("/c")] {
                let is_ready = poll_once(&mut ServiceExt::<Request<()>>::ready(&mut service));
                assert!(is_ready.is_ready(), "the cache is always ready");
                waiting.push(tokio::spawn(service.call(request)));
                settled().await;
            }
            assert_eq!(origin.calls(), 1, "the others wait");

            gate.add_permits(1);
            for answer in waiting {
                let response = answer.await.expect("no panic").expect("an answer");
                assert_eq!(response.status(), StatusCode::OK);
            }
            assert_eq!(origin.calls(), 4);
        })
        .await;
    }

    /// X03
    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_while_waiting_leaves_the_permit_to_others() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let mut service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .concurrency_limit(1)
                .service(origin.clone());
            let held = tokio::spawn(service.call(get("/held")));
            settled().await;
            let left = [
                tokio::spawn(service.call(get("/b"))),
                tokio::spawn(service.call(put("/b"))),
            ];
            settled().await;
            let last = tokio::spawn(service.call(get("/c")));
            settled().await;
            left.iter().for_each(|request| request.abort());

            gate.add_permits(1);
            assert!(held.await.expect("no panic").is_ok());
            assert!(last.await.expect("no panic").is_ok());
            assert_eq!(origin.calls(), 2, "who left was never called");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_left_before_it_was_called_changes_nothing() {
        let (gate, origin) = gated();
        let layer = memory();
        let service = ServiceBuilder::new()
            .layer(layer.clone())
            .concurrency_limit(1)
            .service(origin.clone());
        send(&service, get("/a")).await;
        let held = tokio::spawn(service.clone().call(get("/held")));
        settled().await;
        let mut write = service.clone().call(put("/a"));
        assert!(poll_once(&mut write).is_pending());
        drop(write);
        assert!(in_time(send(&service, get("/a"))).await.is_hit());
        assert_eq!(layer.handle().stats().writes.total(), 0);
        gate.add_permits(1);
        assert!(held.await.expect("no panic").is_ok());
    }

    /// X03: neither before nor after its call.
    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_backend_holds_no_permit() {
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(Slow(MemoryBackend::default())))
            .concurrency_limit(1)
            .service(versions());
        for waiting in [get("/a"), put("/a")] {
            let begun = Instant::now();
            let waits = tokio::spawn(service.clone().call(waiting));
            sleep(SLOW / 2).await;
            let passes = in_time(send(&service, request(Method::OPTIONS, "/a"))).await;
            assert_eq!(passes.cache_status(), "fwd=method");
            assert_eq!(begun.elapsed(), SLOW / 2, "nobody was in its way");
            assert!(waits.await.expect("no panic").is_ok());
            assert_eq!(begun.elapsed(), SLOW, "it did wait for the backend");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_streaming_body_holds_no_permit() {
        let (sender, body) = scripted();
        let body = Mutex::new(Some(body));
        let origin = Origin::at_once(move |_| match body.lock().expect("no panic").take() {
            Some(endless) => cacheable("").map(|_| endless),
            None => cacheable("other"),
        });
        let service = ServiceBuilder::new()
            .layer(memory())
            .concurrency_limit(1)
            .service(origin);
        let response = service.clone().oneshot(get("/stream")).await;
        let mut stream = response.expect("an answer").into_body();
        let other = in_time(send(&service, get("/a"))).await;
        assert_eq!(other.body, "other");
        sender.send(data("still here")).expect("a reader");
        assert_eq!(next_data(&mut stream).await, "still here");
    }

    #[tokio::test(start_paused = true)]
    async fn load_shed_inside_sheds_fills_but_no_hits() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .load_shed()
                .concurrency_limit(1)
                .service(origin);
            send(&service, get("/a")).await;
            let held = tokio::spawn(service.clone().call(get("/held")));
            settled().await;

            assert!(send(&service, get("/a")).await.is_hit());
            let shed = service.clone().oneshot(get("/b")).await;
            assert!(shed.expect_err("no permit").is::<Overloaded>());
            let shed = service.clone().oneshot(put("/b")).await;
            assert!(shed.expect_err("no permit").is::<Overloaded>());

            gate.add_permits(1);
            assert!(held.await.expect("no panic").is_ok());
        })
        .await;
    }

    /// C11: what timed out may have committed.
    async fn timing_out<S, B>(service: &S, gate: &Semaphore, origin: &Origin)
    where
        S: Service<Request<()>, Response = Response<B>, Error = BoxError> + Clone,
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        gate.add_permits(1);
        send(service, get("/held")).await;
        settled().await;
        assert!(send(service, get("/held")).await.is_hit());

        let begun = Instant::now();
        let late = service.clone().oneshot(put("/held")).await.err();
        assert!(late.expect("too late").is::<Elapsed>());
        assert_eq!(begun.elapsed(), TIME_OUT);
        // One for the write, should it go on by itself.
        gate.add_permits(2);
        settled().await;
        let calls = origin.calls();
        assert!(!send(service, get("/held")).await.is_hit());
        assert_eq!(origin.calls(), calls + 1);
    }

    const TIME_OUT: Duration = Duration::from_secs(1);

    /// X05
    #[tokio::test(start_paused = true)]
    async fn a_timeout_inside_ends_calls_and_invalidates_writes() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .timeout(TIME_OUT)
                .service(origin.clone());
            timing_out(&service, &gate, &origin).await;
        })
        .await;
    }

    /// X05
    #[tokio::test(start_paused = true)]
    async fn a_timeout_outside_ends_calls_and_invalidates_writes() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let service = ServiceBuilder::new()
                .timeout(TIME_OUT)
                .layer(CacheLayer::new(backend))
                .service(origin.clone());
            timing_out(&service, &gate, &origin).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_outside_gives_back_the_permit_of_a_fill() {
        let (_gate, origin) = gated();
        let service = ServiceBuilder::new()
            .timeout(TIME_OUT)
            .layer(memory())
            .concurrency_limit(1)
            .service(origin);
        assert!(service.clone().oneshot(get("/held")).await.is_err());
        let next = in_time(send(&service, get("/a"))).await;
        assert_eq!(next.body, "/a");
    }
}

mod readiness {
    use super::*;

    /// Takes a second poll to get ready, and panics when it is called without: this very clone, for this very call.
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

    /// X03
    #[tokio::test(start_paused = true)]
    async fn whatever_calls_the_inner_service_readies_its_own_clone() {
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

    /// Not ready while it is told so.
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

    /// X03
    #[tokio::test(start_paused = true)]
    async fn it_is_ready_and_hits_while_the_inner_service_is_not() {
        let saturated = Arc::new(AtomicBool::new(false));
        let inner = Saturable {
            origin: versions(),
            saturated: saturated.clone(),
        };
        let mut service = memory().layer(inner);
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
        let layer = memory();
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
}

mod errors {
    use super::*;

    fn has_the_error_of_its_inner_service<S, B>(_: &Cache<S, B>)
    where
        S: Service<Request<()>>,
        B: Backend,
        Cache<S, B>: Service<Request<()>, Error = S::Error>,
    {
    }

    #[tokio::test(start_paused = true)]
    async fn the_inner_services_error_comes_through_unchanged() {
        on_both_backends(async |backend| {
            let origin = Origin::new(|_| ready(Err(OriginError("down"))));
            let service = CacheLayer::new(backend).layer(origin);
            has_the_error_of_its_inner_service(&service);
            for method in [
                Method::GET,
                Method::HEAD,
                Method::OPTIONS,
                Method::PUT,
                Method::DELETE,
            ] {
                let error = service.clone().oneshot(request(method, "/a")).await;
                assert_eq!(error.expect_err("the origin is down"), OriginError("down"));
            }
        })
        .await;
    }
}

mod streams {
    use super::*;

    fn streaming(lines: &'static [(&'static str, &str)], body: OriginBody) -> Origin {
        let body = Mutex::new(Some(body));
        Origin::at_once(move |_| {
            let body = body.lock().expect("no panic").take().expect("one call");
            answer(200, lines, "").map(|_| body)
        })
    }

    async fn arrives_frame_by_frame(
        layer: CacheLayer<AnyBackend>,
        lines: &'static [(&'static str, &str)],
        cache_status: &str,
    ) {
        let (sender, body) = scripted();
        let service = layer.layer(streaming(lines, body));
        let response = service.oneshot(get("/stream")).await.expect("a head");
        let status = response.headers()["cache-status"].to_str();
        assert_eq!(status.expect("visible ASCII"), cache_status);
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), None);
        for event in ["one", "two", "three", "and so on"] {
            settled().await;
            assert!(poll_once(&mut body.frame()).is_pending(), "nothing yet");
            sender.send(data(event)).expect("a reader");
            let sent = Instant::now();
            assert_eq!(next_data(&mut body).await, event);
            assert_eq!(sent.elapsed(), Duration::ZERO, "at once");
        }
        assert!(!body.is_end_stream());
        drop(body);
        sleep(LONGEST_FILL).await;
        assert!(sender.is_closed(), "the origin is told that nobody listens");
    }

    /// A fill may go on without its client, but no longer than this.
    const LONGEST_FILL: Duration = Duration::from_secs(31);

    /// B10
    #[tokio::test(start_paused = true)]
    async fn an_endless_event_stream_arrives_frame_by_frame() {
        on_both_backends(async |backend| {
            arrives_frame_by_frame(
                CacheLayer::new(backend).ttl(Duration::from_secs(60)),
                &[("content-type", "text/event-stream; charset=utf-8")],
                "tower-response-cache; fwd=uri-miss; detail=stream",
            )
            .await;
        })
        .await;
    }

    /// B10
    #[tokio::test(start_paused = true)]
    async fn an_endless_body_of_no_telling_type_arrives_frame_by_frame() {
        on_both_backends(async |backend| {
            for layer in [
                CacheLayer::new(backend.clone()),
                CacheLayer::new(backend.clone()).max_body(8),
            ] {
                arrives_frame_by_frame(
                    layer,
                    &[("cache-control", "max-age=60")],
                    "tower-response-cache; fwd=uri-miss; stored",
                )
                .await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_writes_answer_is_a_stream_too() {
        let (sender, body) = scripted();
        let service = memory().layer(streaming(&[], body));
        let response = service.oneshot(put("/stream")).await.expect("a head");
        let mut body = response.into_body();
        assert!(poll_once(&mut body.frame()).is_pending());
        sender.send(data("progress")).expect("a reader");
        assert_eq!(next_data(&mut body).await, "progress");
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_pass_on_a_miss_and_come_again_on_a_hit() {
        on_both_backends(async |backend| {
            let origin = with_trailers();
            let service = CacheLayer::new(backend).layer(origin.clone());
            let miss = send(&service, get("/a")).await;
            settled().await;
            let hit = send(&service, get("/a")).await;
            assert!(hit.is_hit());
            for answer in [miss, hit] {
                assert_eq!(answer.body, "data");
                let trailers = answer.trailers.expect("trailers");
                let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
                assert_eq!(sums, ["1", "2"]);
            }
            assert_eq!(origin.calls(), 1);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_body_is_empty() {
        let mut body = ResponseBody::<OriginBody>::default();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(matches!(poll_once(&mut body.frame()), Poll::Ready(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn size_hints_are_exact_where_the_size_is_known() {
        let (_sender, unknown) = scripted();
        let unknown = Mutex::new(Some(unknown));
        let origin = Origin::at_once(move |request| match request.uri().path() {
            "/unknown" => {
                let body = unknown.lock().expect("no panic").take();
                cacheable("").map(|_| body.expect("one call"))
            }
            _ => cacheable("12345"),
        });
        let service = memory().layer(origin);
        let hint = async |request| {
            let response = service.clone().oneshot(request).await;
            response.expect("an answer").into_body().size_hint()
        };
        assert_eq!(hint(get("/a")).await.exact(), Some(5), "forwarded");
        send(&service, get("/a")).await;
        assert_eq!(hint(get("/a")).await.exact(), Some(5), "stored");
        assert_eq!(hint(request(Method::HEAD, "/a")).await.exact(), Some(0));
        assert_eq!(hint(put("/a")).await.exact(), Some(5), "a write's");
        assert_eq!(hint(get("/unknown")).await.upper(), None);

        send(&service, get("/b")).await;
        let hit = service.clone().oneshot(get("/b")).await;
        let mut hit = hit.expect("an answer").into_body();
        next_data(&mut hit).await;
        assert_eq!(hit.size_hint().exact(), Some(0), "what is left");
        assert!(hit.is_end_stream());
    }
}

/// Answers with trailers; the field is announced, as HTTP/1.1 wants it.
fn with_trailers() -> Origin {
    Origin::at_once(|_| {
        let (sender, body) = scripted();
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", "1".parse().expect("a field value"));
        trailers.append("x-sum", "2".parse().expect("a field value"));
        sender.send(data("data")).expect("a reader");
        sender
            .send(Ok(Frame::trailers(trailers)))
            .expect("a reader");
        let lines = [("cache-control", "max-age=3600"), ("trailer", "x-sum")];
        answer(200, &lines, "").map(|_| body)
    })
}

async fn next_data<B>(body: &mut B) -> Bytes
where
    B: Body<Data = Bytes, Error: Debug> + Unpin,
{
    let frame = body.frame().await.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}

/// What is asked of a service and its bodies: `Send`, and nothing else.
mod bounds {
    use super::*;

    /// Neither `Sync` nor `Unpin` nor `Default` nor `Clone`.
    struct Awkward {
        data: Cell<Option<Bytes>>,
        _pinned: PhantomPinned,
    }

    fn awkward(text: &'static str) -> Awkward {
        Awkward {
            data: Cell::new(Some(Bytes::from_static(text.as_bytes()))),
            _pinned: PhantomPinned,
        }
    }

    /// `Send`, but no more.
    #[derive(Debug)]
    struct AwkwardError {
        _not_sync: Cell<()>,
    }

    impl From<AwkwardError> for BoxError {
        fn from(_: AwkwardError) -> Self {
            "awkward".into()
        }
    }

    impl Body for Awkward {
        type Data = Bytes;
        type Error = AwkwardError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, AwkwardError>>> {
            Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
        }
    }

    /// `Clone` and `Send`, but no more.
    #[derive(Clone)]
    struct AwkwardService {
        calls: Cell<usize>,
    }

    struct AwkwardFuture {
        response: Cell<Option<Response<Awkward>>>,
        _pinned: PhantomPinned,
    }

    impl Future for AwkwardFuture {
        type Output = Result<Response<Awkward>, AwkwardError>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(self.response.take().expect("polled once")))
        }
    }

    impl Service<Request<Awkward>> for AwkwardService {
        type Response = Response<Awkward>;
        type Error = AwkwardError;
        type Future = AwkwardFuture;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AwkwardError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Awkward>) -> AwkwardFuture {
            self.calls.set(self.calls.get() + 1);
            AwkwardFuture {
                response: Cell::new(Some(cacheable("").map(|_| awkward("data")))),
                _pinned: PhantomPinned,
            }
        }
    }

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test(start_paused = true)]
    async fn no_sync_unpin_or_default_is_asked_of_anything() {
        on_both_backends(async |backend| {
            let layer = CacheLayer::new(backend).write_through(true);
            let service = layer.layer(AwkwardService {
                calls: Cell::new(0),
            });
            let mut hits = Vec::new();
            for method in [Method::GET, Method::GET, Method::PUT, Method::OPTIONS] {
                let request = request(method, "/a").map(|()| awkward("request"));
                let response = is_send(service.clone()).call(request);
                let response = is_send(response).await.expect("an answer");
                let answer = collect(is_send(response)).await;
                assert_eq!(answer.body, "data");
                hits.push(answer.is_hit());
                settled().await;
            }
            assert_eq!(hits, [false, true, false, false]);
        })
        .await;
    }

    #[test]
    fn the_default_body_needs_no_default_of_the_inner_one() {
        assert!(ResponseBody::<Awkward>::default().is_end_stream());
    }
}

mod methods {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_identical_writes_reach_the_handler_three_times() {
        on_both_backends(async |backend| {
            for layer in [
                CacheLayer::new(backend.clone()).ttl(Duration::from_secs(60)),
                CacheLayer::new(backend.clone()).write_through(true),
            ] {
                let origin = Origin::at_once(|request| {
                    let path = request.uri().path();
                    let own = [
                        ("cache-control", "public, max-age=3600"),
                        ("content-location", path),
                    ];
                    answer(200, &own, "done")
                });
                let service = layer.layer(origin.clone());
                for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
                    let method = Method::from_bytes(method.as_bytes()).expect("a method");
                    let before = origin.calls();
                    for time in 1..=3 {
                        let answer = send(&service, request(method.clone(), "/a")).await;
                        assert!(!answer.is_hit(), "{method}");
                        assert_eq!(origin.calls() - before, time, "{method}");
                        settled().await;
                    }
                }
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn head_never_poisons_get() {
        on_both_backends(async |backend| {
            let origin = Origin::at_once(|request| match *request.method() {
                Method::HEAD => {
                    let lines = [("cache-control", "max-age=3600"), ("content-length", "4")];
                    answer(200, &lines, "")
                }
                _ => cacheable("body"),
            });
            let service = CacheLayer::new(backend).layer(origin.clone());
            let head = send(&service, request(Method::HEAD, "/a")).await;
            assert_eq!(head.cache_status(), "fwd=uri-miss; detail=method");
            settled().await;
            let get_after = send(&service, get("/a")).await;
            assert_eq!(get_after.cache_status(), "fwd=uri-miss; stored");
            assert_eq!(get_after.body, "body");
            settled().await;
            // Nor does one that goes past a stored response.
            let fresh = with(request(Method::HEAD, "/a"), "cache-control", "no-cache");
            assert!(!send(&service, fresh).await.is_hit());
            settled().await;
            assert_eq!(send(&service, get("/a")).await.body, "body");
            assert_eq!(origin.calls(), 3);
        })
        .await;
    }

    /// B11
    #[tokio::test(start_paused = true)]
    async fn head_is_answered_from_a_stored_get() {
        let origin = Origin::at_once(|_| {
            let lines = [("cache-control", "max-age=3600"), ("etag", "\"1\"")];
            answer(200, &lines, "body")
        });
        let service = memory().layer(origin.clone());
        let stored = send(&service, get("/a")).await;
        let head = send(&service, request(Method::HEAD, "/a")).await;
        assert!(head.is_hit());
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.header("content-length"), "4");
        assert_eq!(head.header("etag"), "\"1\"");
        assert_eq!(head.header("date"), stored.header("date"));
        assert!(head.headers.contains_key("age"));
        assert_eq!(origin.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn methods_that_are_neither_reads_nor_writes_pass() {
        let layer = memory();
        let service = layer.layer(versions());
        send(&service, get("/a")).await;
        for method in [Method::OPTIONS, Method::TRACE, Method::CONNECT] {
            let passed = send(&service, request(method, "/a")).await;
            assert_eq!(passed.cache_status(), "fwd=method");
        }
        assert!(send(&service, get("/a")).await.is_hit());
        assert_eq!(layer.handle().stats().bypasses.get(Bypass::Method), 3);
    }
}

mod hosts {
    use super::*;

    fn to(target: &str, hosts: &[&str]) -> Request<()> {
        let mut builder = Request::get(target);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        builder.body(()).expect("a request")
    }

    #[tokio::test(start_paused = true)]
    async fn two_hosts_never_share() {
        on_both_backends(async |backend| {
            let origin = Origin::at_once(|request| {
                let host = request.headers()["host"].to_str().expect("visible ASCII");
                cacheable(host.to_owned())
            });
            let service = CacheLayer::new(backend).layer(origin.clone());
            let hosts = ["a.example", "b.example", "a.example:8080"];
            for host in hosts {
                assert_eq!(send(&service, to("/", &[host])).await.body, host);
            }
            settled().await;
            for host in hosts {
                let hit = send(&service, to("/", &[host])).await;
                assert!(hit.is_hit());
                assert_eq!(hit.body, host);
            }
            assert!(send(&service, to("/", &["A.Example:80"])).await.is_hit());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_to_one_host_leaves_the_other_alone() {
        let service = memory().layer(versions());
        send(&service, to("/", &["a.example"])).await;
        send(&service, to("/", &["b.example"])).await;
        let mut write = to("/", &["a.example"]);
        *write.method_mut() = Method::PUT;
        send(&service, write).await;
        assert!(!send(&service, to("/", &["a.example"])).await.is_hit());
        assert!(send(&service, to("/", &["b.example"])).await.is_hit());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_no_single_host_passes() {
        on_both_backends(async |backend| {
            let layer = CacheLayer::new(backend);
            let service = layer.layer(versions());
            for (target, hosts) in [
                ("/", &[][..]),
                ("/", &["a.example", "a.example"]),
                ("/", &["a.example", "b.example"]),
                ("/", &[""]),
                ("/", &["a.example/b"]),
                ("/", &["user@a.example"]),
                ("http://a.example/", &["b.example"]),
                ("http://a.example/", &["a.example:8080"]),
            ] {
                for _ in 0..2 {
                    let passed = send(&service, to(target, hosts)).await;
                    assert_eq!(passed.cache_status(), "fwd=bypass; detail=authority");
                    settled().await;
                }
            }
            let stats = layer.handle().stats();
            assert_eq!(stats.bypasses.get(Bypass::Authority), 16);
            assert_eq!(stats.stores, 0);
        })
        .await;
    }
}

mod tower_http_layers {
    use super::*;
    use tower_http::catch_panic::CatchPanicLayer;
    use tower_http::compression::CompressionLayer;
    use tower_http::cors::{AllowOrigin, Any, CorsLayer};
    use tower_http::timeout::TimeoutLayer;

    fn timeout_layer(status: StatusCode) -> TimeoutLayer {
        TimeoutLayer::with_status_code(status, Duration::from_secs(1))
    }

    /// X05
    #[tokio::test(start_paused = true)]
    async fn a_timeout_layer_outside_composes() {
        on_both_backends(async |backend| {
            let (gate, origin) = gated();
            let service = ServiceBuilder::new()
                .layer(timeout_layer(StatusCode::REQUEST_TIMEOUT))
                .layer(CacheLayer::new(backend))
                .service(origin);
            gate.add_permits(1);
            send(&service, get("/held")).await;
            settled().await;
            assert!(send(&service, get("/held")).await.is_hit());

            let late = send(&service, put("/held")).await;
            assert_eq!(late.status, StatusCode::REQUEST_TIMEOUT);
            gate.add_permits(2);
            settled().await;
            assert!(!send(&service, get("/held")).await.is_hit());
        })
        .await;
    }

    /// X05, C11
    #[tokio::test(start_paused = true)]
    async fn a_timeout_layer_inside_composes() {
        on_both_backends(async |backend| {
            times_out_inside(backend, StatusCode::GATEWAY_TIMEOUT).await;
        })
        .await;
    }

    /// C11: 408 is what `TimeoutLayer` has always said by default, and its handler may have committed.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_timed_out_inside_with_408_invalidates() {
        on_both_backends(async |backend| {
            times_out_inside(backend, StatusCode::REQUEST_TIMEOUT).await;
        })
        .await;
    }

    async fn times_out_inside(backend: AnyBackend, status: StatusCode) {
        let (gate, origin) = gated();
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(backend).ttl(Duration::from_secs(60)))
            .layer(timeout_layer(status))
            .service(origin);
        let late = send(&service, get("/held")).await;
        assert_eq!(late.status, status);
        assert_eq!(late.cache_status(), "fwd=uri-miss; detail=no-lifetime");
        gate.add_permits(1);
        send(&service, get("/held")).await;
        settled().await;
        assert!(send(&service, get("/held")).await.is_hit());

        assert_eq!(send(&service, put("/held")).await.status, status);
        gate.add_permits(1);
        assert!(!send(&service, get("/held")).await.is_hit());
    }

    fn from_origin(request: Request<()>, origin: &str) -> Request<()> {
        with(request, "origin", origin)
    }

    /// X05
    #[tokio::test(start_paused = true)]
    async fn a_cors_layer_outside_composes() {
        on_both_backends(async |backend| {
            let origin = versions();
            let service = ServiceBuilder::new()
                .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any))
                .layer(CacheLayer::new(backend))
                .service(origin.clone());
            let preflight = with(
                from_origin(request(Method::OPTIONS, "/a"), "https://one.example"),
                "access-control-request-method",
                "PUT",
            );
            let preflight = send(&service, preflight).await;
            assert_eq!(preflight.header("access-control-allow-methods"), "*");
            assert_eq!(origin.calls(), 0);
            for expected in [false, true] {
                let request = from_origin(get("/a"), "https://one.example");
                let answer = send(&service, request).await;
                assert_eq!(answer.is_hit(), expected);
                assert_eq!(answer.header("access-control-allow-origin"), "*");
                settled().await;
            }
        })
        .await;
    }

    /// X05, H11
    #[tokio::test(start_paused = true)]
    async fn a_cors_layer_inside_composes_and_no_origin_sees_anothers_answer() {
        on_both_backends(async |backend| {
            let mirror = CorsLayer::new().allow_origin(AllowOrigin::mirror_request());
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .layer(mirror)
                .service(versions());
            for expected in [false, true] {
                for origin in ["https://one.example", "https://two.example"] {
                    let answer = send(&service, from_origin(get("/a"), origin)).await;
                    assert_eq!(answer.is_hit(), expected);
                    assert_eq!(answer.header("access-control-allow-origin"), origin);
                    settled().await;
                }
            }
            let preflight = from_origin(request(Method::OPTIONS, "/a"), "https://one.example");
            let preflight = send(&service, preflight).await;
            assert_eq!(preflight.cache_status(), "fwd=method");
        })
        .await;
    }

    /// Panics for `/panic`, but only after it has counted up what a write changes.
    fn panicking() -> Origin {
        let origin = versions();
        Origin::new(move |mut request| {
            let panics = request.headers_mut().remove("x-panic").is_some();
            let answer = origin.clone().call(request);
            async move {
                let answer = answer.await;
                assert!(!panics, "as the test asked for");
                answer
            }
        })
    }

    async fn survives_panics<S, B>(service: &S)
    where
        S: Service<Request<()>, Response = Response<B>> + Clone,
        S::Error: Debug,
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let panicked = send(service, with(get("/a"), "x-panic", "1")).await;
        assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
        settled().await;
        assert_eq!(send(service, get("/a")).await.body, "v1", "nothing stored");
        settled().await;
        assert!(send(service, get("/a")).await.is_hit());

        let panicked = send(service, with(put("/a"), "x-panic", "1")).await;
        assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
        settled().await;
        assert_eq!(send(service, get("/a")).await.body, "v2", "invalidated");
    }

    /// X05, C11
    #[tokio::test(start_paused = true)]
    async fn catch_panic_composes_outside() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CatchPanicLayer::new())
                .layer(CacheLayer::new(backend))
                .service(panicking());
            survives_panics(&service).await;
        })
        .await;
    }

    /// X05, C11
    #[tokio::test(start_paused = true)]
    async fn catch_panic_composes_inside() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .layer(CatchPanicLayer::new())
                .service(panicking());
            survives_panics(&service).await;
        })
        .await;
    }

    fn long_text() -> Origin {
        Origin::at_once(|_| cacheable("a text that compresses well; ".repeat(100)))
    }

    fn accepting_gzip() -> Request<()> {
        with(get("/a"), "accept-encoding", "gzip")
    }

    async fn send_for_bytes<S, B>(service: &S, request: Request<()>) -> (HeaderMap, Bytes)
    where
        S: Service<Request<()>, Response = Response<B>> + Clone,
        S::Error: Debug,
        B: Body<Data = Bytes, Error: Debug>,
    {
        let response = service.clone().oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body");
        (head.headers, body.to_bytes())
    }

    const GZIP: &[u8] = &[0x1f, 0x8b];

    /// X05
    #[tokio::test(start_paused = true)]
    async fn compression_outside_composes() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CompressionLayer::new())
                .layer(CacheLayer::new(backend))
                .service(long_text());
            let (_, missed) = send_for_bytes(&service, accepting_gzip()).await;
            settled().await;
            let (head, hit) = send_for_bytes(&service, accepting_gzip()).await;
            assert_eq!(head["content-encoding"], "gzip");
            assert!(!head.contains_key("content-length"));
            assert!(hit.starts_with(GZIP) && hit == missed);
            let plain = send(&service, get("/a")).await;
            assert!(plain.is_hit(), "one stored response serves both");
            assert!(plain.body.starts_with("a text that"));
            assert_eq!(plain.header("content-length"), plain.body.len().to_string());
        })
        .await;
    }

    /// X05, H09
    #[tokio::test(start_paused = true)]
    async fn compression_inside_composes_and_encodings_do_not_mix() {
        on_both_backends(async |backend| {
            let service = ServiceBuilder::new()
                .layer(CacheLayer::new(backend))
                .layer(CompressionLayer::new())
                .service(long_text());
            let (_, missed) = send_for_bytes(&service, accepting_gzip()).await;
            settled().await;
            let plain = send(&service, get("/a")).await;
            assert_eq!(plain.cache_status(), "fwd=vary-miss; stored");
            assert!(plain.body.starts_with("a text that"));
            settled().await;

            let (head, hit) = send_for_bytes(&service, accepting_gzip()).await;
            assert!(head.contains_key("age"), "a hit");
            assert_eq!(head["content-encoding"], "gzip");
            assert_eq!(head["content-length"], hit.len().to_string());
            assert!(hit.starts_with(GZIP) && hit == missed);
            let plain = send(&service, get("/a")).await;
            assert!(plain.is_hit() && plain.body.starts_with("a text that"));
            assert_eq!(plain.header("content-encoding"), "");
        })
        .await;
    }

    /// X05
    #[tokio::test(start_paused = true)]
    async fn all_of_them_compose_with_axum_on_both_sides() {
        use axum::routing::get as handle;
        let text = "a text that compresses well; ".repeat(100);
        let router = axum::Router::new()
            .route("/a", handle(async move || text).put(async || "written"))
            .route("/held", handle(std::future::pending::<()>))
            .route("/panic", handle(async || -> () { panic!("as asked") }))
            .layer(CatchPanicLayer::new())
            .layer(CompressionLayer::new())
            .layer(CorsLayer::permissive())
            .layer(timeout_layer(StatusCode::SERVICE_UNAVAILABLE))
            .layer(memory().ttl(Duration::from_secs(60)))
            .layer(CatchPanicLayer::new())
            .layer(CompressionLayer::new())
            .layer(CorsLayer::permissive())
            .layer(timeout_layer(StatusCode::SERVICE_UNAVAILABLE));
        let service = routers::of(router);
        miss_hit_write_miss_on_axum(&service).await;
        let (_, zipped) = send_for_bytes(&service, accepting_gzip()).await;
        assert!(zipped.starts_with(GZIP));
        let panicked = send(&service, get("/panic")).await;
        assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
        let late = send(&service, get("/held")).await;
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
    }

    async fn miss_hit_write_miss_on_axum(service: &routers::Routed) {
        let hits = async || send(service, get("/a")).await.is_hit();
        assert!(!hits().await);
        assert!(hits().await);
        assert_eq!(send(service, put("/a")).await.body, "written");
        assert!(!hits().await);
        assert!(hits().await);
    }
}

mod routers {
    use super::*;
    use axum::Router;
    use axum::extract::OriginalUri;
    use axum::response::IntoResponse;
    use axum::routing::get as handle;

    type ToBody = fn(Request<()>) -> axum::extract::Request;
    pub type Routed = tower::util::MapRequest<Router, ToBody>;

    /// A router for requests without content.
    pub fn of(router: Router) -> Routed {
        let to_body: ToBody = |request| request.map(|()| axum::body::Body::empty());
        tower::util::MapRequest::new(router, to_body)
    }

    /// `/items`, by somebody, in a version that a PUT counts up.
    fn items(owner: &'static str) -> Router {
        let version = Arc::new(AtomicUsize::new(1));
        let written = version.clone();
        let read = async move || {
            let text = format!("{owner} v{}", version.load(Ordering::SeqCst));
            ([("cache-control", "max-age=3600")], text).into_response()
        };
        let write = async move || {
            let version = written.fetch_add(1, Ordering::SeqCst) + 1;
            format!("{owner} v{version}")
        };
        Router::new().route("/items", handle(read).put(write))
    }

    async fn read(service: &Routed, path: &str) -> (String, bool) {
        let answer = send(service, get(path)).await;
        assert_eq!(answer.status, StatusCode::OK);
        let is_hit = answer.is_hit();
        (answer.body, is_hit)
    }

    fn said(text: &str, is_hit: bool) -> (String, bool) {
        (text.to_owned(), is_hit)
    }

    #[tokio::test(start_paused = true)]
    async fn get_head_and_put_of_one_route_share_the_cache() {
        let layer = memory();
        let service = of(items("one").layer(layer.clone()));
        assert_eq!(read(&service, "/items").await, said("one v1", false));
        assert_eq!(read(&service, "/items").await, said("one v1", true));
        let head = send(&service, request(Method::HEAD, "/items")).await;
        assert!(head.is_hit());
        assert_eq!(
            (head.body.as_str(), head.header("content-length").as_str()),
            ("", "6")
        );
        assert_eq!(send(&service, put("/items")).await.body, "one v2");
        assert_eq!(read(&service, "/items").await, said("one v2", false));
        assert_eq!(read(&service, "/items").await, said("one v2", true));
        let stats = layer.handle().stats();
        assert_eq!((stats.hits, stats.stores), (3, 2));
    }

    /// RFC 9110 §8.6: no length but the one that a GET would be answered with. axum fills in what a body's size hint says.
    #[tokio::test(start_paused = true)]
    async fn head_of_a_hit_with_trailers_claims_no_length() {
        let with_trailers = async || {
            let response = with_trailers().oneshot(get("/a")).await;
            response.expect("an answer").into_response()
        };
        let router = Router::new().route("/a", handle(with_trailers));
        let service = of(router.layer(memory()));
        assert_eq!(read(&service, "/a").await, said("data", false));
        let head = send(&service, request(Method::HEAD, "/a")).await;
        assert!(head.is_hit());
        assert!(["", "4"].contains(&head.header("content-length").as_str()));
    }

    #[tokio::test(start_paused = true)]
    async fn routes_of_one_router_share_the_cache() {
        let router = Router::new()
            .route("/a", handle(async || "a"))
            .route("/b", handle(async || "b").put(async || "written"))
            .layer(
                memory()
                    .ttl(Duration::from_secs(60))
                    .also_invalidate(|_| ["/a"]),
            );
        let service = of(router);
        assert_eq!(read(&service, "/a").await, said("a", false));
        assert_eq!(read(&service, "/a").await, said("a", true));
        send(&service, put("/b")).await;
        assert_eq!(read(&service, "/a").await, said("a", false));
    }

    async fn never_share(router: Router) {
        let service = of(router);
        for is_hit in [false, true] {
            assert_eq!(read(&service, "/one/items").await, said("one v1", is_hit));
            assert_eq!(read(&service, "/two/items").await, said("two v1", is_hit));
        }
        assert_eq!(send(&service, put("/one/items")).await.body, "one v2");
        assert_eq!(read(&service, "/one/items").await, said("one v2", false));
        assert_eq!(read(&service, "/two/items").await, said("two v1", true));
    }

    #[tokio::test(start_paused = true)]
    async fn two_nested_routers_never_share_under_one_layer_outside() {
        let both = Router::new()
            .nest("/one", items("one"))
            .nest("/two", items("two"));
        never_share(both.layer(memory())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_nested_routers_never_share_one_layer_inside_that_keys_by_the_whole_path() {
        let layer = memory().key_by(
            |request, key| match request.extensions.get::<OriginalUri>() {
                Some(OriginalUri(whole)) => Some(key.with_path(whole.path())),
                None => Some(key),
            },
        );
        let both = Router::new()
            .nest("/one", items("one").layer(layer.clone()))
            .nest("/two", items("two").layer(layer.clone()));
        never_share(both).await;

        // A handle knows the whole path.
        let service = of(Router::new().nest("/one", items("one").layer(layer.clone())));
        assert_eq!(read(&service, "/one/items").await, said("one v2", true));
        let done = layer
            .handle()
            .invalidate("http://test.example/one/items")
            .await;
        done.expect("invalidated");
        assert_eq!(read(&service, "/one/items").await, said("one v1", false));
    }

    #[tokio::test(start_paused = true)]
    async fn two_nested_routers_never_share_one_layer_inside_with_a_scope_each() {
        let layer = memory();
        let both = Router::new()
            .nest("/one", items("one").layer(layer.clone().scope("one")))
            .nest("/two", items("two").layer(layer.clone().scope("two")));
        never_share(both).await;
        let stats = layer.handle().stats();
        assert_eq!((stats.hits, stats.stores), (3, 3), "the rest is shared");
    }
}

mod hyper_servers {
    use super::*;
    use hyper::body::Incoming;
    use hyper::server::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::service::TowerToHyperService;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::{TcpListener, TcpStream};

    const GUARD: Duration = Duration::from_secs(20);

    /// One HTTP/1.1 connection to a service.
    fn connect<S, B>(service: S) -> DuplexStream
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let service = TowerToHyperService::new(service);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        tokio::spawn(connection);
        client
    }

    /// The head of the next response, and its body if it has a length.
    async fn next_response(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a whole head"));
            }
            let head = String::from_utf8(head).expect("UTF-8");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("a whole body");
            (head, String::from_utf8(body).expect("UTF-8"))
        };
        tokio::time::timeout(GUARD, reading).await.expect("no hang")
    }

    async fn everything(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut text = String::new();
        let reading = stream.read_to_string(&mut text);
        let read = tokio::time::timeout(GUARD, reading).await.expect("no hang");
        read.expect("a clean end");
        text
    }

    async fn tell(stream: &mut (impl tokio::io::AsyncWrite + Unpin), text: &str) {
        stream.write_all(text.as_bytes()).await.expect("a listener");
    }

    /// The paths somebody was asked for.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// Answers with the path, and the content where `reads` says so; remembers what it was asked.
    fn telling(
        asked: &Asked,
        reads: bool,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + use<> {
        let asked = asked.clone();
        tower::service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            asked.lock().expect("no panic").push(path.clone());
            async move {
                let content = match reads {
                    true => request
                        .into_body()
                        .collect()
                        .await
                        .expect("content")
                        .to_bytes(),
                    false => Bytes::new(),
                };
                let text = [path.as_bytes(), &content].concat();
                let response = Response::builder().header("cache-control", "max-age=3600");
                Ok(response.body(Full::new(text.into())).expect("a response"))
            }
        })
    }

    const STORED: &str = "cache-status: tower-response-cache; fwd=uri-miss; stored\r\n";
    const HIT: &str = "cache-status: tower-response-cache; hit; ttl=";
    const HAS_CONTENT: &str =
        "cache-status: tower-response-cache; fwd=bypass; detail=request-content\r\n";

    #[tokio::test(start_paused = true)]
    async fn hits_and_misses_keep_the_connection_alive() {
        let asked = Asked::default();
        let service = telling(&asked, false);
        let mut stream = connect(memory().layer(service));
        for status in [STORED, HIT, HIT] {
            tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let (head, body) = next_response(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains(status), "{head}");
            assert_eq!(body, "/a");
        }
        assert_eq!(asked.lock().expect("no panic").len(), 1);
    }

    /// B13: without content there is nothing to wait for.
    #[tokio::test(start_paused = true)]
    async fn a_hit_is_not_held_up_by_an_expectation() {
        let service = telling(&Asked::default(), false);
        let mut stream = connect(memory().layer(service));
        tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        next_response(&mut stream).await;
        let expecting = "GET /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\r\n";
        tell(&mut stream, expecting).await;
        let (head, body) = next_response(&mut stream).await;
        assert!(head.contains(HIT), "{head}");
        assert_eq!(body, "/a");
    }

    /// B13: with content it is the inner service's to say "continue", or not.
    #[tokio::test(start_paused = true)]
    async fn an_expectation_on_a_cached_path_reaches_the_inner_service() {
        for reads in [false, true] {
            let service = telling(&Asked::default(), reads);
            let mut stream = connect(memory().layer(service));
            tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
            next_response(&mut stream).await;
            let expecting =
                "GET /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
            tell(&mut stream, expecting).await;
            let (mut head, mut body) = next_response(&mut stream).await;
            if reads {
                assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
                tell(&mut stream, " more").await;
                (head, body) = next_response(&mut stream).await;
            }
            assert!(head.contains(HAS_CONTENT), "{head}");
            assert_eq!(body, if reads { "/a more" } else { "/a" });
        }
    }

    /// P18
    #[tokio::test(start_paused = true)]
    async fn content_of_a_get_on_a_cached_path_is_never_taken_for_a_request() {
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
        let length = smuggled.len();
        let announced = format!("content-length: {length}\r\n\r\n{smuggled}");
        let chunked =
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
        for content in [announced, chunked] {
            for reads in [true, false] {
                let asked = Asked::default();
                let service = telling(&asked, reads);
                let mut stream = connect(memory().layer(service));
                tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
                assert!(next_response(&mut stream).await.0.contains(STORED));
                let fat = format!("GET /a HTTP/1.1\r\nhost: h\r\n{content}");
                let next = "GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
                tell(&mut stream, &(fat + next)).await;
                let (head, body) = next_response(&mut stream).await;
                assert!(head.contains(HAS_CONTENT), "{head}");
                assert_eq!(
                    body,
                    if reads {
                        format!("/a{smuggled}")
                    } else {
                        "/a".into()
                    }
                );
                let (head, body) = next_response(&mut stream).await;
                assert!(head.contains(STORED), "{head}");
                assert!(body.starts_with("/b"), "{body}");
                assert_eq!(everything(&mut stream).await, "");
                assert_eq!(*asked.lock().expect("no panic"), ["/a", "/a", "/b"]);
            }
        }
    }

    /// P18: two lengths in one request are for the server to refuse, or to read as one.
    #[tokio::test(start_paused = true)]
    async fn a_get_of_two_lengths_on_a_cached_path_smuggles_nothing() {
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
        let asked = Asked::default();
        let service = telling(&asked, true);
        let mut stream = connect(memory().layer(service));
        tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        next_response(&mut stream).await;
        let fat = format!(
            "GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 5\r\n\
             transfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        );
        tell(&mut stream, &fat).await;
        let answers = everything(&mut stream).await;
        assert!(!answers.contains(HIT), "{answers}");
        let asked = asked.lock().expect("no panic");
        assert!(!asked.iter().any(|path| path == "/smuggled"), "{answers}");
    }

    fn trailing() -> impl Service<
        Request<Incoming>,
        Response = Response<ResponseBody<OriginBody>>,
        Error = OriginError,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        ServiceBuilder::new()
            .map_request(|request: Request<Incoming>| request.map(|_| ()))
            .layer(memory())
            .service(with_trailers())
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_of_misses_and_hits_reach_http_2_clients() {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let service = TowerToHyperService::new(trailing());
        let server = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), service);
        tokio::spawn(server);
        let connecting = hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<Bytes>>(
            TokioExecutor::new(),
            TokioIo::new(client),
        );
        let (mut client, connection) = connecting.await.expect("a connection");
        tokio::spawn(connection);
        for is_hit in [false, true] {
            let request = Request::get("http://test.example/a").body(Default::default());
            let response = client.send_request(request.expect("a request")).await;
            let answer: Answer = collect(response.expect("an answer")).await;
            assert_eq!((answer.is_hit(), answer.body.as_str()), (is_hit, "data"));
            let trailers = answer.trailers.expect("trailers");
            assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_of_misses_and_hits_reach_http_1_clients_that_ask_for_them() {
        let service = trailing();
        for status in [STORED, HIT] {
            let mut stream = connect(service.clone());
            let asking = "GET /a HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close\r\n\r\n";
            tell(&mut stream, asking).await;
            let answer = everything(&mut stream).await;
            assert!(answer.contains(status), "{answer}");
            let end = "4\r\ndata\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n";
            assert!(answer.ends_with(end), "{answer}");
        }
    }

    /// Takes over the connection of whoever asks for it, and sends back what it hears.
    async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if !request.headers().contains_key("upgrade") {
            let response = Response::builder().header("cache-control", "max-age=3600");
            return Ok(response.body(Full::from("plain")).expect("a response"));
        }
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrading.await.expect("an upgrade"));
            let mut heard = [0; 4];
            while stream.read_exact(&mut heard).await.is_ok() {
                stream.write_all(&heard).await.expect("a listener");
            }
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        Ok(response.body(Full::default()).expect("a response"))
    }

    /// On real sockets, in real time: nothing here waits for the clock.
    #[tokio::test]
    async fn upgrades_pass_also_where_the_path_is_cached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = memory().layer(tower::service_fn(echo));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let service = TowerToHyperService::new(service.clone());
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection.with_upgrades());
            }
        });
        let mut stream = TcpStream::connect(address).await.expect("a server");
        for status in [STORED, HIT] {
            tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let (head, body) = next_response(&mut stream).await;
            assert!(head.contains(status), "{head}");
            assert_eq!(body, "plain");
        }
        let upgrade = "GET /a HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        tell(&mut stream, upgrade).await;
        let (head, _) = next_response(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("; fwd=bypass; detail=upgrade\r\n"), "{head}");
        for word in ["ping", "pong", "done"] {
            tell(&mut stream, word).await;
            let mut heard = [0; 4];
            let hearing = stream.read_exact(&mut heard);
            let heard_all = tokio::time::timeout(GUARD, hearing).await.expect("no hang");
            heard_all.expect("an echo");
            assert_eq!(heard, word.as_bytes());
        }
    }
}

/// X06
mod runtimes {
    use super::*;
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    fn runtime() -> Runtime {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.expect("a runtime")
    }

    thread_local! {
        static PANICS: Cell<usize> = const { Cell::new(0) };
    }

    /// Fails if anything panics on this thread meanwhile, in tasks too, where nobody would notice.
    fn without_panics<T>(scenario: impl FnOnce() -> T) -> T {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let _ = PANICS.try_with(|panics| panics.set(panics.get() + 1));
                report(panic);
            }));
        });
        let before = PANICS.get();
        let answer = scenario();
        assert_eq!(PANICS.get() - before, 0, "something panicked");
        answer
    }

    /// Polls without a runtime and without being woken, until it is done.
    fn poll_to_the_end<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let mut polls = std::iter::repeat_with(|| poll_once(&mut future)).take(1000);
        match polls.find(Poll::is_ready) {
            Some(Poll::Ready(output)) => output,
            _ => panic!("it waits for ever"),
        }
    }

    /// An origin of versions that takes its time, and counts what it has finished.
    #[derive(Clone, Default)]
    struct Dawdling {
        version: Arc<AtomicUsize>,
        begun: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
    }

    impl Dawdling {
        fn origin(&self) -> Origin {
            let this = self.clone();
            Origin::new(move |request| {
                let this = this.clone();
                async move {
                    this.begun.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                    if request.method() == Method::PUT {
                        this.version.fetch_add(1, Ordering::SeqCst);
                    }
                    let version = this.version.load(Ordering::SeqCst);
                    yield_now().await;
                    this.ended.fetch_add(1, Ordering::SeqCst);
                    let (sender, body) = scripted();
                    sender.send(data("v")).expect("a reader");
                    let digits = Bytes::from(version.to_string());
                    sender.send(Ok(Frame::data(digits))).expect("a reader");
                    Ok(cacheable("").map(|_| body))
                }
            })
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Place {
        InTheRuntime,
        OutsideOfIt,
        AfterItsEnd,
    }

    /// Sends a request, polls it and its body so many times, drops it, and lets what it left behind run to its end.
    /// Answers whether it had ended before.
    fn drop_after(
        polls: usize,
        place: Place,
        service: &Cache<Origin, AnyBackend>,
        request: Request<()>,
    ) -> bool {
        let runtime = runtime();
        let mut exchange = Box::pin({
            let service = service.clone();
            async move { send(&service, request).await }
        });
        let ended = runtime.block_on(async {
            for _ in 0..polls {
                if poll_once(&mut exchange).is_ready() {
                    return true;
                }
                yield_now().await;
            }
            false
        });
        match place {
            Place::InTheRuntime => runtime.block_on(async { drop(exchange) }),
            Place::OutsideOfIt => drop(exchange),
            Place::AfterItsEnd => {
                drop(runtime);
                drop(exchange);
                return ended;
            }
        }
        runtime.block_on(settled());
        ended
    }

    fn requests_dropped_at_every_poll(
        make: impl Fn() -> Request<()>,
        backend: impl Fn() -> AnyBackend,
    ) {
        for place in [Place::InTheRuntime, Place::OutsideOfIt, Place::AfterItsEnd] {
            for polls in 0.. {
                assert!(polls < 100, "it waits for ever");
                let dawdling = Dawdling::default();
                let service = CacheLayer::new(backend()).layer(dawdling.origin());
                runtime().block_on(async {
                    send(&service, get("/a")).await;
                    settled().await;
                });
                let ended = without_panics(|| drop_after(polls, place, &service, make()));
                let is_write = make().method() == Method::PUT;
                if is_write && !matches!(place, Place::AfterItsEnd) {
                    let (begun, ended) = (&dawdling.begun, &dawdling.ended);
                    let (begun, ended) =
                        (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
                    assert_eq!(begun, ended, "{place:?}, {polls}: what was begun goes on");
                }
                let read = runtime().block_on(send(&service, get("/a"))).body;
                if !matches!((place, is_write), (Place::AfterItsEnd, true)) || ended {
                    let version = dawdling.version.load(Ordering::SeqCst);
                    assert_eq!(read, format!("v{version}"), "{place:?}, {polls}");
                }
                if ended {
                    break;
                }
            }
        }
    }

    fn at_once() -> AnyBackend {
        Either::Left(MemoryBackend::default())
    }

    fn with_waits() -> AnyBackend {
        Either::Right(Yielding(MemoryBackend::default()))
    }

    /// X06
    #[test]
    fn reads_can_be_dropped_at_any_time_and_place() {
        requests_dropped_at_every_poll(|| get("/a"), at_once);
        requests_dropped_at_every_poll(|| get("/b"), at_once);
        requests_dropped_at_every_poll(|| get("/a"), with_waits);
        requests_dropped_at_every_poll(|| get("/b"), with_waits);
    }

    /// X06, C10
    #[test]
    fn writes_can_be_dropped_at_any_time_and_place() {
        requests_dropped_at_every_poll(|| put("/a"), at_once);
        requests_dropped_at_every_poll(|| put("/a"), with_waits);
    }

    /// X06
    #[test]
    fn everything_works_without_any_runtime() {
        for backend in [at_once(), with_waits()] {
            let dawdling = Dawdling::default();
            let service = CacheLayer::new(backend).layer(dawdling.origin());
            without_panics(|| {
                let say = |request| poll_to_the_end(send(&service, request)).body;
                assert_eq!(say(get("/a")), "v0");
                assert_eq!(say(get("/a")), "v0");
                assert_eq!(say(put("/a")), "v1");
                assert_eq!(say(get("/a")), "v1");
                assert_eq!(say(request(Method::OPTIONS, "/a")), "v1");
            });
        }
    }

    /// X06: there is nobody to run it to its end, but it is invalidated.
    #[test]
    fn writes_can_be_dropped_without_any_runtime() {
        for polls in 0..4 {
            let dawdling = Dawdling::default();
            let service = CacheLayer::new(at_once()).layer(dawdling.origin());
            without_panics(|| {
                poll_to_the_end(send(&service, get("/a")));
                let mut write = service.clone().call(put("/a"));
                for _ in 0..polls {
                    let _ = poll_once(&mut write);
                }
                drop(write);
                let read = poll_to_the_end(send(&service, get("/a")));
                let version = dawdling.version.load(Ordering::SeqCst);
                assert_eq!(read.body, format!("v{version}"));
            });
        }
    }

    /// X06: a backend may use what only a runtime has.
    #[test]
    fn a_write_dropped_outside_its_runtime_invalidates_on_a_backend_with_timers() {
        let origin = Dawdling::default();
        let layer = CacheLayer::new(Slow(MemoryBackend::default()));
        let service = layer.layer(origin.origin());
        let runtime = runtime();
        runtime.block_on(async {
            send(&service, get("/a")).await;
            sleep(2 * SLOW).await;
        });
        let mut write = service.clone().call(put("/a"));
        let polled = runtime.block_on(async { poll_once(&mut write) });
        assert!(polled.is_pending());
        without_panics(|| {
            drop(write);
            runtime.block_on(async { sleep(3 * SLOW).await });
        });
        assert_eq!(layer.handle().stats().writes.get(WriteOutcome::Dropped), 1);
        let read = runtime.block_on(send(&service, get("/a")));
        assert_eq!(read.body, "v1");
    }

    /// X06: the same for a body whose bytes have all been read.
    #[test]
    fn a_body_dropped_outside_its_runtime_is_no_panic_on_a_backend_with_timers() {
        let origin = Origin::at_once(|_| {
            let (sender, body) = scripted();
            sender.send(data("data")).expect("a reader");
            let lines = [("cache-control", "max-age=3600"), ("content-length", "4")];
            answer(200, &lines, "").map(|_| body)
        });
        let service = CacheLayer::new(Slow(MemoryBackend::default())).layer(origin);
        let runtime = runtime();
        let body = runtime.block_on(async {
            let response = service.clone().oneshot(get("/a")).await;
            let mut body = response.expect("an answer").into_body();
            assert_eq!(next_data(&mut body).await, "data");
            body
        });
        without_panics(|| {
            drop(body);
            runtime.block_on(async { sleep(3 * SLOW).await });
        });
    }

    /// X06
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_works_on_a_multi_thread_runtime_also_in_block_in_place() {
        let service = memory().layer(versions());
        let answer = tokio::task::block_in_place(|| {
            poll_to_the_end(send(&service, get("/a")));
            poll_to_the_end(send(&service, get("/a")))
        });
        assert!(answer.is_hit());
    }
}

const SLOW: Duration = Duration::from_secs(1);

/// A backend whose every answer takes a second.
#[derive(Clone)]
struct Slow<B>(B);

impl<B: Backend> Backend for Slow<B> {
    type Fence = B::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        sleep(SLOW).await;
        self.0.get(key, now).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        sleep(SLOW).await;
        self.0.fence(resource).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        sleep(SLOW).await;
        self.0.put(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        sleep(SLOW).await;
        self.0.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        sleep(SLOW).await;
        self.0.clear().await
    }

    fn seed(&self) -> DigestSeed {
        self.0.seed()
    }
}
