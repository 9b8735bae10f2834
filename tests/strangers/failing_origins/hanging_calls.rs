//! Requests of strangers that hang, or that fail late: they may slow down others for the same key,
//! and every request gets its answer.

use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::ResponseBody;

use super::{Service, layer};
use crate::support::origin::{Origin, OriginBody, OriginError, answer, cacheable};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

type Attackers = JoinSet<Result<Response<ResponseBody<OriginBody>>, OriginError>>;

/// A request that the origin is slow to answer.
fn slow_request() -> Request<()> {
    with(get("/a"), "x-slow", "1")
}

/// Sends a number of requests without waiting for their responses.
fn attack(
    attackers: &mut Attackers,
    service: &Service,
    count: usize,
    request: impl Fn() -> Request<()>,
) {
    for _ in 0..count {
        attackers.spawn(service.clone().oneshot(request()));
    }
}

/// Sends a plain request, which must be answered by the service. Returns how long that took.
async fn assert_answered(service: &Service, name: &str) -> Duration {
    let begun = Instant::now();
    let got = send(service, get("/a")).await;
    let took = begun.elapsed();
    eprintln!(
        "{name}: {} after {took:?}: {}",
        got.status,
        got.cache_status()
    );
    assert_eq!(got.status, 200, "{name} after {took:?}");
    took
}

/// A few clients whose calls hang take all places of a key.
#[tokio::test(start_paused = true)]
async fn hanging_calls_of_some_clients_do_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    attack(&mut attackers, &service, 14, slow_request);
    sleep(40 * SECOND).await;
    for _ in 0..3 {
        assert_answered(&service, "plain").await;
    }
}

/// Calls with cookies are of another kind than plain ones: if they hang, these do not wait.
#[tokio::test(start_paused = true)]
async fn hanging_calls_with_cookies_do_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    attack(&mut attackers, &service, 14, || {
        with(slow_request(), "cookie", "a=1")
    });
    sleep(40 * SECOND).await;
    assert_answered(&service, "plain").await;
}

/// A flood of requests that fail late keeps others from a place.
#[tokio::test(start_paused = true)]
async fn a_flood_of_failing_requests_does_not_deny_a_key_to_others() {
    let service = layer().layer(slowed(4 * SECOND));
    let mut attackers = JoinSet::new();
    attack(&mut attackers, &service, 40, slow_request);
    sleep(15 * SECOND).await;
    attack(&mut attackers, &service, 500, slow_request);
    sleep(SECOND).await;
    let took = assert_answered(&service, "plain").await;
    assert!(took < 12 * SECOND, "after {took:?}");
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
        attack(&mut attackers, &service, 1000, || {
            with(slow_request(), name, "1")
        });
        sleep(31 * SECOND).await;
        let took = assert_answered(&service, name).await;
        assert!(took <= 10 * SECOND, "{name}: {took:?}");
    }
}

/// A success ends the pacing: calls that still hang hold no places after it.
#[tokio::test(start_paused = true)]
async fn calls_that_hang_hold_no_places_after_a_success() {
    let service = layer().layer(slowed(3600 * SECOND));
    let mut attackers = JoinSet::new();
    attack(&mut attackers, &service, 100, slow_request);
    sleep(31 * SECOND).await;
    assert_answered(&service, "first").await;
    // The stored response has expired.
    sleep(600 * SECOND).await;
    let took = assert_answered(&service, "later").await;
    assert!(took <= SLOW * 2, "{took:?}");
}
