//! P2 where it is tempting to be wrong: leaders that stall, answers that are for some only, errors, slow origins, old heads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::support::origin::{Origin, OriginError, Response, answer, cacheable, full, scripted};
use crate::support::yielding::Yielding;
use crate::support::{collect, get, send, with};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, Lookup, MemoryBackend, Moment, Put, Resource, StoredResponse,
    Target,
};
use tower_response_cache::stats::FetchReason;
use tower_response_cache::{Cache, CacheLayer, Ttl};

const SLOW: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes: whoever is still waiting then was forgotten.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Both clocks are tokio's, so that nothing but virtual time passes.
fn layer() -> CacheLayer<MemoryBackend> {
    layer_on(MemoryBackend::default())
}

fn layer_on<B: Backend>(backend: B) -> CacheLayer<B> {
    let begun = Instant::now();
    CacheLayer::new(backend).clock(move || {
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    })
}

/// Answers after a while what `answer` makes of the request and the number of the call, from 1.
fn slow(answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Origin {
    after(SLOW, answer)
}

fn after(
    while_: Duration,
    answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(while_).await;
            Ok(answer(&request, call))
        }
    })
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Sends all at once. How long that took, and what each got: the body, or what went wrong.
async fn burst<B: Backend>(
    service: &Cache<Origin, B>,
    asks: impl IntoIterator<Item = Request<()>>,
) -> (Duration, Vec<Result<String, String>>) {
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for ask in asks {
        let service = service.clone();
        let one = async move {
            let response = service
                .oneshot(ask)
                .await
                .map_err(|error| error.to_string())?;
            let body = response.into_body().collect().await;
            let whole = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(String::from_utf8_lossy(&whole).into_owned())
        };
        tasks.spawn_local_on(one, &local);
    }
    let all = timeout(FOR_EVER, local.run_until(tasks.join_all())).await;
    (begun.elapsed(), all.expect("somebody waits for ever"))
}

fn gets(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|_| get("/a"))
}

/// A client that holds its request without polling it holds up nobody.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_polled_any_more_blocks_nobody() {
    let origin = slow(|_, _| cacheable("x"));
    let service = layer().layer(origin.clone());
    let mut held = pin!(service.clone().oneshot(get("/a")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(held.as_mut().poll(&mut cx).is_pending());
    let begun = Instant::now();
    let follower = timeout(FOR_EVER, send(&service, get("/a"))).await;
    assert_eq!(follower.expect("it is told").body, "x");
    assert_eq!(begun.elapsed(), SLOW);
    let held = timeout(FOR_EVER, held).await.expect("it is woken");
    assert_eq!(collect(held.expect("an answer")).await.body, "x");
    assert_eq!(origin.calls(), 1);
}

/// Nor does its error, or its panic, wait for it.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_polled_does_not_keep_its_failure_from_being_seen() {
    for panics in [false, true] {
        let origin = slow(move |_, call| match call {
            1 if panics => panic!("in the first call"),
            1 => answer(503, &[], "an error"),
            _ => cacheable("x"),
        });
        let service = layer().layer(origin.clone());
        let mut held = Box::pin(service.clone().oneshot(get("/a")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(held.as_mut().poll(&mut cx).is_pending());
        let begun = Instant::now();
        assert_eq!(send(&service, get("/a")).await.body, "x");
        assert_eq!(begun.elapsed(), SLOW * 2);
        // The panic is its own, where it is polled again.
        match tokio::spawn(held).await {
            Ok(response) => assert_eq!(response.expect("an answer").status(), 503),
            Err(error) => assert!(panics && error.is_panic()),
        }
    }
}

/// The leader is dropped after any number of polls, of its head or its body: followers complete, by its call if there were
/// any while it lived.
#[tokio::test(start_paused = true)]
async fn a_leader_may_be_dropped_at_any_point() {
    async fn check(backend: impl Backend, polls: usize) -> bool {
        let origin = slow(|_, _| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for part in ["one ", "two ", "three"] {
                    sleep(SLOW).await;
                    let _ = script.send(crate::support::origin::data(part));
                }
            });
            cacheable("").map(|_| body)
        });
        let layer = layer_on(backend);
        let service = layer.layer(origin.clone());
        let own = service.clone();
        let mut leader = Box::pin(async move {
            let response = own.oneshot(get("/a")).await.expect("a head");
            response.into_body().collect().await.expect("a whole body")
        });
        let leads = async move {
            let mut left = polls;
            // Whether it came to its end; dropped with the polls it had otherwise.
            std::future::poll_fn(move |cx| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                leader.as_mut().poll(cx).map(|_| true)
            })
            .await
        };
        let local = LocalSet::new();
        let follow = local.run_until(async {
            let mut followers = JoinSet::new();
            for _ in 0..3 {
                let service = service.clone();
                followers.spawn_local(async move { send(&service, get("/a")).await.body });
            }
            followers.join_all().await
        });
        let (over, bodies) = tokio::join!(biased; leads, follow);
        assert!(
            bodies.iter().all(|body| body == "one two three"),
            "{polls}: {bodies:?}"
        );
        let most = if polls == 0 { 2 } else { 1 };
        assert!(origin.calls() <= most, "{polls}: {} calls", origin.calls());
        settle().await;
        assert!(send(&service, get("/a")).await.is_hit(), "{polls}");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
        over
    }
    let mut polls = 0;
    while !check(MemoryBackend::default(), polls).await {
        polls += 1;
    }
    assert!(polls > 3, "several points, not {polls}");
    let mut polls = 0;
    while !check(Yielding(MemoryBackend::default()), polls).await {
        polls += 1;
    }
    assert!(polls > 5, "more with a backend that waits, not {polls}");
}

/// When all who waited have left, so has the call.
#[tokio::test(start_paused = true)]
async fn a_call_is_dropped_with_the_last_who_wanted_it() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let origin = Origin::new(move |_| {
        let counted = Counted(count.clone());
        async move {
            let _counted = counted;
            std::future::pending::<()>().await;
            Ok(cacheable("never"))
        }
    });
    let layer = layer();
    let service = layer.layer(origin);
    let local = LocalSet::new();
    local
        .run_until(async {
            let leader = tokio::task::spawn_local(service.clone().oneshot(get("/a")));
            settle().await;
            let follower = tokio::task::spawn_local(service.clone().oneshot(get("/a")));
            settle().await;
            leader.abort();
            settle().await;
            assert_eq!(dropped.load(Ordering::SeqCst), 0);
            follower.abort();
            settle().await;
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        })
        .await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// A write makes the fills before it worthless, but not each of their followers a leader.
#[tokio::test(start_paused = true)]
async fn a_write_among_followers_costs_one_more_call() {
    for (case, wait) in [("leader errs", SLOW), ("slow origin", SECOND * 12)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let origin = Origin::new(move |request| {
            let call = match request.method() == http::Method::GET {
                true => count.fetch_add(1, Ordering::SeqCst) + 1,
                false => 0,
            };
            async move {
                if call == 0 {
                    return Ok(answer(204, &[], ""));
                }
                sleep(wait).await;
                match call {
                    1 if wait == SLOW => Err(OriginError("the first")),
                    _ => Ok(cacheable("x")),
                }
            }
        });
        let service = layer().layer(origin);
        let writes = async {
            sleep(SLOW / 2).await;
            send(&service, crate::support::put("/a")).await;
        };
        let ((_, answers), ()) = tokio::join!(burst(&service, gets(100)), writes);
        assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 99);
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls <= 3, "{case}: {calls} calls");
        settle().await;
        assert!(
            send(&service, get("/a")).await.is_hit(),
            "{case}: what came last is stored"
        );
    }
}

/// The same where followers find that they want another variant than the one they waited for.
#[tokio::test(start_paused = true)]
async fn a_write_among_followers_of_another_variant_costs_one_more_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |request| {
        let language = request.headers().get("accept-language").cloned();
        let count = count.clone();
        async move {
            let Some(language) = language else {
                return Ok(answer(204, &[], ""));
            };
            count.fetch_add(1, Ordering::SeqCst);
            sleep(SLOW).await;
            let (script, body) = scripted();
            tokio::spawn(async move {
                sleep(SLOW * 4).await;
                let text = Bytes::copy_from_slice(language.as_bytes());
                let _ = script.send(Ok(http_body::Frame::data(text)));
            });
            let lines = [("cache-control", "max-age=60"), ("vary", "accept-language")];
            Ok(answer(200, &lines, "").map(|_| body))
        }
    });
    let service = layer().layer(origin);
    let ask = |language: &str| with(get("/a"), "accept-language", language);
    let asks = std::iter::once(ask("de")).chain((0..50).map(|_| ask("fr")));
    let writes = async {
        sleep(SLOW / 2).await;
        send(&service, crate::support::put("/a")).await;
    };
    let ((_, answers), ()) = tokio::join!(burst(&service, asks), writes);
    let french = answers
        .iter()
        .filter(|answer| answer.as_deref() == Ok("fr"));
    assert_eq!((french.count(), calls.load(Ordering::SeqCst)), (50, 2));
}

/// A request that calls for itself holds up nobody whom it followed before.
#[tokio::test(start_paused = true)]
async fn whoever_stops_following_holds_up_nobody() {
    for (patience, wait) in [(SLOW, SECOND * 30), (SECOND * 10, SLOW)] {
        let origin = Origin::new({
            let calls = Arc::new(AtomicUsize::new(0));
            move |_| {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    if call > 1 {
                        std::future::pending::<()>().await;
                    }
                    sleep(SLOW * 2).await;
                    let (script, body) = scripted();
                    for _ in 0..25 {
                        let frame = Bytes::from(vec![7; 64 * 1024]);
                        let _ = script.send(Ok(http_body::Frame::data(frame)));
                    }
                    Ok(cacheable("").map(|_| body))
                }
            }
        });
        let service = layer()
            .max_body(1000)
            .coalesce_takeover_timeout(patience)
            .coalesce_timeout(wait)
            .layer(origin);
        let begun = Instant::now();
        let leader = async {
            let response = service.clone().oneshot(get("/a")).await.expect("a head");
            let body = response.into_body().collect().await.expect("a whole body");
            assert_eq!(body.to_bytes().len(), 25 * 64 * 1024);
            begun.elapsed()
        };
        let follower = timeout(SECOND, service.clone().oneshot(get("/a")));
        let (took, hung) = tokio::join!(leader, follower);
        assert!(hung.is_err());
        assert_eq!(took, SLOW * 2);
    }
}

/// A request that is none of the others' fault is none of their business.
#[tokio::test(start_paused = true)]
async fn a_bad_request_ends_nobodys_sharing() {
    for status in [400, 403, 413, 414, 422, 431] {
        let origin = slow(
            move |request, _| match request.headers().contains_key("x-bad") {
                true => answer(status, &[], "bad"),
                false => cacheable("x"),
            },
        );
        let service = layer().layer(origin.clone());
        let bad = || with(get("/a"), "x-bad", "1");
        burst(&service, std::iter::once(bad()).chain(gets(100))).await;
        assert_eq!(origin.calls(), 2, "{status}");
        burst(&service, [with(bad(), "cache-control", "no-cache")]).await;
        let service = layer().layer(origin.clone());
        burst(&service, [bad()]).await;
        let before = origin.calls();
        burst(&service, gets(100)).await;
        assert_eq!(origin.calls(), before + 1, "{status}");
    }
    // What nobody may have makes a queue once, then none.
    let origin = slow(|_, _| answer(401, &[], ""));
    let service = layer().layer(origin);
    let (first, _) = burst(&service, gets(100)).await;
    let (second, _) = burst(&service, gets(100)).await;
    assert_eq!((first, second), (SLOW * 4, SLOW));
}

/// However impatient: calls that hang are taken over ever more rarely.
#[tokio::test(start_paused = true)]
async fn takeovers_become_rarer() {
    let origin = after(SECOND * 10_000, |_, _| cacheable("x"));
    let service = layer()
        .coalesce_takeover_timeout(SLOW)
        .layer(origin.clone());
    let calls = burst(&service, gets(100));
    assert!(timeout(SECOND * 29, calls).await.is_err());
    assert!(origin.calls() <= 11, "{}", origin.calls());
}

/// What was set aside for a body that did not come is given back when it is given up.
#[tokio::test(start_paused = true)]
async fn a_reservation_ends_with_the_fill() {
    let scripts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = scripts.clone();
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        let _ = script.send(crate::support::origin::data("x"));
        kept.lock().expect("scripts").push(script);
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-length", "100000"),
        ];
        answer(200, &lines, "").map(|_| body)
    });
    let layer = layer().fill_timeout(SECOND * 5);
    let service = layer.layer(origin);
    let mut loris = service.oneshot(get("/a")).await.expect("a head");
    loris.frame().await.expect("a frame").expect("no error");
    assert!(layer.handle().stats().in_flight.bytes > 100_000);
    sleep(SECOND * 6).await;
    assert!(layer.handle().stats().in_flight.bytes < 1000);
}

/// Those who have yet to read what is stored cost nothing more, as those of a hit; once it is evicted they count again, so
/// that slow readers and the store together stay within their bounds.
#[tokio::test(start_paused = true)]
async fn readers_of_what_is_stored_take_no_budget_until_it_is_gone() {
    let origin = Origin::at_once(|_| cacheable(vec![7; 100_000]));
    let layer =
        layer_on(MemoryBackend::with_largest(8 << 20, 1 << 20)).max_buffered_bytes(1_000_000);
    let service = layer.layer(origin);
    let mut slow = Vec::new();
    for n in 0..50 {
        slow.push(
            service
                .clone()
                .oneshot(get(&format!("/{n}")))
                .await
                .expect("a head"),
        );
        settle().await;
    }
    let stats = layer.handle().stats();
    assert_eq!((stats.stores, stats.in_flight.bytes), (50, 0));
    layer.handle().clear().await.expect("cleared");
    let held = layer.handle().stats().in_flight.bytes;
    assert!(held >= 5_000_000, "{held}");
    burst(&service, gets(1)).await;
    settle().await;
    assert_eq!(
        layer.handle().stats().stores,
        50,
        "no room until they have read"
    );
    for response in slow {
        let whole = response.into_body().collect().await.expect("a whole body");
        assert_eq!(whole.to_bytes().len(), 100_000);
    }
    assert_eq!(layer.handle().stats().in_flight, Default::default());
    burst(&service, gets(1)).await;
    settle().await;
    assert_eq!(layer.handle().stats().stores, 51);
}

/// A length that nobody can have is no reason to panic.
#[tokio::test(start_paused = true)]
async fn the_largest_announced_length_is_just_a_number() {
    let origin = Origin::at_once(|_| {
        let length = u64::MAX.to_string();
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-length", &*length),
        ];
        let (script, body) = scripted();
        let _ = script.send(crate::support::origin::data("x"));
        answer(200, &lines, "").map(|_| body)
    });
    let service = layer_on(Endless(MemoryBackend::default()))
        .max_body(u64::MAX)
        .layer(origin);
    let mut response = service.oneshot(get("/a")).await.expect("a head");
    let status = response.headers()["cache-status"].to_str().expect("text");
    assert!(status.contains("detail=budget"), "{status}");
    assert!(response.frame().await.is_some());
}

/// A backend that takes everything.
#[derive(Clone)]
struct Endless(MemoryBackend);

impl Backend for Endless {
    type Fence = <MemoryBackend as Backend>::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        self.0.get(key, now).await
    }

    async fn fence(&self, of: Option<&Resource>) -> Result<Option<Self::Fence>, BackendError> {
        self.0.fence(of).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        self.0.put(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        self.0.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear().await
    }
}

/// Requests whose answers could never be shared do not queue, and do not keep others from sharing.
#[tokio::test(start_paused = true)]
async fn credentials_make_no_queue() {
    for (name, value) in [("authorization", "Basic x"), ("cookie", "id=1")] {
        let origin = slow(|_, _| answer(200, &[], "x"));
        let service = layer().ttl(SECOND * 60).layer(origin.clone());
        for round in 1..=2 {
            let (took, _) = burst(&service, gets(200).map(|ask| with(ask, name, value))).await;
            assert_eq!(took, if round == 1 { SLOW * 2 } else { SLOW }, "{name}");
        }
        assert_eq!(origin.calls(), 400);
        burst(&service, gets(200)).await;
        assert_eq!(origin.calls(), 401, "those without {name} share as ever");
    }
    let origin = slow(|_, _| cacheable("x"));
    let service = layer().layer(origin.clone());
    let asks = gets(200).map(|ask| with(ask, "cache-control", "no-store"));
    assert_eq!(burst(&service, asks).await.0, SLOW);
}

/// An answer to conditions, or of a part, is one request's own: the others share theirs.
#[tokio::test(start_paused = true)]
async fn conditions_and_ranges_disturb_nobody() {
    for (name, value, status) in [("range", "bytes=0-1", 206), ("if-match", "\"2\"", 412)] {
        for earlier in [false, true] {
            let origin = slow(move |request, _| {
                let line = ("cache-control", "max-age=60");
                match request.headers().contains_key(name) {
                    true => answer(status, &[line], ""),
                    false => answer(200, &[line], "whole"),
                }
            });
            let service = layer().layer(origin.clone());
            let own = with(get("/a"), name, value);
            let asks = std::iter::once(own).chain(gets(100));
            let skipped = if earlier {
                burst(&service, [with(get("/a"), name, value)]).await;
                1
            } else {
                0
            };
            let (took, answers) = burst(&service, asks.skip(skipped)).await;
            assert_eq!(took, SLOW, "{name}");
            assert_eq!(origin.calls(), 2, "{name}");
            let whole = answers
                .iter()
                .filter(|answer| answer.as_deref() == Ok("whole"));
            assert_eq!(whole.count(), 100, "{name}");
        }
    }
}

/// An error is nobody else's, and says nothing of the next answer.
#[tokio::test(start_paused = true)]
async fn after_an_error_one_takes_over_and_nothing_is_remembered() {
    for status in [500, 503, 429] {
        let origin = slow(move |_, call| match call {
            1 => answer(status, &[], "an error"),
            _ => cacheable("x"),
        });
        let service = layer().layer(origin.clone());
        let (took, answers) = burst(&service, gets(200)).await;
        assert_eq!((origin.calls(), took), (2, SLOW * 2));
        let good = answers.iter().filter(|answer| answer.as_deref() == Ok("x"));
        assert_eq!(good.count(), 199);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_is_called_once_more_not_by_all() {
    let origin = after(SECOND * 12, |_, call| cacheable(format!("call {call}")));
    let service = layer().layer(origin.clone());
    let (_, answers) = burst(&service, gets(1000)).await;
    assert_eq!(origin.calls(), 2, "one more after ten seconds");
    let first = answers
        .iter()
        .filter(|answer| answer.as_deref() == Ok("call 1"));
    assert_eq!(first.count(), 999, "whichever comes first serves all");
}

/// S07: a call that never ends costs one more call a while, then everybody his own.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_taken_over() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            sleep(SLOW).await;
            Ok(cacheable("x"))
        }
    });
    let service = layer().layer(origin);
    let mut hanging = Box::pin(service.clone().oneshot(get("/a")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(hanging.as_mut().poll(&mut cx).is_pending());
    let (took, answers) = burst(&service, gets(200)).await;
    assert_eq!(took, SECOND * 10 + SLOW);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("x")));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// `Duration::MAX` is how one says "no limit".
#[tokio::test(start_paused = true)]
async fn limits_may_be_none() {
    let origin = slow(|_, _| cacheable("x"));
    let longest = Duration::MAX;
    let service = layer()
        .fill_timeout(longest)
        .coalesce_timeout(longest)
        .coalesce_takeover_timeout(longest)
        .slow_reader_timeout(longest)
        .uncacheable_ttl(longest)
        .failure_backoff(longest)
        .write_grace_window(longest)
        .detached_write_timeout(longest)
        .stale_while_revalidate(longest)
        .stale_if_error(longest)
        .ttl(longest)
        .layer(origin.clone());
    let (_, answers) = burst(&service, gets(10)).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("x")));
    assert_eq!(origin.calls(), 1);
}

/// Without `Content-Length` it shows late: those who were there share it, the next do not wait for what is not kept.
#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_shared_with_those_who_were_there() {
    let origin = slow(|_, _| {
        let (script, body) = scripted();
        for _ in 0..16 {
            let frame = Bytes::from(vec![7; 64 * 1024]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        cacheable("").map(|_| body)
    });
    let service = layer().max_body(100_000).layer(origin.clone());
    let (took, answers) = burst(&service, gets(200)).await;
    assert_eq!((origin.calls(), took), (1, SLOW));
    let whole =
        |answer: &Result<String, String>| answer.as_ref().is_ok_and(|body| body.len() == 1 << 20);
    assert!(answers.iter().all(whole));
    let (took, answers) = burst(&service, gets(200)).await;
    assert_eq!((origin.calls(), took), (201, SLOW));
    assert!(answers.iter().all(whole));
}

/// Who joins late gets a head that is as old as it is, if it is young enough for him.
#[tokio::test(start_paused = true)]
async fn late_followers_are_told_the_age_and_spared_what_is_too_old() {
    let scripts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = scripts.clone();
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        kept.lock().expect("scripts").push(script);
        answer(200, &[("cache-control", "max-age=10")], "").map(|_| body)
    });
    let service = layer().layer(origin.clone());
    let ask = async |lines: &[(&'static str, &str)]| {
        let ask = lines
            .iter()
            .fold(get("/a"), |ask, (name, value)| with(ask, name, value));
        service.clone().oneshot(ask).await.expect("a head")
    };
    let _first = ask(&[]).await;
    sleep(SECOND * 4).await;
    let late = ask(&[]).await;
    assert_eq!(
        (origin.calls(), late.headers()["age"].as_bytes()),
        (1, &b"4"[..])
    );
    for (directive, calls) in [
        ("max-age=4", 1),
        ("max-age=3", 2),
        ("no-cache", 3),
        ("max-age=0", 4),
    ] {
        ask(&[("cache-control", directive)]).await;
        assert_eq!(origin.calls(), calls, "{directive}");
    }
    sleep(SECOND * 10).await;
    ask(&[]).await;
    assert_eq!(
        origin.calls(),
        5,
        "its lifetime is over before its body is here"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_leaders_connection_reaches_followers() {
    let origin = slow(|_, _| {
        let lines = [
            ("cache-control", "max-age=60"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
        ];
        let mut response = answer(200, &lines, "x");
        *response.version_mut() = http::Version::HTTP_10;
        response
    });
    let service = layer().layer(origin);
    let lead = service.clone().oneshot(get("/a"));
    let follow = service.clone().oneshot(get("/a"));
    let both = async { tokio::join!(lead, follow) };
    let (_, followed) = timeout(FOR_EVER, both).await.expect("both are woken");
    let followed = followed.expect("an answer");
    for name in ["connection", "x-hop", "keep-alive"] {
        assert!(!followed.headers().contains_key(name), "{name}");
    }
    assert_eq!(followed.version(), http::Version::HTTP_11);
}

/// What the leader's answer was judged by is not judged anew for each: lifetimes by extension, time spent waiting.
#[tokio::test(start_paused = true)]
async fn followers_share_what_was_judged_once() {
    let origin = slow(|_, _| {
        let mut response = answer(200, &[], "x");
        response.extensions_mut().insert(Ttl::For(SECOND * 60));
        response
    });
    let service = layer()
        .ttl_by(|head| head.extensions.get::<Ttl>().copied())
        .layer(origin.clone());
    burst(&service, gets(200)).await;
    assert_eq!(origin.calls(), 1);

    let origin = slow(|_, _| answer(200, &[("cache-control", "max-age=1")], "x"));
    let one_by_one = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1));
    let mut inner = one_by_one.service(origin.clone());
    let busy = inner.clone();
    let service = layer().layer(inner.clone());
    let permit = inner.ready().await.expect("ready").call(get("/busy"));
    drop(busy);
    let local = LocalSet::new();
    local
        .run_until(async {
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let service = service.clone();
                    tokio::task::spawn_local(async move { send(&service, get("/a")).await })
                })
                .collect();
            sleep(SECOND * 2).await;
            drop(permit);
            for task in tasks {
                assert_eq!(task.await.expect("an answer").body, "x");
            }
        })
        .await;
    assert_eq!(origin.calls(), 2, "one of them by whoever made it busy");
}

/// Between a lookup that missed and the flight there is time for another fill to end.
#[tokio::test(start_paused = true)]
async fn a_fill_that_ended_since_the_lookup_is_seen() {
    async fn check(backend: impl Backend) {
        let origin = slow(|_, _| cacheable("x"));
        let mut service = layer_on(backend).layer(origin.clone());
        let late = service.call(get("/a"));
        send(&service, get("/a")).await;
        settle().await;
        assert!(collect(late.await.expect("an answer")).await.is_hit());
        assert_eq!(origin.calls(), 1);
    }
    check(MemoryBackend::default()).await;
    check(Yielding(MemoryBackend::default())).await;
}

/// S13: a body that fails before anybody has had anything of it is one client's.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_at_once_is_not_passed_on() {
    let origin = slow(|_, call| {
        if call > 1 {
            return cacheable("x");
        }
        let (script, body) = scripted();
        script.send(Err(OriginError("gone").into())).expect("room");
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin.clone());
    let (_, answers) = burst(&service, gets(100)).await;
    let broken = answers.iter().filter(|answer| answer.is_err());
    assert_eq!((broken.count(), origin.calls()), (1, 2));
}

/// Known variants do not queue behind each other.
#[tokio::test(start_paused = true)]
async fn variants_that_are_known_fly_side_by_side() {
    let origin = slow(|request, _| {
        let language = request.headers()["accept-language"].to_str().expect("text");
        let lines = [("cache-control", "max-age=1"), ("vary", "accept-language")];
        answer(200, &lines, language.to_owned())
    });
    let service = layer()
        .stale_if_unreachable(SECOND * 60)
        .layer(origin.clone());
    let ask = |language: &str| with(get("/a"), "accept-language", language);
    send(&service, ask("de")).await;
    settle().await;
    let (took, answers) = burst(&service, ["en", "fr", "it"].map(ask)).await;
    assert_eq!((took, origin.calls()), (SLOW, 4));
    for (answer, language) in answers.iter().zip(["en", "fr", "it"]) {
        assert!(answers.contains(&Ok(language.to_owned())), "{answer:?}");
    }
}

/// A client alone may take its time, however large the body.
#[tokio::test(start_paused = true)]
async fn a_lone_slow_reader_holds_up_nobody_and_gets_everything() {
    let origin = Origin::at_once(|_| {
        let (script, body) = scripted();
        for _ in 0..64 {
            let frame = Bytes::from(vec![7; 64 * 1024]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin);
    let response = service.oneshot(get("/a")).await.expect("a head");
    sleep(SECOND * 100).await;
    let whole = response.into_body().collect().await.expect("a whole body");
    assert_eq!(whole.to_bytes().len(), 4 << 20);
}

/// Of many large fills that begin at once some are whole, where the budget has room for some.
#[tokio::test(start_paused = true)]
async fn a_budget_that_is_too_small_for_all_is_enough_for_some() {
    let origin = slow(|_, _| {
        let (script, body) = scripted();
        for _ in 0..10 {
            let frame = Bytes::from(vec![7; 4000]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        let lines = [("cache-control", "max-age=60"), ("content-length", "40000")];
        answer(200, &lines, "").map(|_| body)
    });
    let layer = layer().max_buffered_bytes(5 * 44_000);
    let service = layer.layer(origin);
    let asks = (0..100).map(|n| get(&format!("/{n}")));
    let (_, answers) = burst(&service, asks).await;
    assert!(answers.iter().all(Result::is_ok));
    settle().await;
    let stats = layer.handle().stats();
    assert!(stats.stores >= 4, "{stats:?}");
    assert_eq!(stats.in_flight, Default::default());
}

/// The queue before the inner service is bounded: whoever comes too late is told when to come again.
#[tokio::test(start_paused = true)]
async fn too_many_waiting_fills_are_turned_away() {
    let origin = slow(|_, _| cacheable("x"));
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let layer = layer().max_waiting_fills(10);
    let service = layer.layer(inner);
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        tasks.spawn(service.clone().oneshot(get(&format!("/{n}"))));
    }
    let mut answers = Vec::new();
    for response in tasks.join_all().await {
        answers.push(collect(response.expect("an answer")).await);
    }
    let served = answers.iter().filter(|answer| answer.body == "x").count();
    assert_eq!(served, 11, "one called, ten waited");
    for answer in answers.iter().filter(|answer| answer.body != "x") {
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1".into())
        );
        assert_eq!(answer.cache_status(), "detail=too-many-waiting");
    }
    let stats = layer.handle().stats();
    assert_eq!(stats.overloads, 89);
    assert_eq!(stats.fetches.get(FetchReason::UriMiss), 100);
    // Places are given back, by those who leave the queue, too.
    let left = (0..10).map(|n| service.clone().oneshot(get(&format!("/left/{n}"))));
    for mut call in left.map(Box::pin).collect::<Vec<_>>() {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    let mut tasks = JoinSet::new();
    for n in 0..11 {
        tasks.spawn(service.clone().oneshot(get(&format!("/late/{n}"))));
    }
    for response in tasks.join_all().await {
        assert_eq!(response.expect("an answer").status(), 200);
    }
}

/// A follower that is told nothing within its time goes alone, and what it gets is not stored.
#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_too_long_goes_alone() {
    let origin = after(SECOND * 8, |_, call| cacheable(format!("call {call}")));
    let layer = layer()
        .coalesce_takeover_timeout(SECOND * 100)
        .coalesce_timeout(SECOND * 2);
    let service = layer.layer(origin.clone());
    let (took, answers) = burst(&service, gets(3)).await;
    assert_eq!((took, origin.calls()), (SECOND * 10, 3));
    assert!(answers.iter().all(Result::is_ok));
    settle().await;
    assert_eq!(layer.handle().stats().stores, 1);
}

/// Without a runtime nobody is followed for ever, and nothing panics on the way.
#[test]
fn outside_of_a_runtime_nothing_panics() {
    let origin =
        Origin::at_once(|_| answer(200, &[("cache-control", "max-age=60")], "").map(|_| full("x")));
    let service = layer_without_runtime().layer(origin);
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = pin!(service.clone().oneshot(get("/a")));
    assert!(first.as_mut().poll(&mut cx).is_ready());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let waits = async { timeout_free(service.clone().oneshot(get("/a"))).await };
    assert!(runtime.block_on(waits));
}

fn layer_without_runtime() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

async fn timeout_free<F: Future<Output = Result<T, E>>, T, E>(future: F) -> bool {
    future.await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_asks_its_own_cache_for_itself_is_not_stuck_for_ever() {
    let service: Arc<std::sync::OnceLock<Cache<Origin, MemoryBackend>>> = Arc::default();
    let own = service.clone();
    let origin = Origin::new(move |request| {
        let own = own.clone();
        async move {
            if !request.headers().contains_key("x-inner")
                && let Some(service) = own.get()
            {
                let asked = with(get("/a"), "x-inner", "1");
                let _ = Box::pin(service.clone().oneshot(asked)).await;
            }
            Ok(cacheable("x"))
        }
    });
    let cache = layer().layer(origin);
    let _ = service.set(cache.clone());
    let answered = timeout(SECOND * 60, cache.oneshot(get("/a"))).await;
    assert!(answered.expect("in time").is_ok());
}
