//! Errors, panics and bodies that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::Refusal;

use crate::support::origin::{Origin, OriginError, answer, cacheable, data, scripted, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, gets};
use crate::{JoinAllResults, burst, layer};

/// An error is not shared, and says nothing about the next answer.
#[tokio::test(start_paused = true)]
async fn after_an_error_one_takes_over_and_nothing_is_remembered() {
    for status in [500, 503, 429] {
        let origin = slow(move |_, call| match call {
            1 => answer(status, &[], "an error"),
            _ => cacheable("x"),
        });
        let service = layer().layer(origin.clone());
        let (took, answers) = burst(&service, gets(200)).await;
        assert_eq!((origin.calls(), took), (2, SLOW * 2));
        let good = answers.iter().filter(|answer| answer.as_deref() == Ok("x"));
        assert_eq!(good.count(), 199);
    }
}

/// A body that fails before a follower has read any of it fails for one client only.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_at_once_is_not_passed_on() {
    let origin = slow(|_, call| {
        if call > 1 {
            return cacheable("x");
        }
        let (script, body) = scripted();
        script.send(Err(OriginError("gone").into())).expect("room");
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin.clone());
    let (_, answers) = burst(&service, gets(100)).await;
    let broken = answers.iter().filter(|answer| answer.is_err());
    assert_eq!((broken.count(), origin.calls()), (1, 2));
}

/// However late a body breaks off, only its own client has read from it.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_its_clients_alone_and_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| match response.lock().expect("a lock").take() {
        Some(body) => cacheable("").map(|_| body),
        None => cacheable("whole"),
    });
    let layer = layer();
    let service = layer.layer(origin.clone());
    let first = service.clone().oneshot(get("/a")).await.expect("a head");
    let breaks = async move {
        for _ in 0..9 {
            body.send(data("half")).expect("a reader");
            sleep(SECOND).await;
        }
        body.send(Err("connection lost".into())).expect("a reader");
    };
    let ((_, answers), ()) = tokio::join!(burst(&service, gets(100)), breaks);
    let broken = first.into_body().collect().await.expect_err("no clean end");
    assert_eq!(broken.to_string(), "connection lost");
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_deref() == Ok("whole"))
    );
    assert_eq!(layer.handle().stats().refusals.get(Refusal::BodyFailed), 1);
    assert_eq!(origin.calls(), 2);
}

/// A leader's error is its own; one follower takes over, the others follow that one.
#[tokio::test(start_paused = true)]
async fn an_error_or_panic_is_one_clients_and_one_follower_takes_over() {
    for panics in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let origin = Origin::new(move |_| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                sleep(SLOW).await;
                match call {
                    1 if panics => panic!("the handler's own panic"),
                    1 => Err(OriginError("connection lost")),
                    _ => Ok(cacheable("x")),
                }
            }
        });
        let service = layer().layer(origin);
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            tasks.spawn(service.clone().oneshot(get("/a")));
        }
        let ended = tasks.join_all_results().await;
        let failed = ended
            .iter()
            .filter(|ended| !matches!(ended, Ok(Ok(_))))
            .count();
        assert_eq!(
            (failed, calls.load(Ordering::SeqCst)),
            (1, 2),
            "panics: {panics}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_call_a_failing_origin_one_after_the_other_without_end() {
    let origin = Origin::new(|_| async {
        sleep(SLOW).await;
        Err(OriginError("connection lost"))
    });
    let service = layer().layer(origin.clone());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(service.clone().oneshot(get("/a")));
    }
    let ended = tasks.join_all_results().await;
    assert!(
        ended
            .iter()
            .all(|ended| matches!(ended, Ok(Err(OriginError("connection lost")))))
    );
    assert_eq!(origin.calls(), 100);
    // Three calls one after the other, then eight at a time.
    assert_eq!(begun.elapsed(), SLOW * (3 + 97_u32.div_ceil(8)));
}
