//! Requests of strangers that hang, or that fail late: they may slow down others for the same key,
//! and every request gets its answer.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};

use super::layer;
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

/// A few clients whose calls hang take all places of a key.
#[tokio::test(start_paused = true)]
async fn hanging_calls_of_some_clients_do_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    for _ in 0..14 {
        attackers.spawn(service.clone().oneshot(with(get("/a"), "x-slow", "1")));
    }
    sleep(40 * SECOND).await;
    for _ in 0..3 {
        let begun = Instant::now();
        let got = send(&service, get("/a")).await;
        eprintln!(
            "{} after {:?}: {}",
            got.status,
            begun.elapsed(),
            got.cache_status()
        );
        assert_eq!(got.status, 200, "after {:?}", begun.elapsed());
    }
}

/// Calls with cookies are of another kind than plain ones: if they hang, these do not wait.
#[tokio::test(start_paused = true)]
async fn hanging_calls_with_cookies_do_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    for _ in 0..14 {
        let ask = with(with(get("/a"), "x-slow", "1"), "cookie", "a=1");
        attackers.spawn(service.clone().oneshot(ask));
    }
    sleep(40 * SECOND).await;
    let begun = Instant::now();
    let got = send(&service, get("/a")).await;
    eprintln!(
        "{} after {:?}: {}",
        got.status,
        begun.elapsed(),
        got.cache_status()
    );
    assert_eq!(got.status, 200, "after {:?}", begun.elapsed());
}

/// A flood of requests that fail late keeps others from a place.
#[tokio::test(start_paused = true)]
async fn a_flood_of_failing_requests_does_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(4 * SECOND));
    let mut attackers = JoinSet::new();
    for _ in 0..40 {
        attackers.spawn(service.clone().oneshot(with(get("/a"), "x-slow", "1")));
    }
    sleep(15 * SECOND).await;
    for _ in 0..500 {
        attackers.spawn(service.clone().oneshot(with(get("/a"), "x-slow", "1")));
    }
    sleep(SECOND).await;
    let begun = Instant::now();
    let got = send(&service, get("/a")).await;
    eprintln!(
        "{} after {:?}: {}",
        got.status,
        begun.elapsed(),
        got.cache_status()
    );
    assert_eq!(got.status, 200, "after {:?}", begun.elapsed());
    assert!(begun.elapsed() < 12 * SECOND, "after {:?}", begun.elapsed());
}

/// An origin that a field of one client makes slow.
fn slowed(by: Duration) -> Origin {
    Origin::new(move |request: Request<()>| async move {
        if request.headers().contains_key("x-slow") {
            sleep(by).await;
            return Ok(answer(500, &[], "slow"));
        }
        sleep(SLOW).await;
        Ok(cacheable("page"))
    })
}

/// However many hang, a plain request waits for one doubling of the places at most.
#[tokio::test(start_paused = true)]
async fn a_thousand_hanging_calls_hold_up_others_for_one_takeover_timeout() {
    for name in ["x-odd", "cookie", "authorization"] {
        let service = layer().layer(slowed(3600 * SECOND));
        let mut attackers = JoinSet::new();
        for _ in 0..1000 {
            let ask = with(with(get("/a"), "x-slow", "1"), name, "1");
            attackers.spawn(service.clone().oneshot(ask));
        }
        sleep(31 * SECOND).await;
        let begun = Instant::now();
        let got = send(&service, get("/a")).await;
        eprintln!("{name}: {} after {:?}", got.status, begun.elapsed());
        assert_eq!(got.status, 200, "{name}");
        assert!(
            begun.elapsed() <= 10 * SECOND,
            "{name}: {:?}",
            begun.elapsed()
        );
    }
}

/// A success ends the pacing: calls that still hang hold no places after it.
#[tokio::test(start_paused = true)]
async fn calls_that_hang_hold_no_places_after_a_success() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    for _ in 0..100 {
        attackers.spawn(service.clone().oneshot(with(get("/a"), "x-slow", "1")));
    }
    sleep(31 * SECOND).await;
    assert_eq!(send(&service, get("/a")).await.status, 200);
    // The stored response has expired.
    sleep(600 * SECOND).await;
    let begun = Instant::now();
    assert_eq!(send(&service, get("/a")).await.status, 200);
    assert!(begun.elapsed() <= SLOW * 2, "{:?}", begun.elapsed());
}
