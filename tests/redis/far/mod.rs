//! Redis far away: a round trip takes up to the whole deadline of a lookup.
//!
//! All times are ten times those of the defaults, so that a busy machine takes no part in them: a
//! lookup has 500 ms, and round trips of 260, 400 and 450 ms stand for 26, 40 and 45 ms.

mod connecting;
mod steady;

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use http::Request;
use tokio::task::JoinHandle;
use tower::Layer;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{BreakerState, Guarded, Health, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::faults::world::is_idle;
use crate::support::origin::{Origin, Response, answer};
use crate::support::redis::{Link, LinkSpeed, PATIENCE, RedisServer, Tap, until};
use crate::support::{Answer, get, put, send};

const ROUND_TRIPS: [u64; 3] = [260, 400, 450];
/// Between probes a connection is idle for more than two seconds: it has to be checked.
const BETWEEN_PROBES: Duration = Duration::from_secs(3);

/// A cache over a Redis that is far away. The tap can cut the way to it.
struct Far {
    instance: Instance,
    link: Link,
    tap: Tap,
    server: RedisServer,
}

impl Deref for Far {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

struct Instance {
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Far {
    async fn by(round_trip: u64) -> Self {
        let server = RedisServer::start().await;
        Self::of(server, round_trip).await
    }

    async fn of(server: RedisServer, round_trip: u64) -> Self {
        let tap = Tap::to(server.port()).await;
        let speed = LinkSpeed {
            bits_per_second: 1_000_000_000,
            round_trip: Duration::from_millis(round_trip),
        };
        let link = Link::to(tap.port(), speed).await;
        let backend = backend(&url(&server, &link));
        backend.connect().await.expect("a connection");
        Self {
            instance: Instance::new(backend),
            link,
            tap,
            server,
        }
    }

    /// Another instance, which has no connection yet.
    fn another(&self) -> Instance {
        Instance::new(backend(&url(&self.server, &self.link)))
    }
}

impl Instance {
    fn new(backend: RedisBackend) -> Self {
        let backend = Guarded::new(backend)
            .lookup_deadline(Duration::from_millis(500))
            .invalidation_deadline(Duration::from_millis(2500))
            .store_deadline(Duration::from_secs(20))
            .half_open_after(BETWEEN_PROBES)
            .max_half_open_delay(BETWEEN_PROBES);
        let layer = CacheLayer::new(backend);
        Self {
            handle: layer.handle(),
            service: layer.layer(Origin::at_once(respond)),
        }
    }

    async fn read(&self, path: &str) -> Answer {
        send(&self.service, get(path)).await
    }

    /// Reads five pages at the same time.
    async fn read_at_once(&self, pages: [&str; 5]) -> [Answer; 5] {
        let [a, b, c, d, e] = pages.map(|page| self.read(page));
        tokio::join!(a, b, c, d, e).into()
    }

    /// A miss that is stored, and then a hit.
    async fn assert_stored_at_once(&self, path: &str) {
        assert!(!self.read(path).await.is_hit(), "{path}");
        until("it is stored", async || is_idle(&self.handle)).await;
        let stats = || self.handle.stats();
        assert!(self.read(path).await.is_hit(), "{path}: {:?}", stats());
    }

    fn health(&self) -> Health {
        self.handle.stats().health.expect("it is guarded")
    }

    fn assert_nothing_has_failed(&self) {
        let health = self.health();
        assert_eq!((health.failures, health.opened), (0, 0), "{health:?}");
    }
}

/// The URL of a server behind a link, with its password.
fn url(server: &RedisServer, link: &Link) -> String {
    let (direct, near) = (server.port().to_string(), link.port().to_string());
    server.url().replace(&direct, &near)
}

fn backend(url: &str) -> RedisBackend {
    patient(RedisOptions::new(url).expect("a URL")).build()
}

fn patient(options: RedisOptions) -> RedisOptions {
    options
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
}

fn respond(request: &Request<()>) -> Response {
    let path = request.uri().path();
    let mut lines = vec![("cache-control", "max-age=3600")];
    if path.starts_with("/member") {
        lines.push(("cache-groups", "\"a\", \"b\""));
    }
    if path.starts_with("/varies") {
        lines.push(("vary", "accept-language"));
    }
    let sized = path.strip_prefix("/sized/");
    let body = match sized.and_then(|rest| rest.split('/').next()) {
        Some(bytes) => "x".repeat(bytes.parse().expect("a number")),
        None => path.to_owned(),
    };
    answer(200, &lines, body)
}

/// Runs a test at all distances at the same time.
async fn at_all_distances(test: impl AsyncFn(Far)) {
    at_each_distance(async |round_trip| test(Far::by(round_trip).await).await).await;
}

/// Runs a test with all round trips at the same time. Where this machine was too busy for deadlines,
/// once more, three times at most.
async fn at_each_distance(test: impl AsyncFn(u64)) {
    let run = async |round_trip| {
        for _ in 0..3 {
            let late = LateTimers::watch(Duration::from_millis(10));
            match without_panic(test(round_trip)).await {
                Ok(()) => return,
                Err(panic) if late.count() == 0 => resume_unwind(panic),
                Err(_) => println!("{} timers were late", late.count()),
            }
        }
        println!("this machine is too busy: nothing was asserted");
    };
    let [one, two, three] = ROUND_TRIPS;
    tokio::join!(run(one), run(two), run(three));
}

/// Runs a test. Returns its panic, if it has panicked.
async fn without_panic(test: impl Future<Output = ()>) -> thread::Result<()> {
    let mut test = pin!(test);
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| test.as_mut().poll(cx)));
        match poll {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// How often timers are late, until it is dropped.
struct LateTimers(Arc<AtomicUsize>, JoinHandle<()>);

impl LateTimers {
    /// Counts those that are late by so much.
    fn watch(tolerated: Duration) -> Self {
        const BEAT: Duration = Duration::from_millis(5);
        let late = Arc::<AtomicUsize>::default();
        let count = late.clone();
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(BEAT).await;
                let is_late = began.elapsed() > BEAT + tolerated;
                count.fetch_add(usize::from(is_late), Ordering::SeqCst);
            }
        });
        Self(late, task)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for LateTimers {
    fn drop(&mut self) {
        self.1.abort();
    }
}

/// The first lookup of all creates three tokens, that of a resource one, that of a member compares
/// those of its groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_response_of_each_kind_is_stored() {
    at_all_distances(async |far| {
        for path in ["/first", "/second", "/varies", "/member"] {
            far.assert_stored_at_once(path).await;
        }
        assert!(send(&far.service, put("/first")).await.status.is_success());
        far.assert_stored_at_once("/first").await;
        far.assert_nothing_has_failed();
    })
    .await;
}

/// An operator's `SCRIPT FLUSH`: the server has forgotten what the connection has loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_were_flushed_are_sent_again() {
    at_all_distances(async |far| {
        far.assert_stored_at_once("/first").await;
        far.server.command(&["SCRIPT", "FLUSH"]).await;
        far.assert_stored_at_once("/second").await;
        far.server.command(&["SCRIPT", "FLUSH"]).await;
        assert!(send(&far.service, put("/first")).await.status.is_success());
        far.assert_stored_at_once("/first").await;
        far.assert_nothing_has_failed();
    })
    .await;
}

/// More than there are connections: the last ones wait for no reply to the first ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_at_the_same_time_take_one_round_trip() {
    at_all_distances(async |far| {
        far.assert_stored_at_once("/first").await;
        let read_all = || far.read_at_once(["/a", "/b", "/c", "/d", "/e"]);
        read_all().await;
        until("they are stored", async || is_idle(&far.handle)).await;
        let hits = read_all()
            .await
            .iter()
            .filter(|answer| answer.is_hit())
            .count();
        assert_eq!(hits, 5, "{:?}", far.handle.stats());
        far.assert_nothing_has_failed();
    })
    .await;
}

/// A request once in a while: what a connection that was idle replies counts if it passes the
/// check that was sent with the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_after_a_pause_takes_no_longer() {
    at_all_distances(async |far| {
        far.assert_stored_at_once("/first").await;
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let stats = || far.handle.stats();
        assert!(far.read("/first").await.is_hit(), "{:?}", stats());
        tokio::time::sleep(Duration::from_millis(2100)).await;
        far.assert_stored_at_once("/second").await;
        far.assert_nothing_has_failed();
    })
    .await;
}

impl Far {
    /// Reads until the breaker has opened.
    async fn is_given_up(&self) {
        let opened = self.health().opened;
        until("the breaker opens", async || {
            self.read_at_once(["/0", "/1", "/2", "/3", "/4"]).await;
            self.health().opened > opened
        })
        .await;
    }

    /// Reads new pages until the breaker is closed; then they are stored again.
    async fn is_used_again(&self) {
        let (start, mut number) = (Instant::now(), 0);
        while self.health().breaker != BreakerState::Closed {
            number += 1;
            self.read(&format!("/after/{number}")).await;
            assert!(start.elapsed() < PATIENCE, "{:?}", self.health());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.assert_stored_at_once("/again").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_restarted_is_used_again() {
    at_all_distances(async |mut far| {
        far.assert_stored_at_once("/first").await;
        far.server.kill();
        far.is_given_up().await;
        far.server.restart().await;
        far.is_used_again().await;
    })
    .await;
}

/// The probe that closes the breaker is the first command for seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_closes_after_an_outage() {
    at_all_distances(async |far| {
        far.assert_stored_at_once("/first").await;
        far.tap.black_hole();
        far.is_given_up().await;
        far.tap.pass();
        far.is_used_again().await;
    })
    .await;
}
