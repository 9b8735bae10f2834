//! Large stores while the server does not answer: they tell nothing of its health.

use std::time::Duration;

use tokio::time::timeout;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{
    Backend, BreakerState, Guarded, Health, PutOutcome, RedisBackend,
};

use super::bodies::long;
use crate::faults::world::guarded;
use crate::support::redis::{RedisServer, Tap};
use crate::support::sample::{Sample, at};

type Guard = Guarded<RedisBackend>;
type Fence = <Guard as Backend>::Fence;

struct Setup {
    _server: RedisServer,
    tap: Tap,
    backend: Guard,
    small: Sample,
}

impl Setup {
    /// A backend whose connections for bodies are open.
    async fn new(guard: impl FnOnce(RedisOptions) -> Guard) -> Self {
        let server = RedisServer::start().await;
        let tap = Tap::to(server.port()).await;
        let options = RedisOptions::new(&tap.url()).expect("a URL");
        let backend = guard(options.namespace("test"));
        let small = Sample::of(&backend, "/small", "a").await;
        let setup = Self {
            _server: server,
            tap,
            backend,
            small,
        };
        let (first, fence) = setup.large(1, long("a")).await.remove(0);
        assert_eq!(first.put(&setup.backend, &fence).await, PutOutcome::Stored);
        setup
    }

    fn health(&self) -> Health {
        self.backend.health().expect("it is guarded")
    }

    async fn large(&self, count: usize, body: &'static str) -> Vec<(Sample, Fence)> {
        let mut samples = Vec::new();
        for number in 0..count {
            let sample = Sample::of(&self.backend, &format!("/{number}"), body).await;
            // However busy this machine is.
            let fence = loop {
                if let Ok(lookup) = self.backend.get(&sample.key, at(0)).await {
                    break lookup.into_fence().expect("a fence");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            samples.push((sample, fence));
        }
        samples
    }

    /// Looks a key up, in vain.
    async fn look_up(&self) {
        let lookup = self.backend.get(&self.small.key, at(0)).await;
        lookup.expect_err("nothing answers");
    }
}

async fn put(backend: Guard, (sample, fence): (Sample, Fence)) -> String {
    let put = backend.put(&sample.key, fence, sample.response.clone(), at(0));
    format!("{:?}", put.await)
}

/// It takes longer than the pause of the breaker, and ends without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_store_without_an_answer_closes_no_breaker() {
    let setup = Setup::new(guarded).await;
    let large = setup.large(1, long("a")).await.remove(0);
    setup.tap.black_hole();
    while setup.health().breaker != BreakerState::Open {
        setup.look_up().await;
    }
    // The pause before the next probe.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let outcome = put(setup.backend.clone(), large).await;
    let state = setup.health().breaker;
    assert_ne!(state, BreakerState::Closed, "{outcome}");
    // The next lookup is the probe, and fails.
    setup.look_up().await;
    assert_ne!(setup.health().breaker, BreakerState::Closed);
}

/// One that began before the breaker opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_store_that_ends_during_an_outage_closes_no_breaker() {
    let setup = Setup::new(guarded).await;
    let large = setup.large(1, long("a")).await.remove(0);
    setup.tap.black_hole();
    let store = tokio::spawn(put(setup.backend.clone(), large));
    while setup.health().breaker == BreakerState::Closed {
        setup.look_up().await;
    }
    let outcome = store.await.expect("no panic");
    assert!(outcome.starts_with("Err"), "{outcome}");
    let health = setup.health();
    assert_ne!(health.breaker, BreakerState::Closed, "{outcome}");
    assert_eq!(health.failures, health.timeouts, "of lookups alone");
}

/// More than wait at a time, beside lookups that all fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_large_stores_keep_no_breaker_closed() {
    // All of 16 MiB, but for a few bytes.
    const WAITING: usize = 18;
    let wait = Duration::from_secs(30);
    let guard = |options: RedisOptions| {
        Guarded::new(options.response_timeout(wait).build()).store_deadline(wait)
    };
    let setup = Setup::new(guard).await;
    let waiting = "a".repeat(16 * 1024 * 1024 / WAITING).leak();
    let waiting = setup.large(WAITING, waiting).await;
    let mut refused = setup.large(40, "a".repeat(40_000).leak()).await;
    setup.tap.black_hole();
    let mut puts = Vec::new();
    for sample in waiting {
        let mut put = Box::pin(put(setup.backend.clone(), sample));
        // Long enough for its bytes to be counted, whatever else runs here.
        let outcome = timeout(Duration::from_millis(30), &mut put).await;
        outcome.expect_err("it waits");
        puts.push(put);
    }
    let mut lookups = 0;
    while setup.health().breaker == BreakerState::Closed {
        setup.look_up().await;
        lookups += 1;
        for sample in refused.drain(refused.len().saturating_sub(2)..) {
            let outcome = put(setup.backend.clone(), sample).await;
            let is_refused =
                outcome.contains("TooManyTransfers") || outcome.contains("BreakerOpen");
            assert!(is_refused, "{outcome}");
        }
        assert!(lookups < 30, "it is still closed");
    }
    assert!(lookups <= 12, "{lookups}");
}
