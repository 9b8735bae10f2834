//! Each request has one result: the sum over all results is the number of requests.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::RequestResult::{self, *};

use crate::support::origin::{Origin, OriginError, Response, answer, cacheable, scripted, slow};
use crate::support::time::{SLOW, in_virtual_time, settle, settled};
use crate::support::yielding::yielding;
use crate::support::{get, gets, put, request, send, send_all, with};
use crate::{counted_since, layer};

/// An origin whose paths say how it answers.
fn origin() -> Origin {
    Origin::new(async |request: Request<()>| {
        let path = request.uri().path().to_owned();
        if path.starts_with("/slow") {
            sleep(SLOW).await;
        }
        respond(&path, &request)
    })
}

fn respond(path: &str, request: &Request<()>) -> Result<Response, OriginError> {
    let has = |name| request.headers().contains_key(name);
    let validated = [("cache-control", "max-age=1"), ("etag", "\"a\"")];
    Ok(match path {
        "/error" => return Err(OriginError("no answer")),
        "/panic" => panic!("in the inner service"),
        "/500" => answer(500, &[], "failed"),
        "/no-store" => answer(200, &[("cache-control", "no-store")], "x"),
        "/swr" => answer(
            200,
            &[("cache-control", "max-age=1, stale-while-revalidate=60")],
            "x",
        ),
        "/if-error" if has("x-fail") => answer(503, &[], "failed"),
        "/if-error" => answer(
            200,
            &[("cache-control", "max-age=1, stale-if-error=60")],
            "x",
        ),
        "/validated" if has("if-none-match") => answer(304, &validated, ""),
        "/validated" => answer(200, &validated, "x"),
        _ => cacheable("0123456789"),
    })
}

/// Sends requests one after the other, and compares what each counts as.
async fn assert_results<B: Backend>(
    layer: &CacheLayer<B>,
    requests: impl IntoIterator<Item = (Request<()>, RequestResult)>,
) {
    let mut service = layer.layer(origin());
    for (request, expected) in requests {
        let before = layer.handle().stats();
        let named = format!("{} {}", request.method(), request.uri());
        let response = service.call(request).await;
        let counted = counted_since(&before, layer);
        assert_eq!(counted, [(expected, 1)], "{named}");
        drop(response);
        settled().await;
        // Neither its body nor its work in the background counts as a request.
        assert_eq!(counted_since(&before, layer), counted, "{named}");
    }
}

fn head(path: &str) -> Request<()> {
    request(Method::HEAD, path)
}

/// Requests of every kind, in an order in which they find the store as they need it.
fn every_kind() -> Vec<(Request<()>, RequestResult)> {
    let range = |path, range| with(get(path), "range", range);
    let only_if_cached = |path| with(get(path), "cache-control", "only-if-cached");
    let doubled_host = with(get("/a"), "host", "other.example");
    vec![
        (get("/a"), Miss),
        (get("/a"), Hit),
        (head("/a"), Hit),
        (range("/a", "bytes=1-3"), Hit),
        (range("/a", "bytes=90-"), Hit),
        (with(get("/a"), "cache-control", "no-cache"), Miss),
        (only_if_cached("/a"), Hit),
        (only_if_cached("/other"), GatewayTimeout),
        (head("/unknown"), Miss),
        (get("/no-store"), Miss),
        (get("/no-store"), Miss),
        (get("/500"), Miss),
        (get("/error"), Miss),
        (put("/a"), Bypass),
        (put("/error"), Bypass),
        (get("/a"), Miss),
        (request(Method::OPTIONS, "/a"), Bypass),
        (request(Method::OPTIONS, "/error"), Bypass),
        (with(get("/a"), "content-length", "3"), Bypass),
        (with(put("/a"), "host", "other.example"), Rejected),
        (doubled_host, Bypass),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_request_counts_once() {
    assert_results(&layer(), every_kind()).await;
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_request_counts_once_where_lookups_wait() {
    let layer = in_virtual_time(yielding(MemoryBackend::default()));
    assert_results(&layer, every_kind()).await;
}

/// Stale responses, with and without a call.
#[tokio::test(start_paused = true)]
async fn stale_and_revalidated_responses_count_as_such() {
    let layer = layer().failure_backoff(Duration::ZERO);
    let paths = ["/swr", "/if-error", "/validated"];
    assert_results(&layer, paths.map(|path| (get(path), Miss))).await;
    sleep(Duration::from_secs(3)).await;
    let with_failure = with(get("/if-error"), "x-fail", "1");
    let requests = [
        (get("/swr"), Stale),
        (with_failure, Stale),
        (get("/validated"), Revalidated),
        (get("/validated"), Hit),
    ];
    assert_results(&layer, requests).await;
    // `/swr` was refreshed in the background, which is no request.
    let stats = layer.handle().stats();
    assert_eq!(stats.hit_ratio(), 4.0 / 7.0);
    assert_eq!((stats.refreshes.total(), stats.requests.total()), (1, 7));
}

/// A panic of the inner service is its request's, which was on its way to a result.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_inner_service_counts_as_its_way() {
    for (request, expected) in [
        (get("/panic"), Miss),
        (put("/panic"), Bypass),
        (request(Method::OPTIONS, "/panic"), Bypass),
    ] {
        let layer = layer();
        let before = layer.handle().stats();
        let service = layer.layer(origin());
        let panicked = tokio::spawn(service.oneshot(request)).await;
        assert!(panicked.is_err_and(|error| error.is_panic()));
        assert_eq!(counted_since(&before, &layer), [(expected, 1)]);
    }
}

/// One call for three clients: one miss, and two that shared it.
#[tokio::test(start_paused = true)]
async fn followers_count_as_collapsed() {
    let layer = layer();
    let before = layer.handle().stats();
    let origin = slow(|_, _| cacheable("x"));
    send_all(&layer.layer(origin.clone()), gets(3)).await;
    assert_eq!(origin.calls(), 1);
    assert_eq!(counted_since(&before, &layer), [(Collapsed, 2), (Miss, 1)]);
}

/// A client that leaves before it has the head is counted as one that left; a call that goes on
/// for others, or to its end, is not counted once more.
#[tokio::test(start_paused = true)]
async fn clients_that_leave_early_count_as_canceled() {
    let layer = layer();
    let service = layer.layer(origin());
    let mut cx = Context::from_waker(Waker::noop());
    for left in [
        get("/slow/leader"),
        put("/slow/write"),
        request(Method::OPTIONS, "/slow/bypass"),
    ] {
        let before = layer.handle().stats();
        let mut future = Box::pin(service.clone().oneshot(left));
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert_eq!(counted_since(&before, &layer), []);
        drop(future);
        sleep(SLOW * 2).await;
        assert_eq!(counted_since(&before, &layer), [(Canceled, 1)]);
    }
    // The leader leaves, and the follower has its response.
    let before = layer.handle().stats();
    let mut leader = Box::pin(service.clone().oneshot(get("/slow/a")));
    assert!(leader.as_mut().poll(&mut cx).is_pending());
    let mut follower = Box::pin(service.clone().oneshot(get("/slow/a")));
    assert!(follower.as_mut().poll(&mut cx).is_pending());
    drop(leader);
    follower.await.expect("an answer");
    settled().await;
    assert_eq!(
        counted_since(&before, &layer),
        [(Collapsed, 1), (Canceled, 1)]
    );
    // The follower leaves.
    let before = layer.handle().stats();
    let mut leader = Box::pin(service.clone().oneshot(get("/slow/b")));
    assert!(leader.as_mut().poll(&mut cx).is_pending());
    let mut follower = Box::pin(service.clone().oneshot(get("/slow/b")));
    assert!(follower.as_mut().poll(&mut cx).is_pending());
    drop(follower);
    leader.await.expect("an answer");
    assert_eq!(counted_since(&before, &layer), [(Miss, 1), (Canceled, 1)]);
    // A future that was never polled.
    let before = layer.handle().stats();
    drop(service.clone().call(get("/slow/c")));
    assert_eq!(counted_since(&before, &layer), [(Canceled, 1)]);
}

/// A client that leaves after the head has been answered already.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_body_has_its_result() {
    let layer = layer();
    let before = layer.handle().stats();
    let bodies = std::sync::Mutex::new(Vec::new());
    let origin = Origin::at_once(move |_| {
        let (frames, body) = scripted();
        bodies.lock().expect("no panic").push(frames);
        cacheable("").map(|_| body)
    });
    let response = layer.layer(origin).oneshot(get("/a")).await;
    drop(response);
    settled().await;
    assert_eq!(counted_since(&before, &layer), [(Miss, 1)]);
}

/// An inner service that is not ready for some.
#[derive(Clone)]
struct Saturated(Origin, Arc<AtomicBool>);

impl Service<Request<()>> for Saturated {
    type Response = Response;
    type Error = OriginError;
    type Future = crate::support::origin::OriginFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        match self.1.load(Ordering::SeqCst) {
            true => self.0.poll_ready(cx),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_queue_count_as_overload() {
    let layer = layer().max_waiting_fills(1);
    let is_ready = Arc::new(AtomicBool::new(false));
    let service = layer.layer(Saturated(origin(), is_ready.clone()));
    let before = layer.handle().stats();
    let mut waiting = pin!(service.clone().oneshot(get("/a")));
    let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
    assert!(first.await);
    assert_eq!(layer.handle().stats().in_flight.waiting_fills, 1);
    assert_eq!(send(&service, get("/b")).await.status, 503);
    assert_eq!(counted_since(&before, &layer), [(Overload, 1)]);
    is_ready.store(true, Ordering::SeqCst);
    waiting.await.expect("an answer");
    let expected = [(Miss, 1), (Overload, 1)];
    assert_eq!(counted_since(&before, &layer), expected);
    assert_eq!(layer.handle().stats().in_flight.waiting_fills, 0);
    send(&service, get("/a")).await;
    assert_eq!(layer.handle().stats().hit_ratio(), 0.5);
}

/// A cache that is twice on a request's way counts in its outer layer. Two caches count for
/// themselves.
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_met_twice_counts_once() {
    let layer = layer();
    let inner = layer.clone().ttl(Duration::from_secs(5));
    let service = layer.layer(inner.layer(origin()));
    let before = layer.handle().stats();
    for request in [
        get("/a"),
        get("/a"),
        put("/a"),
        request(Method::OPTIONS, "/a"),
    ] {
        send(&service, request).await;
    }
    let expected = [(Hit, 1), (Miss, 1), (Bypass, 2)];
    assert_eq!(counted_since(&before, &layer), expected);
    let other = crate::layer();
    let service = other.layer(layer.layer(origin()));
    let (before, inside) = (other.handle().stats(), layer.handle().stats());
    send(&service, get("/b")).await;
    send(&service, get("/b")).await;
    assert_eq!(counted_since(&before, &other), [(Hit, 1), (Miss, 1)]);
    assert_eq!(counted_since(&inside, &layer), [(Miss, 1)]);
}

/// A part that completes stored ones counts as partial; a part that is stored, as a hit.
#[tokio::test(start_paused = true)]
async fn parts_count_by_where_they_are() {
    let origin = Origin::at_once(|request| {
        let range = request.headers().get("range").map(|range| range.to_str());
        let Some(Ok(range)) = range else {
            return cacheable("0123456789");
        };
        let (first, last) = range["bytes=".len()..].split_once('-').expect("a range");
        let content_range = format!("bytes {first}-{last}/10");
        let lines = [
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("content-range", content_range.as_str()),
        ];
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        answer(206, &lines, &"0123456789"[first..=last])
    });
    let layer = layer();
    let service = layer.layer(origin.clone());
    for (range, expected) in [
        ("bytes=0-2", Miss),
        ("bytes=1-2", Hit),
        ("bytes=1-5", Partial),
        ("bytes=0-5", Hit),
    ] {
        let before = layer.handle().stats();
        send(&service, with(get("/a"), "range", range)).await;
        assert_eq!(counted_since(&before, &layer), [(expected, 1)], "{range}");
        settle().await;
    }
}
