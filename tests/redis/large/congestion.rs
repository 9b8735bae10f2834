//! Networks that cannot carry what is asked of them: what they carry is of use, and neither stores
//! nor requests that were given up keep others out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Backend, Guarded, Lookup, PutOutcome, RedisBackend};

use super::bodies::long;
use crate::faults::world::guarded;
use crate::support::redis::{Link, LinkSpeed, RedisServer, until};
use crate::support::sample::{Sample, at};

/// How long each test stores and reads.
const TIME: Duration = Duration::from_secs(4);
const HOT: u64 = 300_000;

type Guard = Guarded<RedisBackend>;

struct Setup {
    server: RedisServer,
    link: Link,
    /// A backend behind the link.
    slow: Guard,
    direct: RedisBackend,
    hot: Sample,
}

impl Setup {
    async fn over(mbits_per_second: u64) -> Self {
        let server = RedisServer::start().await;
        let speed = LinkSpeed {
            bits_per_second: mbits_per_second * 1_000_000,
            round_trip: Duration::from_millis(5),
        };
        let link = Link::to(server.port(), speed).await;
        let options = |url: &str| RedisOptions::new(url).expect("a URL").namespace("test");
        let direct = options(&server.url()).build();
        let hot = Sample::of(&direct, "/hot", long("h")).await;
        hot.store(&direct).await;
        // However busy this machine is, lookups are answered.
        let slow = guarded(options(&link.url())).lookup_deadline(Duration::from_secs(2));
        Self {
            server,
            link,
            slow,
            direct,
            hot,
        }
    }

    /// Starts to store large responses, so many at a time, until `end`. Returns their number.
    async fn store(
        &self,
        at_a_time: usize,
        body: &'static str,
        end: Instant,
    ) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let (mut tasks, stored) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        for worker in 0..at_a_time {
            let (slow, stored) = (self.slow.clone(), stored.clone());
            let sample = Sample::of(&slow, &format!("/{worker}"), body).await;
            tasks.spawn(async move {
                while Instant::now() < end {
                    let Ok(lookup) = slow.get(&sample.key, at(0)).await else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    let fence = lookup.into_fence().expect("no tombstone");
                    let put = slow.put(&sample.key, fence, sample.response.clone(), at(0));
                    let is_stored = matches!(put.await, Ok(PutOutcome::Stored));
                    stored.fetch_add(usize::from(is_stored), Ordering::SeqCst);
                }
            });
        }
        (tasks, stored)
    }

    /// Reads a range of a response; whether it is there.
    async fn read(&self, sample: &Sample, end: u64) -> bool {
        let lookup = self.slow.get(&sample.key, at(0)).await;
        let Ok(Lookup::Found(response, _)) = lookup else {
            return false;
        };
        let read = self.slow.read_body(&response, 0..end).await;
        matches!(read, Ok(Some(_)))
    }

    /// Stores other large responses beside it.
    async fn others(&self, count: usize, body: &'static str) -> Vec<Sample> {
        let mut samples = Vec::new();
        for number in 0..count {
            let sample = Sample::of(&self.direct, &format!("/{number}"), body).await;
            sample.store(&self.direct).await;
            samples.push(sample);
        }
        samples
    }
}

fn text(length: usize) -> &'static str {
    "s".repeat(length).leak()
}

/// Eight at a time, each of which takes 0.6 s of the link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_stores_than_a_slow_network_carries_do_not_stop_each_other() {
    let setup = Setup::over(4).await;
    let (tasks, stored) = setup.store(8, long("a"), Instant::now() + TIME).await;
    tasks.join_all().await;
    let stored = stored.load(Ordering::SeqCst) as u64;
    let sent = setup.link.bytes_to_server();
    let temporary = setup.server.names("test:b:*:*").await.len();
    println!("{stored} stored, {sent} bytes sent, {temporary} bodies of no entry");
    assert!(
        stored * HOT * 10 >= sent * 7,
        "{stored} stored, {sent} sent"
    );
    assert_eq!(temporary, 0);
}

/// A body whose fill has given up keeps its place until it has arrived, and leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_late_is_removed_and_delays_the_next_one_only() {
    let setup = Setup::over(3).await;
    let late = Sample::of(&setup.slow, "/late", text(1_000_000)).await;
    let fence = late.fence(&setup.slow).await;
    let put = late.response.clone();
    let error = setup.slow.put(&late.key, fence, put, at(0)).await;
    error.expect_err("it takes 2.7 s, and 2 s are allowed");
    let before = setup.link.bytes_to_server();
    let next = Sample::of(&setup.slow, "/next", text(40_000)).await;
    let fence = next.fence(&setup.slow).await;
    // Its turn comes after 0.7 s. It waits for a second, which is not enough on a busy machine.
    until("the next one is stored", async || {
        let (fence, response) = (fence.clone(), next.response.clone());
        let put = setup.slow.put(&next.key, fence, response, at(0)).await;
        matches!(put, Ok(PutOutcome::Stored))
    })
    .await;
    assert_eq!(setup.server.names("test:b:*:*").await, [""; 0]);
    assert!(setup.link.bytes_to_server() - before < 1_000_000);
    // The connections of lookups, and the one of stores: none was given up.
    assert!(setup.link.accepted() <= 3, "{}", setup.link.accepted());
}

/// Large hits have connections of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_hits_go_on_beside_large_stores() {
    let setup = Setup::over(30).await;
    let end = Instant::now() + TIME;
    let (tasks, stored) = setup.store(8, text(900_000), end).await;
    let (mut hits, mut others) = (0, 0);
    while Instant::now() < end {
        match setup.read(&setup.hot, HOT).await {
            true => hits += 1,
            false => others += 1,
        }
    }
    tasks.join_all().await;
    let (stored, opened) = (stored.load(Ordering::SeqCst), setup.link.accepted());
    println!("{hits} hits, {others} others, {stored} stored, {opened} connections");
    assert!(
        hits >= 8 && others * 8 <= hits,
        "{hits} hits, {others} others"
    );
    assert!(stored > 0 && opened <= 5);
}

/// Ranges of 32 bodies, whose clients leave at once: they are not read to their ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_were_given_up_keep_nothing_out() {
    let setup = Setup::over(100).await;
    let others = setup.others(32, text(900_000)).await;
    assert!(setup.read(&setup.hot, HOT).await);
    let mut found = Vec::new();
    for sample in &others {
        let lookup = setup.slow.get(&sample.key, at(0)).await;
        let Ok(Lookup::Found(response, _)) = lookup else {
            panic!("it is stored");
        };
        found.push(response);
    }
    let before = setup.link.bytes_from_server();
    for response in &found {
        let read = setup.slow.read_body(response, 0..800_000);
        let _ = tokio::time::timeout(Duration::from_millis(1), read).await;
    }
    let start = Instant::now();
    assert!(setup.read(&setup.hot, HOT).await);
    println!("a hit after {:?}", start.elapsed());
    // As long as a fourth of them would take.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let moved = setup.link.bytes_from_server() - before;
    println!("{moved} bytes moved");
    // The hot body, and what was on its way.
    assert!(moved < 5_000_000, "{moved}");
}

/// A small range that was asked for takes its time of the network, whoever waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_ranges_that_were_given_up_are_bounded() {
    let setup = Setup::over(20).await;
    let body = setup.others(1, text(900_000)).await.remove(0);
    let lookup = setup.slow.get(&body.key, at(0)).await.expect("a lookup");
    let Lookup::Found(response, _) = lookup else {
        panic!("it is stored");
    };
    // The connections are open.
    assert!(setup.read(&setup.hot, HOT).await);
    let before = setup.link.bytes_from_server();
    for number in 0..200 {
        let start = number % 6 * 131_072;
        let read = setup.slow.read_body(&response, start..start + 131_072);
        let _ = tokio::time::timeout(Duration::from_millis(1), read).await;
    }
    assert!(setup.read(&setup.hot, HOT).await);
    let moved = setup.link.bytes_from_server() - before;
    println!("{moved} bytes moved");
    assert!(moved < 4_000_000, "{moved}");
}

/// One that a second reader still waits for goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_read_goes_on_for_those_that_still_wait() {
    let setup = Arc::new(Setup::over(20).await);
    let before = setup.link.bytes_from_server();
    let other = setup.clone();
    let reads = tokio::spawn(async move { other.read(&other.hot, HOT).await });
    let first = setup.read(&setup.hot, HOT);
    let _ = tokio::time::timeout(Duration::from_millis(60), first).await;
    assert!(reads.await.expect("no panic"));
    let moved = setup.link.bytes_from_server() - before;
    assert!(moved < HOT + HOT / 2, "{moved} bytes moved");
}

/// A large body in front does not take all turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_take_turns() {
    let setup = Arc::new(Setup::over(40).await);
    let bodies = setup.others(8, text(900_000)).await;
    let mut tasks = JoinSet::new();
    for body in bodies {
        let setup = setup.clone();
        tasks.spawn(async move { setup.read(&body, 900_000).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    assert!(setup.read(&setup.hot, HOT).await);
    println!("a hit after {:?}", start.elapsed());
    // Each of them has had as many turns, and is three times as long.
    let mut done = 0;
    while tasks.try_join_next().is_some() {
        done += 1;
    }
    assert!(done < 4, "{done} of 8 came first");
}
