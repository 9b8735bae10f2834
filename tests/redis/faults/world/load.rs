//! Readers and writers, while something else happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tower_response_cache::backend::redis::RedisOptions;

use crate::faults::world::instance::Instance;
use crate::faults::world::{PATHS, World, guarded};
use crate::support::redis::until;

/// No task runs for longer, whatever the end of its test.
const LONGEST: Duration = Duration::from_secs(120);
/// Far more than any deadline, far less than what a client of Redis waits by itself. The machine's
/// own lag comes on top, here and below.
const NOBODY_WAITS: Duration = Duration::from_secs(8);

/// Ninety-nine of a hundred reads: forty times what a lookup may take.
const MOST_DO_NOT_WAIT: Duration = Duration::from_secs(2);

/// Reads and writes until it is ended. All answers are checked.
pub struct Load {
    readers: JoinSet<Vec<Duration>>,
    writers: JoinSet<Vec<Duration>>,
    counts: Arc<Counts>,
    lag: JoinHandle<Duration>,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Load {
    pub fn nobody() -> Self {
        let counts = Arc::<Counts>::default();
        Self {
            readers: JoinSet::new(),
            writers: JoinSet::new(),
            lag: tokio::spawn(lag(counts.clone())),
            counts,
        }
    }

    /// Five readers and a writer.
    pub fn on(instance: &Instance) -> Self {
        Self::nobody().readers(instance, 5, 3).writers(instance, 1)
    }

    /// A warm instance, and the usual load on it, which has begun to be answered.
    pub async fn on_warm(options: RedisOptions) -> (Instance, Self) {
        let instance = World::default().instance(guarded(options));
        instance.warm().await;
        let load = Self::on(&instance);
        load.goes_on(200).await;
        (instance, load)
    }

    /// Adds readers, each path with so many queries.
    pub fn readers(mut self, instance: &Instance, count: usize, queries: usize) -> Self {
        for first in 0..count {
            let worker = Worker::new(instance, &self.counts, first + 1);
            self.readers.spawn(worker.reads(queries));
        }
        self
    }

    pub fn writers(mut self, instance: &Instance, count: usize) -> Self {
        for first in 0..count {
            let worker = Worker::new(instance, &self.counts, first + 1);
            self.writers.spawn(worker.writes());
        }
        self
    }

    /// Waits until so many more reads were answered.
    pub async fn goes_on(&self, reads: usize) {
        let reads = self.counts.reads.load(Ordering::SeqCst) + reads;
        until("they have read", async || {
            self.counts.reads.load(Ordering::SeqCst) >= reads
        })
        .await;
    }

    /// Waits until so many more writes were answered.
    pub async fn writes(&self, writes: usize) {
        let writes = self.counts.writes.load(Ordering::SeqCst) + writes;
        until("they have written", async || {
            self.counts.writes.load(Ordering::SeqCst) >= writes
        })
        .await;
    }

    /// Ends it, and tells how long it all took.
    pub async fn end(self, name: &str) {
        self.counts.is_over.store(true, Ordering::SeqCst);
        let reads = Times::of(self.readers.join_all().await);
        let writes = Times::of(self.writers.join_all().await);
        let lag = self.lag.await.expect("no panic");
        println!("{name}: reads {reads}; writes {writes}; lag {lag:?}");
        let longest = reads.longest.max(writes.longest);
        assert!(longest < NOBODY_WAITS + 2 * lag, "{name}: {longest:?}");
        assert!(reads.most < MOST_DO_NOT_WAIT + 2 * lag, "{name}: {reads}");
    }
}

/// How long this machine lets a task wait at worst that has nothing to wait for.
async fn lag(counts: Arc<Counts>) -> Duration {
    const BEAT: Duration = Duration::from_millis(2);
    let (start, mut worst) = (Instant::now(), Duration::ZERO);
    while !counts.is_over.load(Ordering::SeqCst) && start.elapsed() < LONGEST {
        let began = Instant::now();
        sleep(BEAT).await;
        worst = worst.max(began.elapsed().saturating_sub(BEAT));
    }
    worst
}

struct Worker {
    instance: Instance,
    counts: Arc<Counts>,
    number: usize,
    start: Instant,
    times: Vec<Duration>,
}

impl Worker {
    fn new(instance: &Instance, counts: &Arc<Counts>, number: usize) -> Self {
        Self {
            instance: instance.clone(),
            counts: counts.clone(),
            number,
            start: Instant::now(),
            times: Vec::new(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.counts.is_over.load(Ordering::SeqCst) && self.start.elapsed() < LONGEST
    }

    /// By chance, so that not all do the same at once.
    fn pick(&mut self, of: usize) -> usize {
        self.number = self
            .number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.number >> 33) % of
    }

    async fn reads(mut self, queries: usize) -> Vec<Duration> {
        while self.goes_on() {
            let began = Instant::now();
            let (path, query) = (self.pick(PATHS), self.pick(queries));
            self.instance.read(path, query).await;
            self.times.push(began.elapsed());
            self.counts.reads.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(2)).await;
        }
        self.times
    }

    async fn writes(mut self) -> Vec<Duration> {
        while self.goes_on() {
            let began = Instant::now();
            let path = self.pick(PATHS);
            self.instance.write(path).await;
            self.times.push(began.elapsed());
            self.counts.writes.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(25)).await;
        }
        self.times
    }
}

struct Times {
    count: usize,
    half: Duration,
    most: Duration,
    longest: Duration,
}

impl Times {
    fn of(times: Vec<Vec<Duration>>) -> Self {
        let mut times = times.concat();
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied();
        Self {
            count: times.len(),
            half: at(50).unwrap_or_default(),
            most: at(99).unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let (half, most, longest) = (millis(self.half), millis(self.most), millis(self.longest));
        let count = self.count;
        write!(
            f,
            "{count}, ms: p50 {half:.1}, p99 {most:.1}, max {longest:.1}"
        )
    }
}
