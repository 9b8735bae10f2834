//! Requests that an inner layer of the same cache exempts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;
use tower_response_cache::{Cache, CacheLayer};

use super::{FOR_ALL, layer, mixed};
use crate::support::origin::{Origin, Response, answer, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, send, send_all, with};

fn stacked(
    layer: &CacheLayer<MemoryBackend>,
    origin: &Origin,
) -> Cache<Cache<Origin, MemoryBackend>, MemoryBackend> {
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    layer.layer(inner.layer(origin.clone()))
}

fn page() -> Origin {
    slow(|_, _| -> Response { answer(200, &[("cache-control", FOR_ALL)], "x") })
}

/// Requests that an inner layer exempts delay no others, and use up none of their tries.
#[tokio::test(start_paused = true)]
async fn requests_that_an_inner_layer_exempts_end_no_sharing() {
    for exempt in [1, 3, 50] {
        let (layer, origin) = (layer(), page());
        let service = stacked(&layer, &origin);
        let own = (0..exempt).map(|_| with(get("/a"), "x-user", "alice"));
        let begun = Instant::now();
        send_all(&service, mixed(own)).await;
        assert_eq!((origin.calls(), begun.elapsed()), (exempt + 1, SLOW));
        let stats = layer.handle().stats();
        assert_eq!(stats.refusals.get(Refusal::Exempt), exempt as u64);
    }
}

/// A service between two layers of one cache that takes its time before it calls the inner one.
#[derive(Clone)]
struct Delayed<S>(S, Duration);

impl<S> Service<Request<()>> for Delayed<S>
where
    S: Service<Request<()>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let (inner, delay) = (self.0.clone(), self.1);
        Box::pin(async move {
            sleep(delay).await;
            inner.oneshot(request).await
        })
    }
}

/// That others learn late of an exemption uses up none of their tries either.
#[tokio::test(start_paused = true)]
async fn requests_that_are_exempt_late_use_up_no_tries() {
    let (layer, origin) = (layer(), page());
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    let service = layer.layer(Delayed(inner.layer(origin.clone()), SLOW / 5));
    let exempt = || with(get("/a"), "x-user", "alice");
    // The one in the middle of the followers takes over, so that each of the exempt ones leads.
    let requests = vec![
        exempt(),
        exempt(),
        get("/a"),
        exempt(),
        get("/a"),
        get("/a"),
    ];
    let begun = Instant::now();
    send_all(&service, requests).await;
    // Three delays before it is known, a fourth one before the call.
    assert_eq!((origin.calls(), begun.elapsed()), (4, SLOW / 5 * 4 + SLOW));
    assert!(send(&service, get("/a")).await.is_hit());
}

/// A request waits for a few exempt ones, however many there are.
#[tokio::test(start_paused = true)]
async fn requests_that_are_exempt_late_hold_up_no_other_for_long() {
    let (layer, origin) = (layer(), page());
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    let service = layer.layer(Delayed(inner.layer(origin.clone()), SECOND));
    let mut exempt = JoinSet::new();
    for _ in 0..100 {
        let own = with(get("/a"), "x-user", "alice");
        exempt.spawn(service.clone().oneshot(own));
    }
    settle().await;
    let begun = Instant::now();
    send_all(&service, (0..5).map(|_| get("/a"))).await;
    assert!(begun.elapsed() <= SECOND * 6, "{:?}", begun.elapsed());
}

/// Exempt requests that are rejected are no sign of what others get, however different they are.
#[tokio::test(start_paused = true)]
async fn requests_that_are_exempt_and_rejected_end_no_later_sharing() {
    let origin = slow(
        |request, _| match request.headers().contains_key("x-user") {
            true => answer(401, &[], "no"),
            false => answer(200, &[("cache-control", FOR_ALL)], "x"),
        },
    );
    let service = stacked(&layer(), &origin);
    for number in 0..10 {
        send(&service, with(get("/a"), "x-user", &number.to_string())).await;
    }
    let before = origin.calls();
    send_all(&service, mixed([])).await;
    assert_eq!(origin.calls() - before, 1);
}
