//! Many requests at once are one call; the answers that its followers get.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{CacheLayer, Ttl};

use crate::support::origin::{Origin, answer, cacheable, data, full, scripted, slow};
use crate::support::time::{FOREVER, SECOND, SLOW, in_virtual_time, settle};
use crate::support::yielding::yielding;
use crate::support::{collect, get, gets, send, send_all, with};
use crate::{burst, layer, times};

/// A late follower gets the head with its age, if it is young enough for its request.
#[tokio::test(start_paused = true)]
async fn late_followers_get_the_age_and_no_response_that_is_too_old() {
    for (lifetime, asked, calls) in [
        ("max-age=10", "", 1),
        ("max-age=10", "max-age=6", 1),
        ("max-age=10", "max-age=5", 2),
        ("max-age=10", "no-cache", 2),
        ("max-age=10", "max-age=0", 2),
        // It is over before the body is here.
        ("max-age=5", "", 2),
    ] {
        let origin = Origin::at_once(move |_| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                sleep(SECOND * 6).await;
                let _ = script.send(data("x"));
            });
            answer(200, &[("cache-control", lifetime)], "").map(|_| body)
        });
        let service = layer().layer(origin.clone());
        let _first = service.clone().oneshot(get("/a")).await.expect("a head");
        sleep(SECOND).await;
        let ask = match asked {
            "" => get("/a"),
            asked => with(get("/a"), "cache-control", asked),
        };
        let late = service.oneshot(ask).await.expect("a head");
        assert_eq!(origin.calls(), calls, "{lifetime}, {asked}");
        let age = late.headers().get("age").map(|age| age.as_bytes());
        assert_eq!(
            age,
            (calls == 1).then_some(&b"6"[..]),
            "{lifetime}, {asked}"
        );
    }
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
    let (_, followed) = timeout(FOREVER, both).await.expect("both are woken");
    let followed = followed.expect("an answer");
    for name in ["connection", "x-hop", "keep-alive"] {
        assert!(!followed.headers().contains_key(name), "{name}");
    }
    assert_eq!(followed.version(), http::Version::HTTP_11);
}

/// What the leader's answer was judged by is not judged anew for each: lifetimes by extension, time
/// spent waiting.
#[tokio::test(start_paused = true)]
async fn followers_share_what_was_judged_once() {
    let origin = slow(|_, _| {
        let mut response = answer(200, &[], "x");
        response.extensions_mut().insert(Ttl::For(SECOND * 60));
        response
    });
    let service = layer()
        .ttl_by(|_, head| head.extensions.get::<Ttl>().copied())
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
        let mut service = in_virtual_time(backend).layer(origin.clone());
        let late = service.call(get("/a"));
        send(&service, get("/a")).await;
        settle().await;
        assert!(collect(late.await.expect("an answer")).await.is_hit());
        assert_eq!(origin.calls(), 1);
    }
    check(MemoryBackend::default()).await;
    check(yielding(MemoryBackend::default())).await;
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

/// Without a runtime no request follows another for ever, and nothing panics on the way.
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
        let answers = send_all(&service, times(1000, "/a")).await;
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

/// Also at expiry
#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_one_call() {
    a_thousand_cold_gets(MemoryBackend::default()).await;
    a_thousand_cold_gets(yielding(MemoryBackend::default())).await;
}

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
    let answers = send_all(&service, asks).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.body, languages[n % 3]);
    }
    assert_eq!(origin.calls(), 3);
}

/// Without a runtime there are no background tasks: misses are served one by one, and nothing
/// panics.
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
