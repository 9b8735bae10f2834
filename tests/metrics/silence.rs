//! What is seen of an inner service that hangs, or cannot be called, before any call has ended.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::CallEnd;

use crate::layer;
use crate::support::origin::{Origin, OriginError, cacheable};
use crate::support::{get, put, request, send};

const SECOND: Duration = Duration::from_secs(1);

/// An origin that does what the path says.
fn origin() -> Origin {
    Origin::new(async |request: Request<()>| match request.uri().path() {
        "/slow" => {
            sleep(20 * SECOND).await;
            Ok(cacheable("x"))
        }
        "/timeout" => {
            sleep(20 * SECOND).await;
            Err(OriginError("no head in time"))
        }
        "/hang" => std::future::pending().await,
        _ => Ok(cacheable("x")),
    })
}

/// The calls that wait, and for how many seconds the origin has been silent.
fn seen<B: Backend>(layer: &CacheLayer<B>) -> (usize, u64) {
    let stats = layer.handle().stats();
    (stats.in_flight.origin_calls, stats.origin_silence.as_secs())
}

/// No call has ended, none is counted, and yet it shows: whatever the call is for.
#[tokio::test(start_paused = true)]
async fn an_origin_that_hangs_is_silent_before_any_call_has_ended() {
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let layer = layer();
        let service = layer.layer(origin());
        let client = tokio::spawn(service.oneshot(request(method, "/hang")));
        sleep(40 * SECOND).await;
        assert_eq!(seen(&layer), (1, 40));
        assert_eq!(layer.handle().stats().origin_calls.total(), 0);
        let text = layer.handle().stats().to_openmetrics();
        for line in [
            "response_cache_origin_calls_in_flight{cache=\"tower-response-cache\"} 1\n",
            "response_cache_origin_silent_seconds{cache=\"tower-response-cache\"} 40",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        client.abort();
    }
}

/// Clients that leave, and timeouts, end calls, but not the silence. Only the time counts that calls
/// have waited.
#[tokio::test(start_paused = true)]
async fn only_a_response_ends_the_silence() {
    let layer = layer();
    let service = layer.layer(origin());
    let left = timeout(10 * SECOND, service.clone().oneshot(get("/hang")));
    assert!(left.await.is_err());
    sleep(15 * SECOND).await;
    assert_eq!(seen(&layer), (0, 10));
    assert!(service.clone().oneshot(get("/timeout")).await.is_err());
    assert_eq!(seen(&layer), (0, 30));
    // A response to any call ends it: one after a while as well as one at once.
    let slow = tokio::spawn(service.clone().oneshot(get("/slow")));
    let hanging = tokio::spawn(service.clone().oneshot(get("/hang")));
    sleep(19 * SECOND).await;
    assert_eq!(seen(&layer), (2, 49));
    assert!(slow.await.expect("no panic").is_ok());
    sleep(7 * SECOND).await;
    assert_eq!(seen(&layer), (1, 7));
    send(&service, get("/at-once")).await;
    sleep(3 * SECOND).await;
    assert_eq!(seen(&layer), (1, 3));
    hanging.abort();
}

/// An origin that nobody calls is not silent.
#[tokio::test(start_paused = true)]
async fn the_silence_ends_after_a_minute_without_calls() {
    let layer = layer();
    let service = layer.layer(origin());
    let left = timeout(40 * SECOND, service.clone().oneshot(get("/hang")));
    assert!(left.await.is_err());
    sleep(59 * SECOND).await;
    assert_eq!(seen(&layer), (0, 40));
    sleep(SECOND).await;
    assert_eq!(seen(&layer), (0, 0));
    let next = tokio::spawn(service.oneshot(get("/hang")));
    sleep(SECOND).await;
    assert_eq!(seen(&layer), (1, 1));
    next.abort();
}

/// A service that fails in `poll_ready`, as a `tower::buffer` whose worker is gone.
#[derive(Clone)]
struct Closed;

impl Service<Request<()>> for Closed {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Err(io::Error::other("the worker is gone")))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_counts_as_a_failed_call() {
    let layer = layer();
    let service = layer.layer(Closed);
    for (number, request) in (1..).zip([
        get("/a"),
        put("/b"),
        request(Method::OPTIONS, "/c"),
        get("/d"),
    ]) {
        assert!(service.clone().oneshot(request).await.is_err());
        let calls = layer.handle().stats().origin_calls;
        assert_eq!((calls.get(CallEnd::Error), calls.total()), (number, number));
    }
}
