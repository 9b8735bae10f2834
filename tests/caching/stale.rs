//! RFC 9111 §4.2.4 and RFC 5861: what is stale is served where that is allowed, to the letter, and asked for anew once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::origin::{Origin, OriginError, Response, answer};
use crate::support::yielding::Yielding;
use crate::support::{Answer, get, put, request, send, with};
use http::{Method, Request};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{FetchReason, Refresh, StaleUse};
use tower_response_cache::{Cache, CacheLayer};

const SLOW: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

fn layer() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

/// How an origin is doing.
#[derive(Clone)]
enum Health {
    Well,
    Status(u16),
    Dead,
}

/// An origin whose answers count up, with this `Cache-Control`, and whose health can be changed.
#[derive(Clone)]
struct Patient {
    origin: Origin,
    health: Arc<std::sync::Mutex<Health>>,
}

impl Patient {
    fn new(cache_control: &'static str) -> Self {
        let health = Arc::new(std::sync::Mutex::new(Health::Well));
        let count = Arc::new(AtomicUsize::new(0));
        let current = health.clone();
        let origin = Origin::new(move |request| {
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            let health = current.lock().expect("a health").clone();
            async move {
                sleep(SLOW).await;
                let text = format!("call {call}");
                match health {
                    _ if request.method() == Method::PUT => Ok(answer(204, &[], "")),
                    Health::Well => Ok(answer(200, &[("cache-control", cache_control)], text)),
                    Health::Status(status) => Ok(answer(status, &[], "an error")),
                    Health::Dead => Err(OriginError("nobody there")),
                }
            }
        });
        Self { origin, health }
    }

    fn is_now(&self, health: Health) {
        *self.health.lock().expect("a health") = health;
    }

    fn calls(&self) -> usize {
        self.origin.calls()
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Lets what goes on in the background come to its end.
async fn refreshed() {
    sleep(SLOW * 2).await;
    settle().await;
}

async fn many<B: Backend>(service: &Cache<Origin, B>, count: usize) -> Vec<Answer> {
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let service = service.clone();
        tasks.spawn_local_on(async move { send(&service, get("/a")).await }, &local);
    }
    local.run_until(tasks.join_all()).await
}

async fn a_thousand_at_expiry(backend: impl Backend) {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30");
    let layer = CacheLayer::new(backend);
    let service = layer.layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    let begun = Instant::now();
    let answers = many(&service, 1000).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    for answer in answers {
        assert_eq!(answer.body, "call 1");
        assert_eq!(answer.header("age"), "12");
        assert_eq!(
            answer.cache_status(),
            "hit; ttl=-2; detail=stale-while-revalidate"
        );
    }
    refreshed().await;
    assert_eq!(origin.calls(), 2, "one refresh for all");
    let after = send(&service, get("/a")).await;
    assert_eq!((after.body.as_str(), after.is_hit()), ("call 2", true));
    let stats = layer.handle().stats();
    assert_eq!(stats.refreshes.get(Refresh::Stale), 1);
    assert_eq!(stats.stale.get(StaleUse::WhileRevalidate), 1000);
    assert_eq!((stats.hits, stats.fetches.total()), (1001, 1));
    assert_eq!(stats.in_flight, Default::default());
}

/// S02
#[tokio::test(start_paused = true)]
async fn a_thousand_are_answered_at_once_while_one_refresh_runs() {
    a_thousand_at_expiry(MemoryBackend::default()).await;
    a_thousand_at_expiry(Yielding(MemoryBackend::default())).await;
}

#[tokio::test(start_paused = true)]
async fn beyond_its_window_or_without_one_what_is_stale_is_waited_for() {
    for (cache_control, after) in [
        ("max-age=10, stale-while-revalidate=30", 41),
        ("max-age=10", 11),
        ("max-age=10, stale-while-revalidate=30, must-revalidate", 11),
        (
            "max-age=10, stale-while-revalidate=30, proxy-revalidate",
            11,
        ),
        ("s-maxage=10, stale-while-revalidate=30", 11),
    ] {
        let origin = Patient::new(cache_control);
        let service = layer().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * after).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.body, "call 2", "{cache_control}");
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; stored",
            "{cache_control}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn options_speak_for_responses_that_say_nothing() {
    let origin = Patient::new("max-age=10");
    let service = layer()
        .stale_while_revalidate(SECOND * 5)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    refreshed().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 2");

    let origin = Patient::new("s-maxage=10, stale-while-revalidate=30");
    let service = layer()
        .stale_despite_s_maxage(true)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
}

/// A response may say that it is never fresh, but will do while it is fetched anew.
#[tokio::test(start_paused = true)]
async fn what_is_stale_from_the_start_is_stored_for_its_window() {
    let origin = Patient::new("max-age=0, stale-while-revalidate=30");
    let service = layer().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    let second = send(&service, get("/a")).await;
    assert_eq!(second.body, "call 1");
    refreshed().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_limits_are_kept() {
    for (directive, expected) in [
        ("no-cache", "call 2"),
        ("max-age=60", "call 2"),
        ("min-fresh=0", "call 2"),
        ("no-store", "call 2"),
        ("only-if-cached", "call 1"),
    ] {
        let origin = Patient::new("max-age=10, stale-while-revalidate=30, stale-if-error=30");
        let service = layer().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        let asked = with(get("/a"), "cache-control", directive);
        assert_eq!(send(&service, asked).await.body, expected, "{directive}");
        refreshed().await;
        let calls = if directive == "only-if-cached" { 1 } else { 2 };
        assert_eq!(origin.calls(), calls, "{directive}");
    }
    let origin = Patient::new("max-age=10, stale-if-error=30");
    let service = layer().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.is_now(Health::Status(503));
    for (directive, expected) in [("no-cache", 503), ("max-age=60", 503), ("max-stale", 200)] {
        let asked = with(get("/a"), "cache-control", directive);
        assert_eq!(send(&service, asked).await.status, expected, "{directive}");
    }
}

/// C02
#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_write_overtakes_stores_nothing() {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30");
    let service = layer().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    // The refresh samples now; the write is answered before it ends.
    sleep(SLOW / 2).await;
    assert_eq!(send(&service, put("/a")).await.status, 204);
    refreshed().await;
    let after = send(&service, get("/a")).await;
    assert_eq!(after.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(after.body, "call 4");
}

#[tokio::test(start_paused = true)]
async fn what_a_write_invalidated_is_gone_not_stale() {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30, stale-if-error=30");
    let service = layer().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    send(&service, put("/a")).await;
    origin.is_now(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.status, 503);
    origin.is_now(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_for_the_whole_whatever_triggered_it() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let origin = Origin::at_once(move |request| {
        let conditions = ["if-none-match", "if-modified-since", "range", "if-range"]
            .iter()
            .filter(|name| request.headers().contains_key(**name))
            .count();
        log.lock()
            .expect("a log")
            .push((request.method().clone(), conditions));
        answer(
            200,
            &[("cache-control", "max-age=10, stale-while-revalidate=30")],
            "whole",
        )
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    let mut head = request(Method::HEAD, "/a");
    for (name, value) in [
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("range", "bytes=0-1"),
    ] {
        head = with(head, name, value);
    }
    let answered = send(&service, head).await;
    assert!(answered.is_hit() && answered.body.is_empty());
    settle().await;
    let seen = seen.lock().expect("a log");
    assert_eq!(*seen, [(Method::GET, 0), (Method::GET, 0)]);
}

/// S14: whatever ends a refresh, the next one can begin.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_or_hangs_blocks_no_later_one() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            match call {
                2 => panic!("in a refresh"),
                3 => sleep(SECOND * 10_000).await,
                _ => {}
            }
            let line = ("cache-control", "max-age=10, stale-while-revalidate=3600");
            Ok(answer(200, &[line], format!("call {call}")))
        }
    });
    let layer = layer().fill_timeout(SECOND * 30);
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    for (wait, calls_then) in [(12, 2), (6, 3), (31, 4)] {
        advance(SECOND * wait).await;
        assert_eq!(send(&service, get("/a")).await.body, "call 1");
        settle().await;
        assert_eq!(calls.load(Ordering::SeqCst), calls_then);
    }
    assert_eq!(send(&service, get("/a")).await.body, "call 4");
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// A 5xx that may be stored does not push out what is still of use, and a refresh that fails is not tried at once again.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_what_there_is_and_pauses() {
    for failure in [Health::Status(503), Health::Dead] {
        let origin = Patient::new("max-age=10, stale-while-revalidate=3600");
        let service = layer()
            .failure_backoff(SECOND * 5)
            .ttl_by(|head| {
                head.status
                    .is_server_error()
                    .then(|| Duration::from_secs(60).into())
            })
            .layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        origin.is_now(failure);
        for _ in 0..100 {
            assert_eq!(send(&service, get("/a")).await.body, "call 1");
            sleep(SECOND / 5).await;
        }
        assert!((4..=6).contains(&origin.calls()), "{}", origin.calls());
        origin.is_now(Health::Well);
        sleep(SECOND * 6).await;
        send(&service, get("/a")).await;
        refreshed().await;
        let recovered = send(&service, get("/a")).await;
        assert!(recovered.is_hit() && recovered.body != "call 1");
    }
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_to_be_uncacheable_is_not_served_stale_any_more() {
    let private = Arc::new(AtomicBool::new(false));
    let turned = private.clone();
    let origin = Origin::at_once(move |_| {
        let line = match turned.load(Ordering::SeqCst) {
            false => "max-age=10, stale-while-revalidate=3600",
            true => "private",
        };
        answer(200, &[("cache-control", line)], line)
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    private.store(true, Ordering::SeqCst);
    assert!(send(&service, get("/a")).await.is_hit());
    settle().await;
    let next = send(&service, get("/a")).await;
    assert_eq!((next.body.as_str(), next.is_hit()), ("private", false));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_replaced_where_that_is_allowed() {
    for (cache_control, status, expected) in [
        ("max-age=10, stale-if-error=30", 500, "call 1"),
        ("max-age=10, stale-if-error=30", 502, "call 1"),
        ("max-age=10, stale-if-error=30", 503, "call 1"),
        ("max-age=10, stale-if-error=30", 504, "call 1"),
        ("max-age=10, stale-if-error=30", 501, "an error"),
        ("max-age=10, stale-if-error=30", 404, "an error"),
        ("max-age=10, stale-if-error=1", 503, "an error"),
        ("max-age=10, stale-while-revalidate=1", 503, "an error"),
        ("max-age=10", 503, "an error"),
        (
            "max-age=10, stale-if-error=30, must-revalidate",
            503,
            "an error",
        ),
    ] {
        let origin = Patient::new(cache_control);
        let service = layer().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        origin.is_now(Health::Status(status));
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.body, expected, "{cache_control} {status}");
        if expected == "call 1" {
            let status = format!("fwd=stale; fwd-status={status}; ttl=-2; detail=stale-if-error");
            assert_eq!(answer.cache_status(), status);
            assert_eq!(answer.header("age"), "12");
        }
    }
    let origin = Patient::new("max-age=10");
    let service = layer()
        .stale_if_error(SECOND * 30)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.is_now(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
}

/// Where the inner service does not answer at all, what is stored stands in by default, for a minute.
#[tokio::test(start_paused = true)]
async fn a_dead_origin_is_stood_in_for_unless_that_is_forbidden() {
    for (cache_control, after, stands_in) in [
        ("max-age=10", 69, true),
        ("max-age=10", 71, false),
        ("max-age=10, stale-if-error=90", 99, true),
        ("max-age=10, must-revalidate", 12, false),
        ("max-age=10, proxy-revalidate", 12, false),
        ("s-maxage=10", 12, false),
    ] {
        let origin = Patient::new(cache_control);
        let service = layer().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * after).await;
        origin.is_now(Health::Dead);
        match service.clone().oneshot(get("/a")).await {
            Ok(response) => {
                assert!(stands_in, "{cache_control} {after}");
                let status = response.headers()["cache-status"].to_str().expect("text");
                assert!(status.ends_with("detail=stale-if-unreachable"), "{status}");
            }
            Err(error) => {
                assert!(!stands_in, "{cache_control} {after}");
                assert_eq!(error, OriginError("nobody there"));
            }
        }
    }
    let origin = Patient::new("max-age=10");
    let service = layer()
        .stale_if_unreachable(Duration::ZERO)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.is_now(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}

/// S15: many clients, ten minutes, each way of being down; followers of the call that failed get what is stored, too.
#[tokio::test(start_paused = true)]
async fn an_origin_that_is_down_is_asked_once_per_key_and_pause() {
    for failure in [Health::Status(503), Health::Dead] {
        let origin = Patient::new("max-age=10, stale-if-error=3600");
        let layer = layer().failure_backoff(SECOND * 5);
        let service = layer.layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 11).await;
        origin.is_now(failure);
        let begun = Instant::now();
        while begun.elapsed() < SECOND * 600 {
            let answers = many(&service, 20).await;
            assert!(answers.iter().all(|answer| answer.body == "call 1"));
            sleep(SECOND / 2).await;
        }
        let calls = origin.calls() - 1;
        assert!((100..=120).contains(&calls), "{calls}");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_is_of_one_key_and_ends_with_an_answer() {
    let origin = Patient::new("max-age=10, stale-if-error=3600");
    let layer = layer().failure_backoff(SECOND * 60);
    let service = layer.layer(origin.origin.clone());
    send(&service, get("/a")).await;
    send(&service, get("/b")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.is_now(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=-2; detail=stale-if-error"
    );
    origin.is_now(Health::Well);
    assert_eq!(send(&service, get("/b")).await.body, "call 4");
    // Whoever insists asks all the same, and what he gets is for all.
    let insists = with(get("/a"), "cache-control", "no-cache");
    assert_eq!(send(&service, insists).await.body, "call 5");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 5");
    assert_eq!(layer.handle().stats().fetches.get(FetchReason::Stale), 3);
}

/// Whatever keeps a refresh from bringing anything new, the next one is not tried at once.
#[tokio::test(start_paused = true)]
async fn refreshes_that_bring_nothing_pause_whatever_the_reason() {
    for (case, kind) in ["429", "507", "panic", "broken", "length"].iter().zip(0..) {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let origin = Origin::new(move |_| {
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                let line = ("cache-control", "max-age=10, stale-while-revalidate=3600");
                if call == 1 {
                    return Ok(answer(200, &[line], "call 1"));
                }
                Ok(match kind {
                    0 => answer(429, &[], ""),
                    1 => answer(507, &[], ""),
                    2 => std::panic::resume_unwind(Box::new("in a refresh")),
                    3 => {
                        let (script, body) = crate::support::origin::scripted();
                        let _ = script.send(Err(OriginError("broken off").into()));
                        answer(200, &[line], "").map(|_| body)
                    }
                    _ => answer(200, &[line, ("content-length", "3")], "longer"),
                })
            }
        });
        let service = layer().failure_backoff(SECOND * 5).layer(origin);
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        for _ in 0..100 {
            assert_eq!(send(&service, get("/a")).await.body, "call 1", "{case}");
            sleep(SECOND / 10).await;
        }
        let calls = calls.load(Ordering::SeqCst);
        assert!(
            (3..=4).contains(&calls),
            "{case}: {calls} calls in ten seconds"
        );
    }
}

/// A dead origin is an error, too: what the response says of errors holds for it.
#[tokio::test(start_paused = true)]
async fn an_explicit_stale_if_error_is_the_last_word() {
    let origin = Patient::new("max-age=10, stale-if-error=0");
    let service = layer().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.is_now(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}

/// Each variant has its own refresh and its own pause.
#[tokio::test(start_paused = true)]
async fn variants_are_refreshed_one_by_one() {
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let origin = Origin::at_once(move |request| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        let language = request.headers()["accept-language"].to_str().expect("text");
        let lines = [
            ("cache-control", "max-age=10, stale-while-revalidate=30"),
            ("vary", "accept-language"),
        ];
        answer(200, &lines, format!("{language} {call}"))
    });
    let service = layer().layer(origin);
    let ask = |language: &str| -> Request<()> { with(get("/a"), "accept-language", language) };
    for language in ["de", "fr"] {
        send(&service, ask(language)).await;
        settle().await;
    }
    advance(SECOND * 12).await;
    assert_eq!(send(&service, ask("de")).await.body, "de 1");
    assert_eq!(send(&service, ask("fr")).await.body, "fr 2");
    settle().await;
    assert_eq!(send(&service, ask("de")).await.body, "de 3");
    assert_eq!(send(&service, ask("fr")).await.body, "fr 4");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

/// Nobody could refresh it: it is fetched by whoever asks.
#[test]
fn outside_of_a_runtime_what_is_stale_is_waited_for() {
    let origin = Origin::at_once(|_| -> Response {
        answer(
            200,
            &[("cache-control", "max-age=0, stale-while-revalidate=30")],
            "x",
        )
    });
    let service = layer().layer(origin.clone());
    for calls in 1..=2 {
        let asked = std::pin::pin!(send(&service, get("/a")));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.poll(&mut cx).is_ready());
        assert_eq!(origin.calls(), calls);
    }
}
