//! Requests that are dropped, stop being polled or hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};

use super::{ask, burst, count, end, layer, numbered};
use crate::support::origin::{Origin, cacheable, data, scripted, slow};
use crate::support::time::{FOREVER, SECOND, SLOW, settle};
use crate::support::{collect, get, gets, send};

/// A leader that is dropped, while it waits for its turn, for its answer, or reads, does not affect
/// others.
#[tokio::test(start_paused = true)]
async fn a_leader_may_be_dropped_at_any_point() {
    /// `is_first`: it waits for no other call.
    async fn check(polls: usize, is_first: bool) -> bool {
        let origin = slow(|_, _| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for part in ["one ", "two ", "three"] {
                    sleep(SLOW).await;
                    let _ = script.send(data(part));
                }
            });
            cacheable("").map(|_| body)
        });
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        let before = (!is_first).then(|| ask(&service, get("/a")));
        settle().await;
        let own = service.clone();
        let mut leader = Box::pin(async move {
            let response = own.oneshot(get("/a")).await.expect("a head");
            response.into_body().collect().await.expect("a whole body")
        });
        let mut left = polls;
        let mut leads = Box::pin(std::future::poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            leader.as_mut().poll(cx).map(|_| true)
        }));
        let follows = async {
            settle().await;
            burst(&service, gets(3)).await.1
        };
        let leads = async {
            let over = leads.as_mut().await;
            drop(leads);
            over
        };
        let (over, mut answers) = tokio::join!(biased; leads, follows);
        if let Some(before) = before {
            answers.push(end(before).await);
        }
        let whole = count(&answers, |a| a.body == "one two three");
        assert_eq!(whole, answers.len(), "{polls}, {is_first}");
        let calls = origin.calls();
        // Its own may have been dropped before a request waited.
        let most = 2 + usize::from(is_first);
        assert!(calls <= most, "{polls}, {is_first}: {calls} calls");
        settle().await;
        assert_eq!(layer.handle().stats().in_flight, Default::default());
        over
    }
    for is_first in [true, false] {
        let mut polls = 0;
        while !check(polls, is_first).await {
            polls += 1;
        }
        assert!(polls > 4, "several points, not {polls}");
    }
}

/// A request that waits for a turn does not depend on the polling of others.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_no_longer_polled_delays_no_request() {
    let (layer, _) = layer();
    let service = layer.layer(numbered());
    let mut first = Box::pin(service.clone().oneshot(get("/a")));
    let begins = timeout(SLOW / 2, &mut first).await;
    assert!(begins.is_err(), "it has called");
    let (took, answers) = burst(&service, gets(20)).await;
    assert_eq!(took, SLOW / 2 + SLOW);
    assert_eq!(count(&answers, |a| a.body == "call 2"), 20);
    assert_eq!(
        collect(first.await.expect("an answer")).await.body,
        "call 1"
    );
}

/// A call that waits for its turn is dropped with its last request, and leaves the one before
/// alone.
#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_dropped_with_its_last_waiting_request() {
    let (layer, _) = layer();
    let origin = numbered();
    let service = layer.layer(origin.clone());
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let waiting: Vec<_> = (0..5)
        .map(|_| tokio::spawn(service.clone().oneshot(get("/a"))))
        .collect();
    settle().await;
    assert_eq!(layer.handle().stats().in_flight.fills, 2);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    assert_eq!(layer.handle().stats().in_flight.fills, 1);
    let late = send(&service, get("/a")).await;
    assert_eq!(
        (late.body.as_str(), origin.calls()),
        ("call 2", 2),
        "it waited, too"
    );
    assert!(first.await.expect("no panic").is_ok());
    // And the first call is dropped with its client, even if others wait behind it.
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let begun = Instant::now();
    let next = ask(&service, get("/a"));
    settle().await;
    first.abort();
    assert_eq!(end(next).await.expect("an answer").body, "call 4");
    assert_eq!(
        begun.elapsed(),
        SLOW,
        "its turn came when the first one left"
    );
}

/// A call that hangs costs waiting requests their timeout, once.
#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_hanging_call_for_a_limited_time() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let wait = if call == 1 { FOREVER } else { SLOW };
            sleep(wait).await;
            Ok(cacheable(format!("call {call}")))
        }
    });
    let (layer, _) = layer();
    let service = layer.coalesce_takeover_timeout(SECOND * 10).layer(origin);
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let (took, answers) = burst(&service, gets(100)).await;
    assert!(took <= SECOND * 10 + SLOW * 2, "{took:?}");
    assert!(answers.iter().all(Result::is_ok));
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls <= 3, "{calls} calls");
    // Nor is it remembered for ever that it did.
    let (took, _) = burst(&service, gets(100)).await;
    assert!(took <= SLOW * 2, "{took:?}");
    first.abort();
}
