//! Requests whose fields, or whose directives, are the reason why their response is refused.

use tokio::time::{Instant, advance};
use tower::Layer;

use super::{FOR_ALL, burst, layer, mixed};
use crate::support::origin::{answer, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, gets, send, with};

/// While a response is known, one that is refused says little of those that come after it, whatever
/// fields of its request were the reason.
#[tokio::test(start_paused = true)]
async fn a_plain_request_with_odd_fields_ends_no_sharing_of_a_known_response() {
    for (status, lines) in [
        (200, ("cache-control", "private")),
        (200, ("set-cookie", "id=1")),
        (404, ("x-says", "nothing")),
        (400, ("x-says", "nothing")),
        (431, ("x-says", "nothing")),
    ] {
        let origin = slow(
            move |request, call| match request.headers().contains_key("x-preview") {
                true => answer(status, &[lines], "odd"),
                false => answer(200, &[("cache-control", "max-age=10")], format!("{call}")),
            },
        );
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        for round in 1..=3 {
            advance(SECOND * 12).await;
            let odd = with(get("/a"), "x-preview", "1");
            let (calls, _) = burst(&service, &origin, mixed([odd])).await;
            assert_eq!(calls, 2, "{status} {lines:?}, round {round}");
        }
    }
}

/// A forced call whose response is refused says nothing of the others' calls.
#[tokio::test(start_paused = true)]
async fn a_forced_call_ends_no_sharing() {
    let origin = slow(|request, _| match request.headers().get("cache-control") {
        Some(_) => answer(200, &[("cache-control", "no-store")], "forced"),
        None => answer(200, &[("cache-control", FOR_ALL)], "x"),
    });
    let service = layer().layer(origin.clone());
    let forced = || with(get("/a"), "cache-control", "no-cache");
    send(&service, forced()).await;
    let (calls, _) = burst(&service, &origin, mixed([forced()])).await;
    assert_eq!(calls, 2);
}

/// A response that all get and that is no longer to be stored ends the sharing after one call.
#[tokio::test(start_paused = true)]
async fn a_known_response_that_becomes_private_makes_one_short_queue() {
    let origin = slow(|_, call| match call {
        1 => answer(200, &[("cache-control", "max-age=10")], "x"),
        _ => answer(200, &[("cache-control", "private")], format!("{call}")),
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    for expected in [SLOW * 2, SLOW] {
        let begun = Instant::now();
        let (calls, answers) = burst(&service, &origin, gets(100).collect()).await;
        assert_eq!((calls, begun.elapsed()), (100, expected));
        assert!(answers.iter().all(|answer| !answer.is_hit()));
    }
}

/// A few requests that come before the others lead no flights in a row.
#[tokio::test(start_paused = true)]
async fn a_few_odd_requests_at_once_end_no_sharing_of_a_known_response() {
    for status in [200, 400] {
        let origin = slow(
            move |request, call| match request.headers().contains_key("x-preview") {
                true => answer(status, &[("cache-control", "private")], "odd"),
                false => answer(200, &[("cache-control", "max-age=10")], format!("{call}")),
            },
        );
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        let odd = (0..10).map(|_| with(get("/a"), "x-preview", "1"));
        let (calls, answers) = burst(&service, &origin, mixed(odd)).await;
        // The odd ones follow the others, and share their response.
        assert_eq!(calls, 2, "{status}");
        assert_eq!(
            answers.iter().filter(|answer| answer.body == "odd").count(),
            1
        );
    }
}
