//! The load: readers and writers, and the check of every read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Address, Connection};
use crate::counters::Counters;
use crate::options::Options;
use crate::product::{Product, ReadVerdict, document};
use crate::progress::Progress;

/// How many times in a row a writer changes one product, through one instance after the other, so
/// that a write meets the fills that the one before it caused.
const WRITES_IN_A_ROW: usize = 4;

/// The interval at which a writer checks whether it is still ahead of the readers.
const PACE: Duration = Duration::from_millis(1);

/// The pause after an error.
const ERROR_BACKOFF: Duration = Duration::from_millis(20);

/// The longest time for removing the products at the end.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What readers and writers share.
pub struct Load {
    /// The target number of reads.
    pub reads: u64,
    /// The target number of writes.
    pub writes: u64,
    pub counters: Counters,
    pub progress: Progress,
    addresses: Vec<Address>,
    products: Vec<Product>,
    /// The index of the product written last, which is the most likely to be read stale.
    latest: AtomicUsize,
}

impl Load {
    /// Creates the products.
    pub async fn prepare(addresses: Vec<Address>, options: &Options) -> Result<Self, String> {
        let mut connections = connect(&addresses);
        let count = connections.len();
        let mut products = Vec::new();
        for number in 0..usize::from(options.products) {
            products.push(Product::create(&mut connections[number % count]).await?);
        }
        Ok(Self {
            reads: options.reads,
            writes: options.writes,
            counters: Counters::default(),
            progress: Progress::default(),
            addresses,
            products,
            latest: AtomicUsize::new(0),
        })
    }

    /// Reads and writes until both targets are reached. Requests in flight are dropped then.
    pub async fn run(self: Arc<Self>, readers: u16, writers: u16) {
        let mut tasks = JoinSet::new();
        for number in 0..usize::from(readers) {
            tasks.spawn(self.clone().keep_reading(number));
        }
        for number in 0..usize::from(writers) {
            tasks.spawn(self.clone().keep_writing(number, writers.into()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("readers and writers do not panic");
        }
    }

    fn has_read_enough(&self) -> bool {
        self.counters.reads.get() >= self.reads
    }

    fn has_written_enough(&self) -> bool {
        self.counters.writes.get() >= self.writes
    }

    /// Whether a larger share of the writes is done than of the reads.
    fn writers_are_ahead(&self) -> bool {
        let (reads, writes) = (self.counters.reads.get(), self.counters.writes.get());
        u128::from(writes) * u128::from(self.reads) > u128::from(reads) * u128::from(self.writes)
    }

    async fn keep_reading(self: Arc<Self>, reader: usize) {
        let mut connections = connect(&self.addresses);
        let (products, instances) = (self.products.len(), connections.len());
        let mut turn = reader;
        while !(self.has_read_enough() && self.has_written_enough()) {
            // Every other read is of the product written last. The others go through all products,
            // one round per instance.
            let number = match turn % 2 {
                0 => self.latest.load(Ordering::Relaxed),
                _ => turn / 2 % products,
            };
            let instance = (turn / 2 / products + turn / 2 % products + reader) % instances;
            let (product, connection) = (&self.products[number], &mut connections[instance]);
            if let Err(error) = self.read(product, connection).await {
                self.progress.report_error(error);
                sleep(ERROR_BACKOFF).await;
            }
            turn += 1;
        }
    }

    async fn read(&self, product: &Product, connection: &mut Connection) -> Result<(), String> {
        let promised = product.promised();
        let started = Instant::now();
        let reply = connection.send(Method::GET, &product.path, "").await;
        let reply = reply.map_err(|error| {
            self.counters.errors.add(&error);
            format!("GET {}{}: {error}", connection.address, product.path)
        })?;
        self.counters.read_times.add(started.elapsed());
        let read = product.parse(&reply).inspect_err(|_| {
            self.counters.errors.wrong.add();
        })?;
        if read.is_hit {
            self.counters.hits.add();
        }
        match product.judge(&read, promised) {
            ReadVerdict::Current => {}
            ReadVerdict::Undecided => _ = self.counters.undecided.add(),
            ReadVerdict::Stale => {
                self.counters.stale.add();
                let (address, path, got) = (&connection.address, &product.path, read.version);
                let (status, age) = (reply.field("cache-status"), reply.field("age"));
                self.progress.report_stale(format!(
                    "{address}{path}, got {got}, promised {promised}, \
                     cache-status: {status}, age: {age}"
                ));
            }
        }
        self.counters.reads.add();
        Ok(())
    }

    async fn keep_writing(self: Arc<Self>, writer: usize, writers: usize) {
        let mut connections = connect(&self.addresses);
        let instances = connections.len() as u64;
        for number in (writer..self.products.len()).step_by(writers).cycle() {
            while self.writers_are_ahead() && !self.has_written_enough() {
                sleep(PACE).await;
            }
            for _ in 0..WRITES_IN_A_ROW {
                if self.has_written_enough() {
                    return;
                }
                let version = self.products[number].issue();
                let connection = &mut connections[(version % instances) as usize];
                if let Err(error) = self.write(number, version, connection).await {
                    self.progress.report_error(error);
                    sleep(ERROR_BACKOFF).await;
                }
            }
        }
    }

    async fn write(&self, number: usize, version: u64, to: &mut Connection) -> Result<(), String> {
        let product = &self.products[number];
        self.latest.store(number, Ordering::Relaxed);
        let started = Instant::now();
        let reply = to.send(Method::PUT, &product.path, document(version)).await;
        reply.map_err(|error| {
            product.mark_unconfirmed(version);
            self.counters.errors.add(&error);
            format!("PUT {}{}: {error}", to.address, product.path)
        })?;
        product.promise(version);
        self.counters.write_times.add(started.elapsed());
        self.counters.writes.add();
        Ok(())
    }

    /// Deletes the products, so that instances that were not started here are left as they were.
    /// Errors are ignored.
    pub async fn remove_products(&self) {
        let removed = async {
            let mut connections = connect(&self.addresses);
            for product in &self.products {
                for connection in &mut connections {
                    let reply = connection.send(Method::DELETE, &product.path, "").await;
                    if reply.is_ok() {
                        break;
                    }
                }
            }
        };
        let _ = timeout(CLEANUP_TIMEOUT, removed).await;
    }
}

fn connect(addresses: &[Address]) -> Vec<Connection> {
    addresses.iter().map(Connection::new).collect()
}
