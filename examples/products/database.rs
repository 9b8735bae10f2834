//! The products in SQLite. Its blocking calls run on tokio's blocking threads.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension};
use serde::Serialize;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::input::Draft;
use crate::product::Product;

/// The longest wait of a write for another instance that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS products (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    price REAL NOT NULL,
    last_updated TEXT NOT NULL
) STRICT";

/// Any error of SQLite or of a blocking task. A client cannot cause one.
pub type DatabaseError = Box<dyn Error + Send + Sync>;

/// A handle to the database. Clones share its connections and counters.
#[derive(Clone)]
pub struct Database {
    /// Another connection than the writer, so that reads continue while a write waits for another
    /// instance.
    reader: Arc<Mutex<Connection>>,
    writer: Arc<Mutex<Connection>>,
    delay: Duration,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    reads: AtomicU64,
    writes: AtomicU64,
}

/// The number of calls since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CallCounts {
    pub reads: u64,
    pub writes: u64,
}

impl Database {
    /// Opens the file at `path`, or a database in memory for `:memory:`. Every call waits for
    /// `delay` first.
    pub fn open(path: &str, delay: Duration) -> rusqlite::Result<Self> {
        let writer = connect(path)?;
        let in_memory = writer.path().is_none_or(str::is_empty);
        let writer = Arc::new(Mutex::new(writer));
        let reader = match in_memory {
            // A second connection would open another, empty database.
            true => writer.clone(),
            false => Arc::new(Mutex::new(connect(path)?)),
        };
        Ok(Self {
            reader,
            writer,
            delay,
            calls: Arc::default(),
        })
    }

    pub fn calls(&self) -> CallCounts {
        CallCounts {
            reads: self.calls.reads.load(Ordering::Relaxed),
            writes: self.calls.writes.load(Ordering::Relaxed),
        }
    }

    /// Returns all products, the oldest first.
    pub async fn list(&self) -> Result<Vec<Product>, DatabaseError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached("SELECT * FROM products ORDER BY rowid")?;
            Ok(select
                .query_map((), Product::from_row)?
                .collect::<Result<_, _>>()?)
        })
        .await
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<Product>, DatabaseError> {
        self.read(move |connection| {
            let mut select = connection.prepare_cached("SELECT * FROM products WHERE id = ?1")?;
            Ok(select
                .query_row([id.to_string()], Product::from_row)
                .optional()?)
        })
        .await
    }

    pub async fn insert(&self, draft: Draft) -> Result<Product, DatabaseError> {
        self.write(move |connection| {
            let product = Product::now(Uuid::new_v4(), draft)?;
            let insert = "INSERT INTO products VALUES (?1, ?2, ?3, ?4)";
            product.store(connection, insert)?;
            Ok(product)
        })
        .await
    }

    /// Replaces a product; `None` if it does not exist.
    pub async fn update(&self, id: Uuid, draft: Draft) -> Result<Option<Product>, DatabaseError> {
        self.write(move |connection| {
            let product = Product::now(id, draft)?;
            let update =
                "UPDATE products SET name = ?2, price = ?3, last_updated = ?4 WHERE id = ?1";
            let changed = product.store(connection, update)?;
            Ok((changed > 0).then_some(product))
        })
        .await
    }

    /// Deletes a product; `false` if it does not exist.
    pub async fn delete(&self, id: Uuid) -> Result<bool, DatabaseError> {
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM products WHERE id = ?1")?;
            Ok(delete.execute([id.to_string()])? > 0)
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.calls.reads.fetch_add(1, Ordering::Relaxed);
        self.call(&self.reader, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.calls.writes.fetch_add(1, Ordering::Relaxed);
        self.call(&self.writer, work).await
    }

    async fn call<T: Send + 'static>(
        &self,
        connection: &Arc<Mutex<Connection>>,
        work: impl FnOnce(&Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let connection = connection.clone();
        // Every call is one statement, which is atomic: a panic leaves nothing half done, so a
        // poisoned lock can be ignored.
        spawn_blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner)))
            .await?
    }
}

/// Opens a connection. SQLite itself waits only for other writers, not for instances that create
/// or convert the file at the same moment.
fn connect(path: &str) -> rusqlite::Result<Connection> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match try_connect(path) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

fn try_connect(path: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.execute(SCHEMA, ())?;
    Ok(connection)
}
