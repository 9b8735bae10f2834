//! Bodies that follow their write-throughs over a slow network: those that are of no use any more
//! take no time of it, and no places of others.

use std::time::Duration;

use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Backend, Guarded, Lookup, PutOutcome, RedisBackend};

use super::bodies::long;
use crate::faults::world::guarded;
use crate::support::redis::{Link, LinkSpeed, RedisServer, until};
use crate::support::sample::{Sample, at};

/// A body of [`long`] takes 0.3 s, and an acknowledgement much less.
const SPEED: LinkSpeed = LinkSpeed {
    bits_per_second: 8_000_000,
    round_trip: Duration::from_millis(2),
};
const LENGTH: u64 = 300_000;

struct Setup {
    server: RedisServer,
    link: Link,
    slow: Guarded<RedisBackend>,
    /// Another instance, beside the link.
    other: RedisBackend,
}

impl Setup {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let link = Link::to(server.port(), SPEED).await;
        let options = |url: &str| RedisOptions::new(url).expect("a URL").namespace("test");
        // However busy this machine is, lookups and stores are answered.
        let slow = guarded(options(&link.url()))
            .lookup_deadline(Duration::from_secs(10))
            .store_deadline(Duration::from_secs(10));
        Self {
            slow,
            other: options(&server.url()).build(),
            server,
            link,
        }
    }

    /// Writes so many responses through, which replace each other if they have one key.
    async fn write_many(&self, count: usize, path: impl Fn(usize) -> String) -> Vec<Sample> {
        let mut samples = Vec::new();
        for number in 0..count {
            let sample = Sample::of(&self.slow, &path(number), long("w")).await;
            let fence = sample.fence(&self.slow).await;
            let outcome = sample.replace(&self.slow, &fence).await;
            assert_eq!(outcome, PutOutcome::Stored);
            samples.push(sample);
        }
        samples
    }

    /// Whether an instance finds a response with its body.
    async fn is_found(sample: &Sample, backend: &impl Backend) -> bool {
        let lookup = backend.get(&sample.key, at(0)).await.expect("a lookup");
        let Lookup::Found(response, _) = lookup else {
            return false;
        };
        let body = backend.read_body(&response, 0..LENGTH).await;
        body.expect("no failure").is_some()
    }

    /// Stores another response, whose turn has to come within a second, and compares what was sent
    /// until then.
    async fn assert_nothing_kept_out(&self, most_bodies: u64) {
        let next = Sample::of(&self.slow, "/next", long("n")).await;
        let fence = next.fence(&self.slow).await;
        assert_eq!(next.put(&self.slow, &fence).await, PutOutcome::Stored);
        let sent = self.link.bytes_to_server() / LENGTH;
        assert!(sent <= most_bodies, "{sent} bodies sent");
    }
}

/// Promise: of write-throughs that replace each other, only the last one waits to be sent: neither
/// the time nor the places of the others are kept from other stores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_bodies_of_replaced_responses_keep_nothing_out() {
    let setup = Setup::new().await;
    // More than may wait at the same time.
    let last = setup.write_many(40, |_| "/written".to_owned()).await.pop();
    let last = last.expect("40");
    // This instance has its body.
    assert!(Setup::is_found(&last, &setup.slow).await);
    // A few went while the others were written.
    setup.assert_nothing_kept_out(10).await;
    let is_there = async || Setup::is_found(&last, &setup.other).await;
    until("the last body is there", is_there).await;
}

/// The same, where another instance has invalidated them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_bodies_of_invalidated_responses_are_not_sent() {
    let setup = Setup::new().await;
    let written = setup.write_many(20, |number| format!("/{number}")).await;
    for sample in &written {
        sample.invalidate(&setup.other).await;
    }
    setup.assert_nothing_kept_out(8).await;
    let names = async || setup.server.names("test:b:*").await;
    until("nothing but the next one is left", async || {
        names().await.len() == 1
    })
    .await;
}

/// Late bodies that are of use let a fill go first: one of them at a time waits beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_bodies_of_many_responses_keep_no_fill_waiting() {
    let setup = Setup::new().await;
    let written = setup.write_many(12, |number| format!("/{number}")).await;
    setup.assert_nothing_kept_out(8).await;
    for sample in &written {
        assert!(Setup::is_found(sample, &setup.slow).await);
        let is_there = async || Setup::is_found(sample, &setup.other).await;
        until("its body is there", is_there).await;
    }
}
