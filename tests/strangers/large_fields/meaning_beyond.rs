//! The meaning of a field beyond its limit: it costs its sender alone.

use std::time::Duration;

use tokio::time::Instant;
use tower::Layer;
use tower_response_cache::RequestDirective;
use tower_response_cache::stats::{FetchReason, Refusal};

use super::{KIB, list, numbers};
use crate::support::origin::{Origin, answer, cacheable, slow};
use crate::support::time::{SLOW, settled};
use crate::support::{get, in_memory, send, send_all, with};

/// An origin whose response is selected by this field.
fn varying(vary: &'static str) -> Origin {
    slow(move |_, call| {
        let lines = [("cache-control", "max-age=3600"), ("vary", vary)];
        answer(200, &lines, format!("answer {call}"))
    })
}

/// A `no-store` may be behind the limit: it is obeyed, whether it is there or not.
#[tokio::test(start_paused = true)]
async fn an_unreadable_cache_control_is_obeyed_as_the_strictest() {
    for end in ["", ",no-store", ",only-if-cached"] {
        let layer = in_memory();
        let service = layer.layer(Origin::at_once(|_| cacheable("body")));
        let value = format!("{}{end}", list("max-stale", 300 * KIB));
        let told = send(&service, with(get("/a"), "cache-control", &value)).await;
        settled().await;
        assert_eq!(told.status, 200, "{end}");
        assert_eq!(
            layer.handle().stats().refusals.get(Refusal::RequestNoStore),
            1
        );

        send(&service, get("/a")).await;
        settled().await;
        let told = send(&service, with(get("/a"), "cache-control", &value)).await;
        assert!(!told.is_hit(), "{end}: no-cache");
        assert!(send(&service, get("/a")).await.is_hit(), "{end}");
    }
}

/// Directives that the configuration ignores stay ignored.
#[tokio::test(start_paused = true)]
async fn ignored_directives_are_ignored_in_an_unreadable_cache_control_too() {
    use RequestDirective::{NoCache, NoStore};
    let layer = in_memory().ignore_request_directives([NoCache, NoStore]);
    let service = layer.layer(Origin::at_once(|_| cacheable("body")));
    let long = || with(get("/a"), "cache-control", &list("no-cache", 300 * KIB));
    send(&service, long()).await;
    settled().await;
    assert!(send(&service, long()).await.is_hit());
}

/// Conditions and ranges that are too long to be read get the whole response.
#[tokio::test(start_paused = true)]
async fn an_unreadable_condition_or_range_gets_the_whole_response() {
    let origin = Origin::at_once(|_| {
        let lines = [("cache-control", "max-age=3600"), ("etag", "\"a\"")];
        answer(200, &lines, "body")
    });
    let layer = in_memory();
    let service = layer.layer(origin);
    for name in ["if-none-match", "range"] {
        for bytes in [5 * KIB, 300 * KIB] {
            let value = match name {
                "range" => format!("bytes={}0-0", ",".repeat(bytes)),
                _ => format!("{}\"a\"", numbers("\"x", bytes).replace(',', "\",")),
            };
            let is_short = bytes < 8 * KIB;
            let expected = match (is_short, name) {
                (false, _) => 200,
                (true, "range") => 206,
                (true, _) => 304,
            };
            for told in ["a miss", "a hit"] {
                let answer = send(&service, with(get("/a"), name, &value)).await;
                settled().await;
                let is_expected =
                    answer.status == expected || (told == "a miss" && name == "range");
                assert!(is_expected, "{name} {bytes} {told}: {}", answer.status);
            }
        }
    }
}

/// Two long values that begin alike are two values: neither gets the other's response.
#[tokio::test(start_paused = true)]
async fn long_selecting_values_never_match_each_other() {
    for (vary, name) in [("cookie", "cookie"), ("accept-encoding", "accept-encoding")] {
        let layer = in_memory();
        let origin = varying(vary);
        let service = layer.layer(origin.clone());
        let long = |end: &str| with(get("/a"), name, &format!("{}{end}", list("a=1", 300 * KIB)));
        // Nothing is known of `Vary` yet, and all come at once.
        let answers = send_all(&service, [long("x"), long("y"), long("x"), get("/a")]).await;
        settled().await;
        let mut bodies: Vec<_> = answers.iter().map(|told| told.body.clone()).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 4, "{name}: {bodies:?}");
        let calls = origin.calls();
        // Now `Vary` is known.
        let answers = send_all(&service, [long("x"), long("y"), long("x"), get("/a")]).await;
        settled().await;
        assert_eq!(origin.calls() - calls, 3, "{name}: the short one is stored");
        assert!(answers[3].is_hit(), "{name}");
        assert!(
            answers[0].cache_status().contains("fwd=vary-miss"),
            "{name}: {answers:?}"
        );
        let stats = layer.handle().stats();
        assert_eq!(
            stats.refusals.get(Refusal::LongSelectingFields),
            6,
            "{name}"
        );
        assert_eq!(
            stats.fetches.get(FetchReason::LongSelectingFields),
            3,
            "{name}"
        );
        assert_eq!((stats.stores, stats.in_flight.fills), (1, 0), "{name}");
    }
}

/// Values up to the limit select a stored response as ever.
#[tokio::test(start_paused = true)]
async fn selecting_values_up_to_the_limit_are_stored() {
    let layer = in_memory();
    let service = layer.layer(varying("cookie, accept-encoding"));
    for (bytes, is_stored) in [(15 * KIB, true), (17 * KIB, false)] {
        let asking = || {
            let request = with(get("/a"), "cookie", &"c".repeat(bytes));
            let request = with(request, "cache-control", "max-age=100");
            with(request, "accept-encoding", "gzip")
        };
        send(&service, asking()).await;
        settled().await;
        assert_eq!(
            send(&service, asking()).await.is_hit(),
            is_stored,
            "{bytes}"
        );
    }
}

/// Requests with long fields are not coalesced with others, and do not keep others from it.
#[tokio::test(start_paused = true)]
async fn a_flood_of_long_fields_leaves_others_coalesced() {
    let layer = in_memory().uncacheable_ttl(Duration::from_secs(60));
    let origin = varying("x-own");
    let service = layer.layer(origin.clone());
    let long = with(get("/a"), "x-own", &"x".repeat(20 * KIB));
    for _ in 0..10 {
        send(&service, long.clone()).await;
        settled().await;
    }
    let calls = origin.calls();
    let answers = send_all(&service, (0..50).map(|_| get("/a"))).await;
    settled().await;
    assert_eq!(origin.calls() - calls, 1);
    assert!(answers.iter().all(|told| told.body == answers[0].body));
}

/// Their responses cannot be shared, so they do not wait for each other.
#[tokio::test(start_paused = true)]
async fn requests_with_long_fields_do_not_wait_for_each_other() {
    let layer = in_memory();
    let origin = varying("x-own");
    let service = layer.layer(origin.clone());
    let long = |number: usize| {
        let value = format!("{}{number}", "x".repeat(20 * KIB));
        with(get("/a"), "x-own", &value)
    };
    let begun = Instant::now();
    let answers = send_all(&service, [get("/a")].into_iter().chain((0..10).map(long))).await;
    assert!(answers.iter().all(|told| told.status == 200));
    // The first call, which they followed, and one call of each.
    assert!(begun.elapsed() < 3 * SLOW, "{:?}", begun.elapsed());
    assert_eq!(origin.calls(), 11);
}
