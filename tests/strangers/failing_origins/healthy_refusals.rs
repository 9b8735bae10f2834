//! A service that is well, and whose responses may not be shared: its answers reach all clients,
//! and nothing is paced.

use tower::Layer;

use super::{Got, Load, Service, count, herd, layer, report};
use crate::support::gets;
use crate::support::origin::{after, answer, cacheable};
use crate::support::time::{SECOND, SLOW};

/// The answers to 600 requests at once, after a line about those with this status, and with 503.
async fn answers_to_600(service: &Service, status: u16) -> Vec<Got> {
    let (took, got) = herd(service, gets(600)).await;
    let [expected, refused] = [status, 503].map(|status| count(&got, status));
    eprintln!("{status}: {expected}, 503: {refused}, {took:?}");
    got
}

/// The service answers 200 each time; the hook panics. No client may get 503.
#[tokio::test(start_paused = true)]
async fn a_herd_whose_store_if_panics_gets_the_answers_of_the_service() {
    let origin = after(SECOND, |_, _| cacheable("page"));
    let service = layer()
        .store_if(|_, _| panic!("on purpose"))
        .layer(origin.clone());
    let got = answers_to_600(&service, 200).await;
    assert_eq!(count(&got, 503), 0, "the service never answered 503");
}

#[tokio::test(start_paused = true)]
async fn a_herd_whose_ttl_by_panics_gets_the_answers_of_the_service() {
    let origin = after(SECOND, |_, _| cacheable("page"));
    let service = layer()
        .ttl_by(|_, _| panic!("on purpose"))
        .layer(origin.clone());
    let got = answers_to_600(&service, 200).await;
    assert_eq!(count(&got, 503), 0, "the service never answered 503");
}

/// Statuses that are never stored say nothing of a failing service.
#[tokio::test(start_paused = true)]
async fn a_herd_that_is_answered_with_a_status_that_is_never_stored_gets_it() {
    for status in [407, 408, 421, 425, 426, 428, 431] {
        let origin = after(SECOND, move |_, _| answer(status, &[], "no"));
        let service = layer().layer(origin.clone());
        let got = answers_to_600(&service, status).await;
        assert_eq!(
            count(&got, 503),
            0,
            "{status}: the service never answered 503"
        );
    }
}

/// A service that has recovered, and rejects all requests for the key.
#[tokio::test(start_paused = true)]
async fn a_service_that_recovers_to_a_4xx_ends_the_pacing() {
    for status in [401, 403, 400, 406] {
        let origin = after(SECOND, move |_, call| match call {
            0..=4 => answer(503, &[], "restarting"),
            _ => answer(status, &[], "rejected"),
        });
        let service = layer().layer(origin.clone());
        let got = answers_to_600(&service, status).await;
        assert!(
            count(&got, 503) <= 4,
            "{status}: the service answered 503 four times"
        );
    }
}

/// A few clients that leave as leaders make no failing service.
#[tokio::test(start_paused = true)]
async fn a_service_that_recovers_to_a_response_for_hooks_only() {
    let origin = after(SECOND, move |_, call| match call {
        0..=4 => answer(503, &[], "restarting"),
        _ => cacheable("page"),
    });
    let service = layer().store_if(|_, _| false).layer(origin.clone());
    let got = answers_to_600(&service, 200).await;
    assert!(count(&got, 503) <= 4);
}

/// A healthy service is called by all at once as soon as it is known that no response is for all.
#[tokio::test(start_paused = true)]
async fn refusals_of_a_healthy_service_pace_no_calls() {
    for status in [200, 400, 401, 403, 406, 408, 431] {
        let load = Load::default();
        let origin = load.origin(move |_, _| async move {
            tokio::time::sleep(SLOW).await;
            Ok(match status {
                200 => cacheable("for hooks"),
                _ => answer(status, &[], "rejected"),
            })
        });
        let layer = layer().store_if(|_, _| panic!("on purpose"));
        let (took, got) = herd(&layer.layer(origin), gets(600)).await;
        report(&format!("{status}, never stored"), &load, took);
        assert_eq!(count(&got, status), 600, "{status}");
        assert!(took <= SLOW * 4, "{status}: {took:?}");
    }
}
