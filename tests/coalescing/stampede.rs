//! P2: one fill per key, which no client can cancel or slow down; what may not be stored is never shared and makes no
//! queue.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::support::origin::{Origin, OriginError, answer, cacheable, data, full, scripted};
use crate::support::yielding::Yielding;
use crate::support::{Answer, collect, get, put, send, with};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::Refusal;
use tower_response_cache::{Cache, CacheLayer};

const SLOW: Duration = Duration::from_millis(50);

fn layer() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

/// Answers after a while what `answer` makes of the request and the number of the call, from 1.
fn slow(
    answer: impl Fn(&Request<()>, usize) -> crate::support::origin::Response + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(SLOW).await;
            Ok(answer(&request, call))
        }
    })
}

/// Sends all requests at once and waits for all answers.
async fn all_at_once<B: Backend>(
    service: &Cache<Origin, B>,
    asks: impl IntoIterator<Item = Request<()>>,
) -> Vec<Answer> {
    let local = LocalSet::new();
    let tasks: Vec<_> = asks
        .into_iter()
        .map(|ask| {
            let service = service.clone();
            local.spawn_local(async move { send(&service, ask).await })
        })
        .collect();
    local
        .run_until(async {
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.expect("an answer"));
            }
            answers
        })
        .await
}

fn times(count: usize, path: &str) -> Vec<Request<()>> {
    (0..count).map(|_| get(path)).collect()
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn a_thousand_cold_gets(backend: impl Backend) {
    let origin = slow(|_, call| {
        answer(
            200,
            &[("cache-control", "max-age=10")],
            format!("call {call}"),
        )
    });
    let layer = CacheLayer::new(backend);
    let service = layer.layer(origin.clone());
    for round in 1..=2 {
        let begun = Instant::now();
        let answers = all_at_once(&service, times(1000, "/a")).await;
        assert_eq!(origin.calls(), round);
        assert!(begun.elapsed() < SLOW * 2);
        let text = format!("call {round}");
        assert!(answers.iter().all(|answer| answer.body == text));
        let why = if round == 1 { "uri-miss" } else { "stale" };
        let led = answers
            .iter()
            .filter(|answer| answer.cache_status() == format!("fwd={why}; stored"));
        assert_eq!(led.count(), 1);
        let followed = answers
            .iter()
            .filter(|answer| answer.cache_status() == format!("fwd={why}; collapsed"));
        assert_eq!(followed.count(), 999);
        settle().await;
        assert!(send(&service, get("/a")).await.is_hit());
        advance(Duration::from_secs(11)).await;
    }
    assert_eq!(layer.handle().stats().collapsed, 2 * 999);
}

/// S01, also at expiry
#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_one_call() {
    a_thousand_cold_gets(MemoryBackend::default()).await;
    a_thousand_cold_gets(Yielding(MemoryBackend::default())).await;
}

/// S08, S09: nothing of the leader's answer is shared, nobody queues, in the second burst nobody waits at all.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_stored_is_neither_shared_nor_queued_for() {
    for line in [
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("set-cookie", "id=1"),
        ("vary", "*"),
        ("x-says", "nothing"),
    ] {
        let origin = slow(move |_, call| answer(200, &[line], format!("call {call}")));
        let service = layer().layer(origin.clone());
        for round in 1..=2_u32 {
            let begun = Instant::now();
            let answers = all_at_once(&service, times(200, "/a")).await;
            assert!(
                begun.elapsed() <= SLOW * (3 - round),
                "round {round}: {:?}",
                begun.elapsed()
            );
            let bodies: std::collections::HashSet<_> =
                answers.iter().map(|answer| &answer.body).collect();
            assert_eq!(bodies.len(), 200, "each has its own");
        }
        assert_eq!(origin.calls(), 400);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_be_stored_ends_the_memory_of_one_that_may_not() {
    let origin = slow(|_, call| match call {
        1 => answer(200, &[("cache-control", "no-store")], "private"),
        _ => answer(200, &[("cache-control", "max-age=1")], "for all"),
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    send(&service, get("/a")).await;
    advance(Duration::from_secs(2)).await;
    all_at_once(&service, times(50, "/a")).await;
    assert!(origin.calls() <= 52);
    advance(Duration::from_secs(2)).await;
    let before = origin.calls();
    all_at_once(&service, times(50, "/a")).await;
    assert_eq!(origin.calls(), before + 1);
}

/// S10
#[tokio::test(start_paused = true)]
async fn answers_to_credentials_are_shared_with_nobody() {
    for (name, value) in [("authorization", "Basic x"), ("cookie", "id=1")] {
        let origin = slow(move |request, _| {
            let whose = if request.headers().contains_key(name) {
                "mine"
            } else {
                "anybody's"
            };
            answer(200, &[], whose)
        });
        let service = layer().ttl(Duration::from_secs(60)).layer(origin.clone());
        for credentials_first in [true, false] {
            let path = format!("/{credentials_first}");
            let mut asks = times(20, &path);
            let at = if credentials_first { 0 } else { 10 };
            asks.insert(at, with(get(&path), name, value));
            let answers = all_at_once(&service, asks).await;
            for (place, answer) in answers.iter().enumerate() {
                let expected = if place == at { "mine" } else { "anybody's" };
                assert_eq!(answer.body, expected, "{name} {credentials_first} {place}");
            }
        }
        assert_eq!(
            origin.calls(),
            4,
            "{name}: those without credentials share one call"
        );
    }
}

/// S11
#[tokio::test(start_paused = true)]
async fn followers_get_their_own_variant_and_share_that() {
    let origin = slow(|request, _| {
        let language = request.headers()["accept-language"].to_str().expect("text");
        answer(
            200,
            &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            language.to_owned(),
        )
    });
    let service = layer().layer(origin.clone());
    let languages = ["de", "en", "fr"];
    let asks = (0..300).map(|n| with(get("/a"), "accept-language", languages[n % 3]));
    let answers = all_at_once(&service, asks).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.body, languages[n % 3]);
    }
    assert_eq!(origin.calls(), 3);
}

/// S03: the leader's client leaves before the head, at every poll of it.
#[tokio::test(start_paused = true)]
async fn followers_survive_a_leader_who_leaves_before_the_head() {
    let origin = slow(|_, call| cacheable(format!("call {call}")));
    let service = layer().layer(origin.clone());
    let leader = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let follower = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    leader.abort();
    let answer = collect(follower.await.expect("it runs on").expect("an answer")).await;
    assert_eq!(answer.body, "call 1");
    assert_eq!(origin.calls(), 1);
    settle().await;
    assert!(send(&service, get("/a")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_any_more_is_dropped() {
    let origin = slow(|_, _| cacheable("x"));
    let layer = layer();
    let service = layer.layer(origin.clone());
    let leader = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    leader.abort();
    sleep(SLOW * 4).await;
    assert_eq!((origin.calls(), layer.handle().stats().stores), (1, 0));
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

/// S03: in the middle of the body; the store is filled although nobody reads any more.
#[tokio::test(start_paused = true)]
async fn a_fill_goes_on_without_its_clients() {
    for followers in [0, 2] {
        let (body, response) = scripted();
        let response = std::sync::Mutex::new(Some(response));
        let origin = Origin::at_once(move |_| {
            let body = response.lock().expect("a lock").take().expect("one call");
            cacheable("").map(|_| body)
        });
        let service = layer().layer(origin.clone());
        let mut responses = Vec::new();
        for _ in 0..=followers {
            responses.push(service.clone().oneshot(get("/a")).await.expect("a head"));
        }
        body.send(data("first, ")).expect("a reader");
        responses.remove(0);
        settle().await;
        body.send(data("second")).expect("it goes on");
        drop(body);
        for response in responses {
            assert_eq!(collect(response).await.body, "first, second");
        }
        settle().await;
        assert_eq!(send(&service, get("/a")).await.body, "first, second");
        assert_eq!(origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_reads_before_the_body_has_ended_and_waits_for_no_slow_client() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| {
        let body = response.lock().expect("a lock").take().expect("one call");
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin.clone());
    let stalled_leader = service.clone().oneshot(get("/a")).await.expect("a head");
    let mut follower = service.clone().oneshot(get("/a")).await.expect("a head");
    for text in ["a", "b", "c"] {
        body.send(data(text)).expect("a reader");
        let frame = follower.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), text);
    }
    drop(body);
    assert!(follower.frame().await.is_none());
    assert_eq!(collect(stalled_leader).await.body, "abc");
}

/// S13
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_fails_for_all_its_readers_and_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| match response.lock().expect("a lock").take() {
        Some(body) => cacheable("").map(|_| body),
        None => cacheable("whole"),
    });
    let layer = layer();
    let service = layer.layer(origin.clone());
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(service.clone().oneshot(get("/a")).await.expect("a head"));
    }
    body.send(data("half")).expect("a reader");
    body.send(Err("connection lost".into())).expect("a reader");
    for reader in readers {
        let error = reader
            .into_body()
            .collect()
            .await
            .expect_err("no clean end");
        assert_eq!(error.to_string(), "connection lost");
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::BodyFailed), 1);
    assert_eq!(send(&service, get("/a")).await.body, "whole");
}

/// A leader's error is its own; one follower takes over, the others follow that one.
#[tokio::test(start_paused = true)]
async fn an_error_or_panic_is_one_clients_and_one_follower_takes_over() {
    for panics in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let origin = Origin::new(move |_| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                sleep(SLOW).await;
                match call {
                    1 if panics => panic!("the handler's own panic"),
                    1 => Err(OriginError("connection lost")),
                    _ => Ok(cacheable("x")),
                }
            }
        });
        let service = layer().layer(origin);
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            tasks.spawn(service.clone().oneshot(get("/a")));
        }
        let ended = tasks.join_all_results().await;
        let failed = ended
            .iter()
            .filter(|ended| !matches!(ended, Ok(Ok(_))))
            .count();
        assert_eq!(
            (failed, calls.load(Ordering::SeqCst)),
            (1, 2),
            "panics: {panics}"
        );
    }
}

/// A `JoinSet` whose tasks may panic.
trait JoinAllResults<T> {
    async fn join_all_results(self) -> Vec<Result<T, tokio::task::JoinError>>;
}

impl<T: 'static> JoinAllResults<T> for JoinSet<T> {
    async fn join_all_results(mut self) -> Vec<Result<T, tokio::task::JoinError>> {
        let mut ended = Vec::new();
        while let Some(result) = self.join_next().await {
            ended.push(result);
        }
        ended
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_always_fails_is_not_asked_by_one_after_the_other_for_ever() {
    let origin = Origin::new(|_| async {
        sleep(SLOW).await;
        Err(OriginError("connection lost"))
    });
    let service = layer().layer(origin.clone());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(service.clone().oneshot(get("/a")));
    }
    let ended = tasks.join_all_results().await;
    assert!(
        ended
            .iter()
            .all(|ended| matches!(ended, Ok(Err(OriginError("connection lost")))))
    );
    assert_eq!(origin.calls(), 100);
    assert!(begun.elapsed() <= SLOW * 5, "{:?}", begun.elapsed());
}

/// S07: a leader that hangs.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_it_may() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let origin = Origin::new(move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            Ok(cacheable(format!("call {call}")))
        }
    });
    let layer = layer()
        .coalesce_timeout(Duration::from_secs(2))
        .fill_timeout(Duration::from_secs(5));
    let service = layer.layer(origin);
    let hangs = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let begun = Instant::now();
    let waited = send(&service, get("/a")).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(
        waited.cache_status(),
        "fwd=uri-miss; detail=waited-too-long"
    );
    advance(Duration::from_secs(4)).await;
    let begun = Instant::now();
    let leads = send(&service, get("/a")).await;
    assert_eq!(
        (begun.elapsed(), leads.cache_status().as_str()),
        (Duration::ZERO, "fwd=uri-miss; stored")
    );
    assert!(send(&service, get("/a")).await.is_hit());
    hangs.abort();
}

/// C05
#[tokio::test(start_paused = true)]
async fn a_request_that_begins_after_a_write_joins_no_flight_from_before_it() {
    let version = Arc::new(AtomicUsize::new(1));
    let origin = Origin::new(move |request: Request<()>| {
        let version = version.clone();
        async move {
            if request.method() == http::Method::PUT {
                version.fetch_add(1, Ordering::SeqCst);
                return Ok(answer(200, &[], ""));
            }
            let sampled = version.load(Ordering::SeqCst);
            sleep(SLOW).await;
            Ok(cacheable(format!("v{sampled}")))
        }
    });
    let service = layer().layer(origin.clone());
    let before = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    send(&service, put("/a")).await;
    let after = all_at_once(&service, times(10, "/a")).await;
    assert!(after.iter().all(|answer| answer.body == "v2"));
    assert_eq!(origin.calls(), 3);
    let before = before.await.expect("it runs on").expect("an answer");
    assert_eq!(collect(before).await.body, "v1");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "v2");
}

/// A write to one resource does not keep the misses of another from sharing.
#[tokio::test(start_paused = true)]
async fn writes_elsewhere_do_not_keep_misses_from_sharing() {
    let origin = slow(|_, _| cacheable("x"));
    let service = layer().layer(origin.clone());
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    send(&service, put("/other")).await;
    all_at_once(&service, times(10, "/a")).await;
    first.await.expect("it runs on").expect("an answer");
    assert_eq!(origin.calls(), 2);
}

/// B04: too large to be kept: all bytes reach all readers, at the pace of the slowest, within bounded memory.
#[tokio::test(start_paused = true)]
async fn a_body_too_large_to_be_kept_is_shared_through_a_window() {
    let origin = Origin::at_once(|_| {
        let chunk = Bytes::from(vec![7; 64 * 1024]);
        let (body, response) = scripted();
        for _ in 0..64 {
            body.send(Ok(http_body::Frame::data(chunk.clone())))
                .expect("a reader");
        }
        cacheable("").map(|_| response)
    });
    let layer = layer()
        .max_body(128 * 1024)
        .slow_reader_timeout(Duration::from_secs(3));
    let service = layer.layer(origin.clone());
    let mut quick = service.clone().oneshot(get("/a")).await.expect("a head");
    let mut length = 0;
    while length < 64 * 1024 {
        length += quick
            .frame()
            .await
            .expect("a frame")
            .expect("no error")
            .into_data()
            .expect("data")
            .len();
    }
    length += quick
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes()
        .len();
    assert_eq!(length, 64 * 64 * 1024);
    assert_eq!(layer.handle().stats().refusals.get(Refusal::TooLarge), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_holds_up_the_others_for_too_long_is_told_so() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| {
        let body = response.lock().expect("a lock").take().expect("one call");
        cacheable("").map(|_| body)
    });
    let layer = layer()
        .max_body(100_000)
        .slow_reader_timeout(Duration::from_secs(3));
    let service = layer.layer(origin.clone());
    let stalled = service.clone().oneshot(get("/a")).await.expect("a head");
    let mut quick = service.clone().oneshot(get("/a")).await.expect("a head");
    let begun = Instant::now();
    for _ in 0..100 {
        let chunk = Bytes::from(vec![7; 50_000]);
        body.send(Ok(http_body::Frame::data(chunk)))
            .expect("a reader");
        quick.frame().await.expect("a frame").expect("no error");
    }
    drop(body);
    assert!(quick.frame().await.is_none());
    assert!(
        begun.elapsed() <= Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    let error = stalled
        .into_body()
        .collect()
        .await
        .expect_err("it was given up");
    assert!(error.to_string().contains("too slowly"), "{error}");
}

/// B06
#[tokio::test(start_paused = true)]
async fn a_fill_that_takes_too_long_is_not_stored_and_blocks_nobody() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| match response.lock().expect("a lock").take() {
        Some(body) => cacheable("").map(|_| body),
        None => cacheable("quick"),
    });
    let layer = layer().fill_timeout(Duration::from_secs(5));
    let service = layer.layer(origin.clone());
    let mut slow_loris = service.clone().oneshot(get("/a")).await.expect("a head");
    for _ in 0..7 {
        body.send(data("x")).expect("a reader");
        slow_loris
            .frame()
            .await
            .expect("a frame")
            .expect("no error");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::TooSlow), 1);
    assert_eq!(send(&service, get("/a")).await.body, "quick");
    body.send(data("y")).expect("a reader");
    drop(body);
    assert_eq!(collect(slow_loris).await.body, "y");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_fill_that_is_not_kept_is_dropped() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| {
        let body = response.lock().expect("a lock").take().expect("one call");
        cacheable("").map(|_| body)
    });
    let service = layer().max_body(1).layer(origin.clone());
    let reader = service.clone().oneshot(get("/a")).await.expect("a head");
    body.send(data("longer than that")).expect("a reader");
    settle().await;
    drop(reader);
    settle().await;
    assert!(body.is_closed());
}

/// X06: without a runtime there is nobody to go on: misses are served one by one, and nothing panics.
#[test]
fn outside_of_a_runtime_misses_are_served_and_stored() {
    let origin = Origin::at_once(|_| cacheable("x"));
    let service = layer().layer(origin.clone());
    for expected in ["fwd=uri-miss; stored", "hit; ttl=3600"] {
        let answer = {
            let mut sent = pin!(send(&service, get("/a")));
            let mut cx = Context::from_waker(Waker::noop());
            match sent.as_mut().poll(&mut cx) {
                Poll::Ready(answer) => answer,
                Poll::Pending => panic!("there is nothing to wait for"),
            }
        };
        assert_eq!(answer.cache_status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_body_tells_its_size_as_an_unshared_one_does() {
    let origin = Origin::at_once(|_| cacheable("12345"));
    let service = layer().layer(origin);
    let mut response = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(response.body().size_hint().exact(), Some(5));
    response.frame().await.expect("a frame").expect("no error");
    assert_eq!(response.body().size_hint().exact(), Some(0));
    assert!(response.body().is_end_stream());
    let empty = Origin::at_once(|_| cacheable("").map(|_| full("")));
    let response = layer()
        .layer(empty)
        .oneshot(get("/a"))
        .await
        .expect("a head");
    assert!(response.body().is_end_stream());
}
