//! Responses that may not be stored are not shared, and their requests do not wait for each other.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tower::Layer;

use crate::support::origin::{answer, cacheable, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, gets, send, send_all, with};
use crate::{burst, layer, times};

/// A request that is none of the others' fault is none of their business.
#[tokio::test(start_paused = true)]
async fn a_bad_request_does_not_end_the_sharing_of_others() {
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
    // A rejection says nothing of requests with other fields, and enough of those with the same.
    let origin = slow(|_, _| answer(401, &[], ""));
    let service = layer().layer(origin);
    let (first, _) = burst(&service, gets(100)).await;
    let (second, _) = burst(&service, gets(100)).await;
    assert_eq!((first, second), (SLOW * 2, SLOW));
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
async fn conditions_and_ranges_do_not_disturb_other_requests() {
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

/// Nothing of the leader's answer is shared, no request queues, and in the second burst none waits
/// at all.
#[tokio::test(start_paused = true)]
async fn uncacheable_responses_are_neither_shared_nor_queued_for() {
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
            let answers = send_all(&service, times(200, "/a")).await;
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
    send_all(&service, times(50, "/a")).await;
    assert!(origin.calls() <= 52);
    advance(Duration::from_secs(2)).await;
    let before = origin.calls();
    send_all(&service, times(50, "/a")).await;
    assert_eq!(origin.calls(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn answers_to_credentials_are_not_shared() {
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
            let answers = send_all(&service, asks).await;
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
