//! Large bodies that are stored over a slow network: bounded, and no sign of a sick server.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{
    Backend, BreakerState, Guarded, Health, Lookup, PutOutcome, RedisBackend,
};

use super::bodies::long;
use crate::faults::world::guarded;
use crate::support::redis::{Link, LinkSpeed, RedisServer, until};
use crate::support::sample::{Sample, at};

/// A body of [`long`] takes 0.8 s.
const SLOWER: LinkSpeed = LinkSpeed {
    bits_per_second: 3_000_000,
    round_trip: Duration::from_millis(5),
};

/// A server, and two backends: one over a link, and one beside it.
struct Setup {
    server: RedisServer,
    slow: Guarded<RedisBackend>,
    other: RedisBackend,
}

impl Setup {
    async fn over(speed: LinkSpeed) -> Self {
        let server = RedisServer::start().await;
        let link = Link::to(server.port(), speed).await;
        let options = |url: &str| RedisOptions::new(url).expect("a URL").namespace("test");
        // However busy this machine is, lookups are answered.
        let slow = guarded(options(&link.url())).lookup_deadline(Duration::from_secs(2));
        Self {
            slow,
            other: options(&server.url()).build(),
            server,
        }
    }

    fn health(&self) -> Health {
        self.slow.health().expect("it is guarded")
    }

    fn assert_never_opened(&self) {
        let health = self.health();
        assert_eq!((health.breaker, health.opened), (BreakerState::Closed, 0));
    }

    fn assert_nothing_undelivered(&self) {
        let health = self.health();
        assert_eq!((health.undelivered, health.replayed), (0, 0), "{health:?}");
    }

    /// Starts to store so many large responses at once.
    async fn store_many(&self, count: usize) -> JoinSet<bool> {
        let mut samples = Vec::new();
        for number in 0..count {
            let sample = Sample::of(&self.slow, &format!("/{number}"), long("a")).await;
            let fence = sample.fence(&self.slow).await;
            samples.push((sample, fence));
        }
        let mut tasks = JoinSet::new();
        for (sample, fence) in samples {
            let slow = self.slow.clone();
            tasks.spawn(async move {
                let put = slow.put(&sample.key, fence, sample.response.clone(), at(0));
                matches!(put.await, Ok(PutOutcome::Stored))
            });
        }
        tasks
    }

    async fn is_found(&self, sample: &Sample) -> bool {
        let lookup = self.other.get(&sample.key, at(0)).await.expect("a lookup");
        let Lookup::Found(response, _) = lookup else {
            return false;
        };
        let length = response.body_length();
        let body = self.other.read_body(&response, 0..length).await;
        body.expect("no failure").is_some()
    }
}

async fn count(mut tasks: JoinSet<bool>) -> usize {
    let mut stored = 0;
    while let Some(is_stored) = tasks.join_next().await {
        stored += usize::from(is_stored.expect("no panic"));
    }
    stored
}

/// 50 bodies of 300 KB, which take 1.2 s of the link, and a round trip each: those are stored whose
/// turn comes within a second, the rest is refused, and lookups go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_stores_at_once_are_no_failures() {
    let setup = Setup::over(LinkSpeed::SLOW).await;
    let stored = count(setup.store_many(50).await).await;
    println!("stored {stored} of 50: {:?}", setup.health());
    assert!((8..=42).contains(&stored), "{stored}");
    setup.assert_never_opened();
}

/// Bodies that take longer than any deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_stores_that_time_out_are_no_failures() {
    let speed = LinkSpeed {
        bits_per_second: 4_000_000,
        round_trip: Duration::from_millis(5),
    };
    let setup = Setup::over(speed).await;
    let stored = count(setup.store_many(12).await).await;
    println!("stored {stored} of 12: {:?}", setup.health());
    assert!(stored < 12, "{stored}");
    setup.assert_never_opened();
}

/// A write waits for its invalidation, and not for those before it in the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_beside_large_stores_is_acknowledged() {
    let setup = Setup::over(LinkSpeed::SLOW).await;
    let write = Sample::of(&setup.slow, "/written", long("w")).await;
    let fence = write.fence(&setup.slow).await;
    let tasks = setup.store_many(30).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let outcome = write.replace(&setup.slow, &fence).await;
    println!("{outcome:?} after {:?}", start.elapsed());
    assert_eq!(outcome, PutOutcome::Stored);
    count(tasks).await;
    setup.assert_nothing_undelivered();
    until("its body is there", async || setup.is_found(&write).await).await;
}

/// Its body takes twice as long as the write may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_whose_body_is_late_is_acknowledged() {
    let setup = Setup::over(SLOWER).await;
    let write = Sample::of(&setup.slow, "/written", long("w")).await;
    let fence = write.fence(&setup.slow).await;
    let start = Instant::now();
    let outcome = write.replace(&setup.slow, &fence).await;
    let took = start.elapsed();
    assert_eq!(outcome, PutOutcome::Stored);
    assert!(
        !setup.is_found(&write).await,
        "its body takes 0.8 s: {took:?}"
    );
    until("its body is there", async || setup.is_found(&write).await).await;
    setup.assert_nothing_undelivered();
}

/// A body that arrives after its entry was invalidated is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_body_of_an_invalidated_response_is_not_kept() {
    let setup = Setup::over(SLOWER).await;
    let old = Sample::of(&setup.slow, "/written", long("w")).await;
    let new = Sample::of(&setup.slow, "/written", "new").await;
    for has_newer in [false, true] {
        let fence = old.fence(&setup.slow).await;
        assert_eq!(old.replace(&setup.slow, &fence).await, PutOutcome::Stored);
        match has_newer {
            false => old.invalidate(&setup.other).await,
            true => new.store(&setup.other).await,
        }
        let scripts = async || setup.server.calls("evalsha").await;
        let before = scripts().await;
        until("it has come", async || scripts().await > before).await;
        let names = async || setup.server.names("test:b:*").await;
        until("nothing is left", async || names().await.is_empty()).await;
    }
    assert_eq!(new.body(&setup.other).await.as_deref(), Some("new"));
}

/// The body of an acknowledged write is on its way when its instance ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_ends_waits_for_its_bodies() {
    let setup = Setup::over(SLOWER).await;
    let handle = CacheLayer::new(setup.slow.clone()).handle();
    let write = Sample::of(&setup.slow, "/written", long("w")).await;
    let fence = write.fence(&setup.slow).await;
    assert_eq!(write.replace(&setup.slow, &fence).await, PutOutcome::Stored);
    assert!(!setup.is_found(&write).await);
    handle.shutdown(Duration::from_secs(10)).await;
    assert!(setup.is_found(&write).await);
}

/// A reader that finds no body yet leaves the entry alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_whose_body_is_late_is_kept() {
    let setup = Setup::over(SLOWER).await;
    let write = Sample::of(&setup.slow, "/written", long("w")).await;
    let fence = write.fence(&setup.slow).await;
    assert_eq!(write.replace(&setup.slow, &fence).await, PutOutcome::Stored);
    for _ in 0..3 {
        assert!(!setup.is_found(&write).await);
    }
    assert_eq!(setup.server.names("test:e:*").await.len(), 1);
    until("its body is there", async || setup.is_found(&write).await).await;
}
