//! Writes whose clients leave before the end of the response, and whose work goes on meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{Stats, WriteOutcome};
use tower_response_cache::{BoxError, Cache, CacheLayer};

use super::late_work::{Late, Lines, trailers, write};
use super::origin;
use crate::support::both::on_both_backends;
use crate::support::origin::{BodyStep, Origin, OriginBody, answer, data, scripted};
use crate::support::polling::{catch_unwind, poll_once};
use crate::support::time::{SECOND, settle};
use crate::support::{get, in_memory, is_stored, put, send};

const GRACE: &str = "fwd=uri-miss; detail=write-grace";

/// The last step of a body, which then has ended.
type End = fn(UnboundedSender<BodyStep>);

/// The ends of a body, each with the lines of its head.
const ENDS: [(Lines, End); 4] = [
    (&[], drop),
    (&[], |body| body.send(trailers()).expect("it is read")),
    (&[], |body| {
        body.send(Err("broken".into())).expect("it is read");
        hold(body);
    }),
    (&[("content-length", "4")], |body| {
        body.send(data("done")).expect("it is read");
        hold(body);
    }),
];

/// Keeps a body from ending by itself: nothing more is to be asked for.
fn hold(body: UnboundedSender<BodyStep>) {
    tokio::spawn(async move { body.closed().await });
}

/// Writes that run on, that ran on and were abandoned.
fn counts(stats: &Stats) -> (usize, u64, u64) {
    (
        stats.in_flight.detached_writes,
        stats.detached_writes,
        stats.abandoned_writes,
    )
}

/// Asks for `/a`, which has this version, and is stored.
async fn store<B: Backend>(service: &Cache<Origin, B>, version: u64) {
    let body = format!("/a v{version}");
    assert_eq!(send(service, get("/a")).await.body, body);
    assert!(is_stored(service, get("/a")).await);
}

/// Promise: no stale read after a write. The work of one that its client has left is done at the end
/// of its body.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_left_within_its_body_invalidates_at_its_end() {
    on_both_backends(async |layer| {
        for (number, (lines, end)) in (1..).zip(ENDS) {
            let late = Late::new(lines);
            let service = layer.layer(late.origin.clone());
            drop(write(&service).await);
            settle().await;
            store(&service, 0).await;
            sleep(SECOND).await;
            late.commit();
            end(late.body());
            settle().await;
            assert!(!is_stored(&service, get("/a")).await, "{lines:?}");
            store(&service, 1).await;
            let stats = layer.handle().stats();
            assert_eq!(counts(&stats), (0, number, 0));
            assert_eq!(stats.writes.get(WriteOutcome::Committed), number);
            layer
                .handle()
                .clear()
                .await
                .expect("a backend that is well");
        }
    })
    .await;
}

/// The head comes to no client: the body is read for none.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_left_before_its_head_invalidates_at_the_end_of_its_body() {
    on_both_backends(async |layer| {
        for (lines, end) in ENDS {
            let late = Late::new(lines);
            let origin = late.origin.clone();
            let service = layer.layer(Origin::new(move |request| {
                let origin = origin.clone();
                async move {
                    let is_write = request.method() != http::Method::GET;
                    sleep(SECOND * u32::from(is_write)).await;
                    origin.oneshot(request).await
                }
            }));
            store(&service, 0).await;
            let mut left = Box::pin(service.clone().oneshot(put("/a")));
            assert!(!poll_once(&mut left).is_ready());
            drop(left);
            sleep(2 * SECOND).await;
            settle().await;
            assert!(!is_stored(&service, get("/a")).await, "it has a head");
            store(&service, 0).await;
            late.commit();
            end(late.body());
            settle().await;
            assert!(!is_stored(&service, get("/a")).await, "{lines:?}");
            store(&service, 1).await;
            layer
                .handle()
                .clear()
                .await
                .expect("a backend that is well");
        }
    })
    .await;
}

/// An origin that answers a write after a second, and commits it two seconds later, before it says
/// the last of its body: whether that is read or not.
fn slow_commits(version: &Arc<AtomicU64>) -> Origin {
    let commits = version.clone();
    origin(version, move |_| {
        let version = commits.clone();
        async move {
            sleep(SECOND).await;
            let (sender, body) = scripted();
            tokio::spawn(async move {
                sleep(SECOND).await;
                let _ = sender.send(data("/a "));
                sleep(SECOND).await;
                version.fetch_add(1, Ordering::SeqCst);
                let _ = sender.send(data("v1"));
            });
            let response = Response::builder()
                .header("cache-control", "max-age=60")
                .header("content-location", "/a")
                .header("content-length", "5");
            Ok(response.body(body).expect("a response"))
        }
    })
}

/// At every point at which a client can leave, beside one that reads.
#[tokio::test(start_paused = true)]
async fn a_write_left_at_any_point_of_its_response_leaves_nothing_old() {
    on_both_backends(async |layer| {
        for stores in [false, true] {
            let mut has_ended = false;
            for polls in 0..20 {
                let version = Arc::<AtomicU64>::default();
                let layer = layer.clone().write_through(stores);
                let service = layer.layer(slow_commits(&version));
                let mut write = Box::pin(async {
                    let response = service.clone().oneshot(put("/a")).await.expect("a head");
                    response.into_body().collect().await.map(drop)
                });
                let mut ended = false;
                for _ in 0..polls {
                    ended = ended || poll_once(&mut write).is_ready();
                    advance(SECOND / 2).await;
                    send(&service, get("/a")).await;
                }
                drop(write);
                for _ in 0..20 {
                    send(&service, get("/a")).await;
                    sleep(SECOND / 4).await;
                }
                settle().await;
                let now = version.load(Ordering::SeqCst);
                // The fence of a write-through takes some polls before the call.
                assert!(
                    polls < 4 || now == 1,
                    "what was begun is brought to its end"
                );
                let read = send(&service, get("/a")).await;
                let case = format!("{polls} polls, write-through: {stores}");
                assert_eq!(read.body, format!("/a v{now}"), "{case}");
                assert_eq!(counts(&layer.handle().stats()).0, 0, "{case}");
                layer
                    .handle()
                    .clear()
                    .await
                    .expect("a backend that is well");
                has_ended = ended;
            }
            assert!(has_ended, "the last row reaches the end");
        }
    })
    .await;
}

/// Promise: what one client can cause is bounded. What cannot be read on is dropped: its write may be
/// committed at any time.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_beyond_the_bound_is_dropped_and_leaves_a_grace() {
    let layers: [fn() -> CacheLayer<MemoryBackend>; 2] = [
        || in_memory().max_detached_writes(1),
        || in_memory().detached_write_timeout(Duration::ZERO),
    ];
    for (layer, allowed) in layers.into_iter().zip([1, 0]) {
        let (layer, late) = (layer(), Late::new(&[]));
        let service = layer.layer(late.origin.clone());
        let mut bodies = Vec::new();
        for _ in 0..3 {
            store(&service, 0).await;
            drop(write(&service).await);
            bodies.push(late.body());
            assert!(!is_stored(&service, get("/a")).await, "it may be done");
            if bodies.len() <= allowed {
                continue;
            }
            assert_eq!(send(&service, get("/a")).await.cache_status(), GRACE);
            sleep(6 * SECOND).await;
        }
        settle().await;
        let dropped: Vec<_> = bodies.iter().map(UnboundedSender::is_closed).collect();
        assert_eq!(dropped, [allowed == 0, true, true]);
        let stats = layer.handle().stats();
        let beyond = 3 - allowed as u64;
        assert_eq!(counts(&stats), (allowed, allowed as u64, beyond));
        assert_eq!(
            stats.writes.get(WriteOutcome::Committed),
            3,
            "by their heads"
        );
        assert_eq!(stats.writes.get(WriteOutcome::Unknown), 0);
    }
}

/// Nothing holds a place for ever: neither a body that hangs nor one that never does. The call and
/// the body have one time together.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up_and_leaves_a_grace() {
    for before_head in [Duration::ZERO, 20 * SECOND] {
        for hangs in [true, false] {
            let origin = origin(&Arc::default(), move |_| async move {
                sleep(before_head).await;
                Ok(Response::new(match hangs {
                    true => BodyExt::boxed_unsync(Script(vec![])),
                    false => BodyExt::boxed_unsync(Endless),
                }))
            });
            let layer = in_memory().detached_write_timeout(30 * SECOND);
            let service = layer.layer(origin);
            let mut left = Box::pin(service.clone().oneshot(put("/a")));
            assert_eq!(poll_once(&mut left).is_ready(), before_head.is_zero());
            drop(left);
            for passed in 0..29 {
                assert_eq!(counts(&layer.handle().stats()), (1, 1, 0), "{passed}");
                advance(SECOND).await;
                settle().await;
            }
            assert_eq!(
                send(&service, get("/a")).await.cache_status(),
                "fwd=uri-miss; stored"
            );
            advance(2 * SECOND).await;
            settle().await;
            assert_eq!(counts(&layer.handle().stats()), (0, 1, 1));
            assert!(!is_stored(&service, get("/a")).await, "it may be done");
            assert_eq!(send(&service, get("/a")).await.cache_status(), GRACE);
        }
    }
}

/// Promise: who leaves a stream ends it, as without a cache. A service that works for nobody costs its
/// operator.
#[tokio::test(start_paused = true)]
async fn a_stream_that_its_client_has_left_is_dropped_at_once() {
    let streams = [
        "text/event-stream; charset=utf-8",
        "application/grpc+proto",
        "multipart/x-mixed-replace",
    ];
    for stream in streams {
        for before_head in [Duration::ZERO, SECOND] {
            let (reads, body) = scripted();
            let once = std::sync::Mutex::new(Some(body));
            let origin = origin(&Arc::default(), move |_| {
                let body = once.lock().expect("no panic").take().expect("one write");
                async move {
                    sleep(before_head).await;
                    let response = Response::builder().header("content-type", stream);
                    Ok(response.body(body).expect("a response"))
                }
            });
            let layer = in_memory();
            let service = layer.layer(origin);
            let mut left = Box::pin(service.clone().oneshot(put("/a")));
            let answered = poll_once(&mut left);
            assert_eq!(answered.is_ready(), before_head.is_zero());
            store(&service, 0).await;
            drop((answered, left));
            sleep(2 * SECOND).await;
            assert!(reads.is_closed(), "{stream}");
            let (running, ran, abandoned) = counts(&layer.handle().stats());
            let had_no_head = u64::from(!before_head.is_zero());
            assert_eq!((running, ran, abandoned), (0, had_no_head, 0), "{stream}");
            // It is invalidated as it leaves, and no longer: clients of streams always leave.
            assert!(!is_stored(&service, get("/a")).await, "{stream}");
            store(&service, 0).await;
        }
    }
}

/// A body that always has a frame.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<BodyStep>> {
        Poll::Ready(Some(data("more")))
    }
}

/// What a body does when it is polled: it waits, or has a frame.
type ScriptStep = Poll<fn() -> BodyStep>;

/// A body that does this in turn, from the end, whenever it is polled, and then waits.
struct Script(Vec<ScriptStep>);

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyStep>> {
        match self.0.pop() {
            None => Poll::Pending,
            Some(Poll::Ready(step)) => Poll::Ready(Some(step())),
            Some(Poll::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

fn panics() -> BodyStep {
    panic!("on purpose, by a body that is polled")
}

fn service_with<B: Backend>(
    layer: &CacheLayer<B>,
    script: &'static [ScriptStep],
) -> Cache<Origin, B> {
    layer.layer(origin(&Arc::default(), move |_| async move {
        Ok(Response::new(BodyExt::boxed_unsync(Script(
            script.to_vec(),
        ))))
    }))
}

/// A panic ends the work, too, wherever the body is polled.
#[tokio::test(start_paused = true)]
async fn a_body_that_panics_when_its_client_has_left_invalidates() {
    on_both_backends(async |layer| {
        // The first frame is polled with the head.
        let service = service_with(&layer, &[Poll::Ready(panics), Poll::Pending, Poll::Pending]);
        let response = write(&service).await;
        store(&service, 0).await;
        drop(response);
        settle().await;
        assert!(!is_stored(&service, get("/a")).await);
        assert_eq!(send(&service, get("/a")).await.cache_status(), GRACE);
        assert_eq!(counts(&layer.handle().stats()), (0, 1, 1));
    })
    .await;
}

/// The client gets an error, or the panic; nothing is polled once more.
#[tokio::test(start_paused = true)]
async fn a_body_that_panics_before_its_client_invalidates() {
    on_both_backends(async |layer| {
        let service = service_with(&layer, &[Poll::Ready(panics)]);
        store(&service, 0).await;
        let mut response = write(&service).await;
        assert!(!is_stored(&service, get("/a")).await);
        assert!(!response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), None);
        let frame = response.body_mut().frame().await;
        assert!(frame.is_some_and(|frame| frame.is_err()));
        assert!(response.body_mut().frame().await.is_none());
        settle().await;
        assert_eq!(layer.handle().stats().invalidations, 1);
    })
    .await;
    on_both_backends(async |layer| {
        let service = service_with(&layer, &[Poll::Ready(panics), Poll::Pending]);
        let mut response = write(&service).await;
        store(&service, 0).await;
        assert!(catch_unwind(response.body_mut().frame()).await.is_err());
        drop(response);
        settle().await;
        assert!(!is_stored(&service, get("/a")).await);
        assert_eq!(counts(&layer.handle().stats()), (0, 0, 0));
    })
    .await;
}

/// The client of a write-through leaves before the head: its body is collected before that. It is not
/// read on where it has panicked, or where all that was announced has come.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_over_while_it_is_collected_is_not_read_on() {
    let scripts: [&[ScriptStep]; 3] = [
        &[Poll::Pending, Poll::Ready(|| data("done"))],
        &[Poll::Pending, Poll::Ready(panics)],
        &[Poll::Pending, Poll::Ready(|| data("is longer"))],
    ];
    for script in scripts {
        let layer = in_memory().write_through(true);
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            let response = Response::builder()
                .header("cache-control", "max-age=60")
                .header("content-location", "/a")
                .header("content-length", "4");
            let body = BodyExt::boxed_unsync(Script(script.to_vec()));
            Ok(response.body(body).expect("a response"))
        }));
        store(&service, 0).await;
        let mut left = Box::pin(service.clone().oneshot(put("/a")));
        let _ = catch_unwind(async { poll_once(&mut left).map(drop) }).await;
        drop(left);
        settle().await;
        assert!(!is_stored(&service, get("/a")).await);
        assert_eq!(counts(&layer.handle().stats()), (0, 0, 0));
    }
}

/// What comes with the head is the end, for a write without a client, too.
#[tokio::test(start_paused = true)]
async fn a_whole_response_to_a_write_that_was_left_costs_one_invalidation() {
    let layer = in_memory();
    let service = layer.layer(origin(&Arc::default(), |_| async {
        sleep(SECOND).await;
        Ok(answer(200, &[], "done"))
    }));
    let mut left = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut left).is_ready());
    drop(left);
    sleep(2 * SECOND).await;
    assert_eq!(counts(&layer.handle().stats()), (0, 1, 0));
    assert_eq!(layer.handle().stats().invalidations, 1);
}

/// A shutdown ends the reading of bodies at its deadline.
#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_up_the_rest_of_a_body() {
    let (layer, late) = (in_memory(), Late::new(&[]));
    let service = layer.layer(late.origin.clone());
    let response = write(&service).await;
    drop(response);
    store(&service, 0).await;
    let report = layer.handle().shutdown(SECOND).await;
    assert_eq!(report.cancelled, 1);
    assert!(late.body().is_closed());
    assert!(!is_stored(&service, get("/a")).await, "it may be done");
    assert_eq!(counts(&layer.handle().stats()), (0, 1, 1));
}

/// There is no task that could read on.
#[test]
fn a_body_left_outside_of_any_runtime_invalidates_at_once() {
    let (layer, late) = (in_memory(), Late::new(&[]));
    let service = layer.layer(late.origin.clone());
    let mut called = Box::pin(service.clone().oneshot(put("/a")));
    let Poll::Ready(response) = poll_once(&mut called) else {
        panic!("the head is there");
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(store(&service, 0));
    drop(response);
    assert!(late.body().is_closed());
    assert!(!runtime.block_on(is_stored(&service, get("/a"))));
    assert_eq!(counts(&layer.handle().stats()), (0, 0, 1));
}

/// Within its runtime the body is read on, wherever it is dropped.
#[test]
fn a_body_left_outside_of_its_runtime_is_read_inside_of_it() {
    let (layer, late) = (in_memory(), Late::new(&[]));
    let service = layer.layer(late.origin.clone());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().expect("a runtime");
    drop(runtime.block_on(write(&service)));
    runtime.block_on(async {
        store(&service, 0).await;
        late.commit();
        drop(late.body());
        settle().await;
        assert!(!is_stored(&service, get("/a")).await);
    });
    assert_eq!(counts(&layer.handle().stats()), (0, 1, 0));
}

/// A rejected write has done nothing, whatever its body takes.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_rejected_write_is_read_for_no_one() {
    let layer = in_memory();
    let service = layer.layer(origin(&Arc::default(), |_| async {
        sleep(SECOND).await;
        let (head, _) = answer(404, &[], "").into_parts();
        let body: OriginBody = BodyExt::boxed_unsync(Script(vec![]));
        Ok(Response::from_parts(head, body))
    }));
    store(&service, 0).await;
    let mut left = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut left).is_ready());
    drop(left);
    sleep(2 * SECOND).await;
    assert!(is_stored(&service, get("/a")).await);
    assert_eq!(counts(&layer.handle().stats()), (0, 1, 0));
}
