//! Under and over tower's limits, buffers, timeouts and load shedding.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tower::limit::ConcurrencyLimit;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{BoxError, Cache, CacheLayer};

use crate::support::both::AnyBackend;
use crate::support::origin::{Origin, cacheable, data, scripted, versions};
use crate::support::polling::poll_once;
use crate::support::time::{in_time, settled};
use crate::support::{collect, get, in_memory, put, request, send};
use crate::{SLOW, gated, miss_hit_write_miss, next_data, on_both_backends, slow_backend};

/// Plays miss, hit and write through a stack, on both backends.
async fn works<S, B>(stack: impl Fn(CacheLayer<AnyBackend>) -> S)
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    on_both_backends(async |backend| {
        miss_hit_write_miss(&stack(CacheLayer::new(backend))).await;
    })
    .await;
}

/// A cache over a service with one permit, which a request for `/held` has until the gate opens.
fn over_one_permit<B: Backend>(
    layer: CacheLayer<B>,
) -> (Arc<Semaphore>, Origin, Cache<ConcurrencyLimit<Origin>, B>) {
    let (gate, origin) = gated();
    let service = ServiceBuilder::new()
        .layer(layer)
        .concurrency_limit(1)
        .service(origin.clone());
    (gate, origin, service)
}

#[tokio::test(start_paused = true)]
async fn miss_hit_and_write_work_over_a_concurrency_limit_of_one() {
    works(|layer| {
        ServiceBuilder::new()
            .layer(layer)
            .concurrency_limit(1)
            .service(versions())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn miss_hit_and_write_work_over_a_buffer() {
    works(|layer| {
        ServiceBuilder::new()
            .layer(layer)
            .buffer(1)
            .service(versions())
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
    works(|layer| {
        ServiceBuilder::new()
            .layer(layer)
            .load_shed()
            .concurrency_limit(1)
            .service(versions())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn miss_hit_and_write_work_within_and_over_a_timeout() {
    works(|layer| {
        ServiceBuilder::new()
            .timeout(Duration::from_secs(1))
            .layer(layer)
            .timeout(Duration::from_secs(1))
            .service(versions())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hits_are_served_while_the_only_permit_is_taken() {
    on_both_backends(async |backend| {
        let (gate, origin, service) = over_one_permit(CacheLayer::new(backend));
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

#[tokio::test(start_paused = true)]
async fn fills_and_writes_wait_for_the_permit_in_their_futures() {
    on_both_backends(async |backend| {
        let (gate, origin, mut service) = over_one_permit(CacheLayer::new(backend));
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

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_waiting_leaves_the_permit_to_others() {
    on_both_backends(async |backend| {
        let (gate, origin, mut service) = over_one_permit(CacheLayer::new(backend));
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
    let layer = in_memory();
    let (gate, _, service) = over_one_permit(layer.clone());
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

/// Neither before nor after its call.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_the_backend_holds_no_permit() {
    let service = ServiceBuilder::new()
        .layer(CacheLayer::new(slow_backend(MemoryBackend::default())))
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
        .layer(in_memory())
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

/// What timed out may have committed.
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
        .layer(in_memory())
        .concurrency_limit(1)
        .service(origin);
    assert!(service.clone().oneshot(get("/held")).await.is_err());
    let next = in_time(send(&service, get("/a"))).await;
    assert_eq!(next.body, "/a");
}
