//! Readers and writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Address, Connection};
use crate::options::Options;
use crate::product::{Judgement, Product, document};
use crate::screen::Screen;
use crate::tally::Tally;

/// Of one product in a row, through one instance after the other: the second comes while what the first made readers
/// fetch is under way.
const WRITES_IN_A_ROW: usize = 4;

/// How often a writer that is ahead of the readers looks again.
const PACE: Duration = Duration::from_millis(1);

/// After an error: whoever is down is not asked again at once.
const PAUSE: Duration = Duration::from_millis(20);

const LAST_REQUESTS: Duration = Duration::from_secs(5);

pub struct Load {
    pub reads: u64,
    pub writes: u64,
    pub tally: Tally,
    pub screen: Screen,
    addresses: Vec<Address>,
    products: Vec<Product>,
    /// The product written last: the likeliest to be read stale.
    latest: AtomicUsize,
}

impl Load {
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
            tally: Tally::default(),
            screen: Screen::default(),
            addresses,
            products,
            latest: AtomicUsize::new(0),
        })
    }

    /// Until both targets are reached; what is still under way then, or when this is dropped, is given up.
    pub async fn run(self: Arc<Self>, readers: u16, writers: u16) {
        let mut tasks = JoinSet::new();
        for number in 0..usize::from(readers) {
            tasks.spawn(self.clone().keep_reading(number));
        }
        for number in 0..usize::from(writers) {
            tasks.spawn(self.clone().keep_writing(number, writers.into()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no reader or writer panics");
        }
    }

    fn read_enough(&self) -> bool {
        self.tally.reads.get() >= self.reads
    }

    fn written_enough(&self) -> bool {
        self.tally.writes.get() >= self.writes
    }

    /// Whether a larger part of the writes is done than of the reads.
    fn is_ahead(&self) -> bool {
        let (reads, writes) = (self.tally.reads.get(), self.tally.writes.get());
        u128::from(writes) * u128::from(self.reads) > u128::from(reads) * u128::from(self.writes)
    }

    async fn keep_reading(self: Arc<Self>, reader: usize) {
        let mut connections = connect(&self.addresses);
        let (products, instances) = (self.products.len(), connections.len());
        let mut turn = reader;
        while !(self.read_enough() && self.written_enough()) {
            // Every other read is of the product written last; the others go through them all, a round per instance.
            let number = match turn % 2 {
                0 => self.latest.load(Ordering::Relaxed),
                _ => turn / 2 % products,
            };
            let instance = (turn / 2 / products + turn / 2 % products + reader) % instances;
            let (product, connection) = (&self.products[number], &mut connections[instance]);
            if let Err(error) = self.read(product, connection).await {
                self.screen.error(error);
                sleep(PAUSE).await;
            }
            turn += 1;
        }
    }

    async fn read(&self, product: &Product, connection: &mut Connection) -> Result<(), String> {
        let promised = product.promised();
        let started = Instant::now();
        let answer = connection.ask(Method::GET, &product.path, "").await;
        let answer = answer.map_err(|trouble| {
            self.tally.errors.add(&trouble);
            format!("GET {}{}: {trouble}", connection.address, product.path)
        })?;
        self.tally.read_times.add(started.elapsed());
        let seen = product.read(&answer).inspect_err(|_| {
            self.tally.errors.wrong.add();
        })?;
        if seen.hit {
            self.tally.hits.add();
        }
        match product.judge(&seen, promised) {
            Judgement::Current => {}
            Judgement::Undecided => _ = self.tally.undecided.add(),
            Judgement::Stale => {
                self.tally.stale.add();
                let (address, path, got) = (&connection.address, &product.path, seen.version);
                let (status, age) = (answer.field("cache-status"), answer.field("age"));
                self.screen.stale(format!(
                    "{address}{path}, got {got}, promised {promised}, cache-status: {status}, age: {age}"
                ));
            }
        }
        self.tally.reads.add();
        Ok(())
    }

    async fn keep_writing(self: Arc<Self>, writer: usize, writers: usize) {
        let mut connections = connect(&self.addresses);
        let instances = connections.len() as u64;
        for number in (writer..self.products.len()).step_by(writers).cycle() {
            while self.is_ahead() && !self.written_enough() {
                sleep(PACE).await;
            }
            for _ in 0..WRITES_IN_A_ROW {
                if self.written_enough() {
                    return;
                }
                let version = self.products[number].issue();
                let connection = &mut connections[(version % instances) as usize];
                if let Err(error) = self.write(number, version, connection).await {
                    self.screen.error(error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn write(&self, number: usize, version: u64, to: &mut Connection) -> Result<(), String> {
        let product = &self.products[number];
        self.latest.store(number, Ordering::Relaxed);
        let started = Instant::now();
        let answer = to.ask(Method::PUT, &product.path, document(version)).await;
        answer.map_err(|trouble| {
            product.leave_unsettled(version);
            self.tally.errors.add(&trouble);
            format!("PUT {}{}: {trouble}", to.address, product.path)
        })?;
        product.promise(version);
        self.tally.write_times.add(started.elapsed());
        self.tally.writes.add();
        Ok(())
    }

    /// Others' instances are left as they were found, as far as they let us.
    pub async fn remove_products(&self) {
        let removed = async {
            let mut connections = connect(&self.addresses);
            for product in &self.products {
                for connection in &mut connections {
                    let answer = connection.ask(Method::DELETE, &product.path, "").await;
                    if answer.is_ok() {
                        break;
                    }
                }
            }
        };
        let _ = timeout(LAST_REQUESTS, removed).await;
    }
}

fn connect(addresses: &[Address]) -> Vec<Connection> {
    addresses.iter().map(Connection::to).collect()
}
