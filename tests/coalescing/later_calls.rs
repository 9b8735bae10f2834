//! The response to a call that has taken long does not replace that of a later one: what it brings
//! may be older (RFC 9111 §4: the most recent response is used).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use super::layer;
use crate::support::origin::{Origin, Response, answer, data, scripted};
use crate::support::time::SECOND;
use crate::support::{Answer, get, send, with};

const MS: Duration = Duration::from_millis(1);
const PAGE: (&str, &str) = ("cache-control", "max-age=100, stale-while-revalidate=1000");

/// Calls that take as many milliseconds as their field `x-takes` says, and answer with their number.
fn origin(make: impl Fn(Request<()>, String) -> Response + Copy + Send + Sync + 'static) -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::new(move |request: Request<()>| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            let takes = request.headers().get("x-takes");
            let takes = takes.map_or("50", |takes| takes.to_str().expect("text"));
            sleep(MS * takes.parse().expect("a number")).await;
            Ok(make(request, number.to_string()))
        }
    })
}

fn at_once(_: Request<()>, number: String) -> Response {
    answer(200, &[PAGE], number)
}

/// The body comes after the head.
fn streamed(_: Request<()>, number: String) -> Response {
    let (frames, body) = scripted();
    tokio::spawn(async move {
        sleep(MS).await;
        let number: &'static str = ["0", "1", "2", "3"][number.parse::<usize>().expect("one")];
        let _ = frames.send(data(number));
    });
    answer(200, &[PAGE], "").map(|_| body)
}

fn takes(request: Request<()>, milliseconds: u64) -> Request<()> {
    with(request, "x-takes", &milliseconds.to_string())
}

fn reload(request: Request<()>) -> Request<()> {
    with(request, "cache-control", "no-cache")
}

/// What a slow request gets, and one that is sent a second later.
async fn slow_and_later(
    service: &Cache<Origin, MemoryBackend>,
    slow: Request<()>,
    later: Request<()>,
) -> [Answer; 2] {
    let later = async {
        sleep(SECOND).await;
        send(service, later).await
    };
    let (slow, later) = tokio::join!(send(service, slow), later);
    [slow, later]
}

#[tokio::test(start_paused = true)]
async fn a_slow_reload_does_not_replace_the_response_to_a_later_one() {
    for make in [at_once, streamed] {
        let layer = layer();
        let service = layer.layer(origin(make));
        let slow = takes(reload(get("/a")), 9000);
        let [slow, later] = slow_and_later(&service, slow, reload(get("/a"))).await;
        assert_eq!((&*slow.body, &*later.body), ("0", "1"));
        assert_eq!(later.cache_status(), "fwd=uri-miss; stored");
        assert_eq!(send(&service, get("/a")).await.body, "1");
        let refusals = layer.handle().stats().refusals;
        assert_eq!(refusals.get(Refusal::Superseded), 1);
        // It holds for calls at the same time.
        let next = send(&service, reload(get("/a"))).await;
        assert!(next.cache_status().starts_with("fwd=request; stored"));
    }
}

/// Another request calls after ten seconds.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_overtaken_does_not_replace_the_response_to_the_later_one() {
    for make in [at_once, streamed] {
        let service = layer().layer(origin(make));
        let later = async {
            sleep(10 * SECOND).await;
            send(&service, get("/a")).await
        };
        let (slow, later) = tokio::join!(send(&service, takes(get("/a"), 12_000)), later);
        assert_eq!((&*slow.body, &*later.body), ("0", "1"));
        assert_eq!(send(&service, get("/a")).await.body, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_refresh_does_not_replace_the_response_to_a_later_one() {
    for make in [at_once, streamed] {
        let service = layer().layer(origin(make));
        send(&service, get("/a")).await;
        sleep(101 * SECOND).await;
        let slow = takes(get("/a"), 9000);
        let [slow, later] = slow_and_later(&service, slow, reload(get("/a"))).await;
        assert_eq!((&*slow.body, &*later.body), ("0", "2"));
        sleep(10 * SECOND).await;
        assert_eq!(send(&service, get("/a")).await.body, "2");
    }
}

/// It says that what was stored before is current, which it is no longer.
#[tokio::test(start_paused = true)]
async fn a_slow_confirmation_does_not_replace_the_response_to_a_later_call() {
    let service = layer().layer(origin(|request, number| {
        let is_slow = request.headers().contains_key("x-takes");
        let tag = (
            "etag",
            if number == "0" || is_slow {
                "\"0\""
            } else {
                "\"2\""
            },
        );
        match is_slow && request.headers().contains_key("if-none-match") {
            true => answer(304, &[PAGE, tag], ""),
            false => answer(200, &[PAGE, tag], number),
        }
    }));
    send(&service, get("/a")).await;
    let slow = takes(reload(get("/a")), 9000);
    let [slow, later] = slow_and_later(&service, slow, reload(get("/a"))).await;
    assert_eq!((&*slow.body, &*later.body), ("0", "2"));
    assert_eq!(send(&service, get("/a")).await.body, "2");
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_replaces_no_other_variant() {
    let vary = |request: Request<()>, number| {
        let response = at_once(request, number);
        let (mut head, body) = response.into_parts();
        let name = "accept-language".parse().expect("a field value");
        head.headers.insert("vary", name);
        Response::from_parts(head, body)
    };
    let service = layer().layer(origin(vary));
    let in_language = |language| with(get("/a"), "accept-language", language);
    let slow = takes(reload(in_language("de")), 9000);
    let [slow, later] = slow_and_later(&service, slow, reload(in_language("en"))).await;
    for answer in [&slow, &later] {
        assert_eq!(answer.cache_status(), "fwd=uri-miss; stored");
    }
    for (language, body) in [("de", "0"), ("en", "1")] {
        let answer = send(&service, in_language(language)).await;
        assert!(answer.is_hit());
        assert_eq!(answer.body, body);
    }
}

/// Nothing of it is stored, so that the slow one is.
#[tokio::test(start_paused = true)]
async fn a_slow_call_replaces_what_a_later_one_did_not_bring() {
    let service = layer().layer(origin(|request, number| match number.as_str() {
        "1" => answer(500, &[], "no"),
        _ => at_once(request, number),
    }));
    let slow = takes(reload(get("/a")), 9000);
    let [slow, later] = slow_and_later(&service, slow, reload(get("/a"))).await;
    assert_eq!((&*slow.body, later.status.as_u16()), ("0", 500));
    assert_eq!(send(&service, get("/a")).await.body, "0");
}

/// A variant, whose page was not known to vary when the slow call began.
#[tokio::test(start_paused = true)]
async fn a_slow_call_does_not_replace_a_later_response_whose_variant_it_turns_out_to_be() {
    let varies = |_: Request<()>, number: String| {
        let fields = [PAGE, ("vary", "accept-language")];
        answer(200, &fields, number)
    };
    for reloads in [["de", "en"], ["en", "de"]] {
        let service = layer().layer(origin(varies));
        let asked = |language| with(get("/a"), "accept-language", language);
        let later = async {
            sleep(SECOND).await;
            for language in reloads {
                send(&service, reload(asked(language))).await;
            }
            send(&service, asked("en")).await
        };
        let slow = send(&service, takes(asked("en"), 20_000));
        let (slow, later) = tokio::join!(slow, later);
        assert!(slow.body == "0" && later.body != "0" && later.is_hit());
        let after = send(&service, asked("en")).await;
        assert_eq!(after.body, later.body, "{reloads:?}");
    }
}
