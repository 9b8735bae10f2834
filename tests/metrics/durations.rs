//! Histograms: calls, fills, waiting, stored sizes, and operations of a backend elsewhere.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tower::Layer;
use tower::limit::ConcurrencyLimit;
use tower_response_cache::backend::{BackendError, Guarded, MemoryBackend};
use tower_response_cache::stats::{
    BackendOperation, Distribution, FillOutcome, OperationResult, Stats, StatusClass, WaitedFor,
};

use crate::support::around::{Around, Wrapped};
use crate::support::origin::{Origin, OriginError, answer, cacheable, fallible, slow};
use crate::support::time::{SLOW, in_virtual_time, settled};
use crate::support::yielding::yielding;
use crate::support::{get, gets, put, send, send_all};
use crate::{layer, text};

/// Around a backend that never answers.
#[derive(Clone, Debug)]
struct Hanging;

impl Around for Hanging {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        drop(operation);
        std::future::pending().await
    }
}

/// The number of values, and their sum in milliseconds.
fn of(distribution: &Distribution) -> (u64, u64) {
    (distribution.count(), (distribution.sum() * 1e3) as u64)
}

#[tokio::test(start_paused = true)]
async fn calls_and_fills_count_by_how_they_end() {
    let layer = layer();
    let origin = fallible(|request, _| match request.uri().path() {
        "/error" => Err(OriginError("no answer")),
        "/404" => Ok(answer(404, &[], "")),
        "/503" => Ok(answer(503, &[], "")),
        _ => Ok(cacheable("0123456789")),
    });
    let service = layer.layer(origin);
    for path in ["/a", "/a", "/404", "/503"] {
        send(&service, get(path)).await;
    }
    assert!(
        tower::ServiceExt::oneshot(service, get("/error"))
            .await
            .is_err()
    );
    let stats = layer.handle().stats();
    let slow = SLOW.as_millis() as u64;
    let fetches = &stats.fetch_durations;
    for class in [
        StatusClass::Success,
        StatusClass::ClientError,
        StatusClass::ServerError,
        StatusClass::Error,
    ] {
        assert_eq!(of(fetches.get(class)), (1, slow), "{class}");
    }
    assert_eq!(of(fetches.get(StatusClass::Redirection)), (0, 0));
    let fills = &stats.fill_durations;
    assert_eq!(of(fills.get(FillOutcome::Stored)), (1, slow));
    assert_eq!(of(fills.get(FillOutcome::Refused)), (2, 2 * slow));
    assert_eq!(of(fills.get(FillOutcome::Failed)), (1, slow));
    assert_eq!(stats.stored_bytes.sum(), 10.0);
    // A hit counts nowhere here.
    assert_eq!(of(stats.wait_durations.get(WaitedFor::Flight)), (0, 0));
}

/// A response that was invalidated on its way is not stored: neither is its size.
#[tokio::test(start_paused = true)]
async fn a_body_that_the_store_does_not_take_is_no_stored_one() {
    let layer = layer();
    let service = layer.layer(slow(|_, _| cacheable("0123456789")));
    let cache = layer.handle();
    let invalidated = async {
        sleep(SLOW / 2).await;
        cache.invalidate("/a").await.expect("memory");
    };
    tokio::join!(send(&service, get("/a")), invalidated);
    settled().await;
    let stats = cache.stats();
    let slow = SLOW.as_millis() as u64;
    let fills = &stats.fill_durations;
    assert_eq!(of(fills.get(FillOutcome::Refused)), (1, slow));
    assert_eq!(of(fills.get(FillOutcome::Stored)), (0, 0));
    assert_eq!((stats.stores, of(&stats.stored_bytes)), (0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn followers_count_as_waiting_for_the_flight() {
    let layer = layer();
    send_all(&layer.layer(slow(|_, _| cacheable("x"))), gets(4)).await;
    let waits = layer.handle().stats().wait_durations;
    let slow = SLOW.as_millis() as u64;
    assert_eq!(of(waits.get(WaitedFor::Flight)), (3, 3 * slow));
}

/// One that finds the inner service ready does not wait.
#[tokio::test(start_paused = true)]
async fn requests_count_as_waiting_for_the_readiness_of_the_service() {
    let layer = layer();
    let one_at_a_time = ConcurrencyLimit::new(slow(|_, _| cacheable("x")), 1);
    let requests = ["/a", "/b", "/c"].map(get);
    send_all(&layer.layer(one_at_a_time), requests).await;
    let waits = layer.handle().stats().wait_durations;
    let slow = SLOW.as_millis() as u64;
    // The second waits for the first, the third for both.
    assert_eq!(of(waits.get(WaitedFor::Readiness)), (2, 3 * slow));
    assert_eq!(of(waits.get(WaitedFor::Flight)), (0, 0));
}

fn operations(stats: &Stats) -> Vec<(BackendOperation, OperationResult, u64)> {
    let counts = stats.backend_operations.iter();
    let counted = counts.filter(|(_, count)| *count > 0);
    counted
        .map(|((operation, result), count)| (operation, result, count))
        .collect()
}

/// Operations of a backend that has to be waited for; those of memory are not counted.
#[tokio::test(start_paused = true)]
async fn operations_of_a_backend_elsewhere_count_by_result() {
    use BackendOperation::*;
    use OperationResult::*;
    let origin = Origin::at_once(|_| cacheable("x"));
    let memory = layer();
    send(&memory.layer(origin.clone()), get("/a")).await;
    assert_eq!(operations(&memory.handle().stats()), []);
    let layer = in_virtual_time(yielding(MemoryBackend::default()));
    let service = layer.layer(origin);
    for request in [get("/a"), get("/a"), put("/a")] {
        send(&service, request).await;
        settled().await;
    }
    layer.handle().clear().await.expect("memory");
    let stats = layer.handle().stats();
    let expected = [
        (Get, Ok, 2),
        (Put, Ok, 1),
        (Invalidate, Ok, 1),
        (Clear, Ok, 1),
    ];
    assert_eq!(operations(&stats), expected);
    assert_eq!(stats.backend_durations.get(Get).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn operations_that_time_out_or_are_not_attempted_count_as_such() {
    use BackendOperation::*;
    use OperationResult::*;
    let backend = Wrapped {
        backend: MemoryBackend::default(),
        around: Hanging,
    };
    let layer = in_virtual_time(Guarded::new(backend));
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for number in 0..100 {
        send(&service, get(&format!("/{number}"))).await;
        sleep(Duration::from_millis(1)).await;
    }
    let stats = layer.handle().stats();
    let count = |result| stats.backend_operations.get(Get, result);
    assert_eq!((count(Ok), count(Timeout) + count(Rejected)), (0, 100));
    assert!(count(Timeout) > 0 && count(Rejected) > 0, "{stats:?}");
    // Those that were not attempted took no time.
    assert_eq!(stats.backend_durations.get(Get).count(), count(Timeout));
    text::assert_well_formed(&stats);
}
