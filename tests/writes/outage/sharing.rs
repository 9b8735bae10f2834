//! Which requests share a call while the backend fails.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{FetchReason, Refusal};

use super::{LEADS, ask, burst, count, end, layer, numbered};
use crate::support::dying::{Switch, dying};
use crate::support::origin::{OriginError, answer, cacheable, data, fallible, scripted, slow};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::yielding::yielding;
use crate::support::{collect, get, gets, send, with};

const FOLLOWS: &str = "fwd=miss; collapsed";

/// A thousand misses are two calls, of which nothing is stored, and it is said so.
#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_two_calls() {
    async fn check(backend: impl Backend, switch: Switch) {
        let (layer, origin) = (in_virtual_time(backend), numbered());
        let service = layer.layer(origin.clone());
        let (took, answers) = burst(&service, gets(1000)).await;
        assert_eq!((took, origin.calls()), (SLOW * 2, 2));
        assert_eq!(count(&answers, |a| a.body == "call 1"), 1);
        assert_eq!(count(&answers, |a| a.body == "call 2"), 999);
        assert_eq!(count(&answers, |a| a.cache_status() == LEADS), 2);
        assert_eq!(count(&answers, |a| a.cache_status() == FOLLOWS), 998);
        settle().await;
        let stats = layer.handle().stats();
        assert_eq!((stats.stores, stats.collapsed), (0, 998));
        assert_eq!(stats.refusals.get(Refusal::BackendFailed), 2);
        assert_eq!(stats.fetches.get(FetchReason::BackendFailed), 1000);
        assert_eq!(stats.usage.expect("memory tells").entries, 0);
        assert_eq!(stats.in_flight, Default::default());
        switch.revive();
        let status = send(&service, get("/a")).await.cache_status();
        assert_eq!(status, "fwd=uri-miss; stored");
        settle().await;
        assert!(send(&service, get("/a")).await.is_hit());
    }
    let (backend, switch) = dying(MemoryBackend::default());
    check(backend, switch).await;
    let (backend, switch) = dying(MemoryBackend::default());
    check(yielding(backend), switch).await;
}

/// Also under traffic that never ends, whatever the requests insist on: a call each time the last
/// one has answered, and no request waits for more than two.
#[tokio::test(start_paused = true)]
async fn sustained_traffic_is_one_call_after_the_other() {
    for directive in ["max-stale", "no-cache", "max-age=0"] {
        let (layer, _) = layer();
        let origin = numbered();
        let service = layer.layer(origin.clone());
        let mut tasks = JoinSet::new();
        for _ in 0..2000 {
            let one = ask(&service, with(get("/a"), "cache-control", directive));
            tasks.spawn(async move {
                let begun = Instant::now();
                end(one).await.expect("an answer");
                begun.elapsed()
            });
            sleep(Duration::from_millis(1)).await;
        }
        let longest = tasks.join_all().await.into_iter().max();
        assert!(longest <= Some(SLOW * 2), "{directive}: {longest:?}");
        let calls = origin.calls();
        assert!((38..=42).contains(&calls), "{directive}: {calls} calls");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
    }
}

/// Those whose call waits for the inner service's readiness wait for one call.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_has_not_begun() {
    let (layer, _) = layer();
    let origin = numbered();
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let service = layer.layer(inner);
    let mut asks: Vec<_> = gets(200).collect();
    asks.insert(0, get("/other"));
    let (took, answers) = burst(&service, asks).await;
    assert_eq!((took, origin.calls()), (SLOW * 2, 2));
    assert_eq!(count(&answers, |a| a.cache_status() == FOLLOWS), 199);
}

/// Leaders read the bytes while they arrive. Followers have a whole response, although none is
/// stored.
#[tokio::test(start_paused = true)]
async fn bytes_are_served_as_they_arrive() {
    let scripts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let own = scripts.clone();
    let origin = slow(move |_, _| {
        let (script, body) = scripted();
        script.send(data("one ")).expect("room");
        own.lock().expect("no panic").push(script);
        cacheable("").map(|_| body)
    });
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(service.clone().oneshot(get("/a")));
    }
    for call in 1..=2 {
        let leader = timeout(SECOND, tasks.join_next()).await.expect("a head");
        let leader = leader.expect("a task").expect("no panic");
        let mut body = leader.expect("a head").into_body();
        let script = scripts.lock().expect("no panic").pop().expect("a call");
        for part in ["one ", "two ", "three"] {
            if part != "one " {
                script.send(data(part)).expect("it reads");
            }
            let frame = timeout(SECOND, body.frame()).await.expect("it arrives");
            let frame = frame.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), part, "{call}");
        }
        drop(script);
        assert!(body.frame().await.is_none(), "it ends cleanly");
    }
    for follower in tasks.join_all().await {
        let answer = collect(follower.expect("a head")).await;
        assert_eq!(answer.body, "one two three");
    }
    assert_eq!(origin.calls(), 2);
}

/// Requests do not queue for a response that may not be stored: one refusal tells, and the second
/// time none waits at all.
#[tokio::test(start_paused = true)]
async fn uncacheable_responses_make_no_queue() {
    for line in [
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("set-cookie", "id=1"),
        ("vary", "*"),
        ("x-says", "nothing"),
    ] {
        let origin = slow(move |_, call| answer(200, &[line], format!("call {call}")));
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        for round in 0..2 {
            let (took, answers) = burst(&service, gets(200)).await;
            assert_eq!(took, SLOW * [2, 1][round], "{line:?}");
            let mut bodies: Vec<_> = answers.iter().flatten().map(|a| &a.body).collect();
            bodies.sort();
            bodies.dedup();
            assert_eq!(bodies.len(), 200, "{line:?}: each has its own");
        }
    }
}

/// No client gets a response that could not have been stored for it.
#[tokio::test(start_paused = true)]
async fn nothing_is_shared_wrongly() {
    let says = |request: &Request<()>, name: &str| {
        let value = request.headers().get(name);
        value
            .map_or("", |value| value.to_str().expect("text"))
            .to_owned()
    };
    let ask = |name, n: usize| with(get("/a"), name, &format!("{name} {n}"));
    for name in ["cookie", "authorization"] {
        let origin = slow(move |request, _| answer(200, &[], says(request, name)));
        let (layer, _) = layer();
        let service = layer.ttl(SECOND * 60).layer(origin);
        let asks = (0..300).map(|n| if n % 3 == 0 { ask(name, n) } else { get("/a") });
        let (took, answers) = burst(&service, asks).await;
        for (n, answer) in answers.iter().flatten().enumerate() {
            let own = if n % 3 == 0 {
                format!("{name} {n}")
            } else {
                String::new()
            };
            assert_eq!(answer.body, own);
        }
        assert!(took <= SLOW * 4, "{name}: {took:?}");
    }
    let origin = slow(move |request, _| {
        let lines = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        answer(200, &lines, says(request, "accept-language"))
    });
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let asks = (0..300).map(|n| ask("accept-language", n % 3));
    let (took, answers) = burst(&service, asks).await;
    for (n, answer) in answers.iter().flatten().enumerate() {
        assert_eq!(answer.body, format!("accept-language {}", n % 3));
    }
    assert!(origin.calls() <= 2 + 3 * 2, "{} calls", origin.calls());
    assert!(took <= SLOW * 4, "{took:?}");
}

/// An error goes to the calling request; the others get an answer, or an error of their own.
#[tokio::test(start_paused = true)]
async fn errors_do_not_end_the_sharing_of_others() {
    for failing in 1..=3 {
        let origin = fallible(move |_, call| match call <= failing {
            true => Err(OriginError("refused")),
            false => Ok(cacheable("x")),
        });
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        let (_, answers) = burst(&service, gets(100)).await;
        let errors = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(errors, failing);
        let calls = origin.calls();
        assert!(calls <= failing + 2, "{failing} fail: {calls} calls");
    }
    let origin = fallible(|_, _| Err(OriginError("refused")));
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let (took, answers) = burst(&service, gets(100)).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(origin.calls(), 100);
    // A few one after the other, then eight at a time.
    assert!(took <= SLOW * (6 + 100_u32.div_ceil(8)), "{took:?}");
}

/// RFC 9111 §5.2.1.7: the inner service is not called.
#[tokio::test(start_paused = true)]
async fn only_if_cached_is_a_gateway_timeout() {
    let (layer, _) = layer();
    let origin = numbered();
    let service = layer.layer(origin.clone());
    let ask = || with(get("/a"), "cache-control", "only-if-cached");
    let (_, answers) = burst(&service, (0..10).map(|_| ask())).await;
    assert_eq!(count(&answers, |a| a.status == 504), 10);
    assert_eq!(origin.calls(), 0);
}
