//! In and out of runtimes, on one thread and on several.

use std::cell::Cell;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::{Either, MemoryBackend};
use tower_response_cache::stats::WriteOutcome;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::both::AnyBackend;
use crate::support::origin::{Origin, answer, cacheable, data, scripted, versions};
use crate::support::polling::poll_once;
use crate::support::time::settled;
use crate::support::yielding::yielding;
use crate::support::{get, in_memory, put, request, send};
use crate::{SLOW, next_data, slow_backend};

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

/// Fails if anything panics on this thread meanwhile, in tasks too, where it would go unnoticed.
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

/// A slow origin of versions, which counts its finished requests.
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

/// Sends a request, polls it and its body so many times, drops it, and lets its tasks run to their
/// end. Answers whether it had ended before.
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
                let (begun, ended) = (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
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
    Either::Right(yielding(MemoryBackend::default()))
}

#[test]
fn reads_can_be_dropped_at_any_time_and_place() {
    requests_dropped_at_every_poll(|| get("/a"), at_once);
    requests_dropped_at_every_poll(|| get("/b"), at_once);
    requests_dropped_at_every_poll(|| get("/a"), with_waits);
    requests_dropped_at_every_poll(|| get("/b"), with_waits);
}

#[test]
fn writes_can_be_dropped_at_any_time_and_place() {
    requests_dropped_at_every_poll(|| put("/a"), at_once);
    requests_dropped_at_every_poll(|| put("/a"), with_waits);
}

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

/// No task can run the write to its end, but its resource is invalidated.
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

/// A backend may use what only a runtime has.
#[test]
fn a_write_dropped_outside_its_runtime_invalidates_on_a_backend_with_timers() {
    let origin = Dawdling::default();
    let layer = CacheLayer::new(slow_backend(MemoryBackend::default()));
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
    assert_eq!(
        layer.handle().stats().writes.get(WriteOutcome::Committed),
        1
    );
    let read = runtime.block_on(send(&service, get("/a")));
    assert_eq!(read.body, "v1");
}

/// A body whose bytes have all been read, on a backend with timers.
#[test]
fn a_body_dropped_outside_its_runtime_is_no_panic_on_a_backend_with_timers() {
    let origin = Origin::at_once(|_| {
        let (sender, body) = scripted();
        sender.send(data("data")).expect("a reader");
        let lines = [("cache-control", "max-age=3600"), ("content-length", "4")];
        answer(200, &lines, "").map(|_| body)
    });
    let service = CacheLayer::new(slow_backend(MemoryBackend::default())).layer(origin);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_a_multi_thread_runtime_also_in_block_in_place() {
    let service = in_memory().layer(versions());
    let answer = tokio::task::block_in_place(|| {
        poll_to_the_end(send(&service, get("/a")));
        poll_to_the_end(send(&service, get("/a")))
    });
    assert!(answer.is_hit());
}
