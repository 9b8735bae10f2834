//! A product whose price is its version, and the verdict on what a reader got.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{Method, Uri};
use serde::Deserialize;

use crate::client::{Connection, Reply};

/// A product that one task writes, one version after the other, so that its versions are ordered.
pub struct Product {
    id: String,
    pub path: Uri,
    issued: AtomicU64,
    promised: AtomicU64,
    /// Versions whose PUT got no 2xx. They can take effect at any time, or never.
    unconfirmed: Mutex<BTreeSet<u64>>,
}

/// The content of the response to a GET.
pub struct ReadResult {
    pub version: f64,
    pub is_hit: bool,
}

/// The verdict on a read.
pub enum ReadVerdict {
    /// The promised version or a later one.
    Current,
    /// Older than promised.
    Stale,
    /// Older than promised, but by an unconfirmed write that may have taken effect late.
    Undecided,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Data<'a>,
    source: &'a str,
}

#[derive(Deserialize)]
struct Data<'a> {
    id: &'a str,
    price: f64,
}

impl Product {
    /// Creates the product with version 0.
    pub async fn create(connection: &mut Connection) -> Result<Self, String> {
        let path = Uri::from_static("/products");
        let address = connection.address.clone();
        let reply = connection.send(Method::POST, &path, document(0)).await;
        let reply =
            reply.map_err(|error| format!("cannot create a product at {address}: {error}"))?;
        let envelope = envelope(&reply)?;
        let id = envelope.data.id.to_owned();
        let path = format!("{path}/{id}").parse();
        Ok(Self {
            path: path.map_err(|_| format!("the product id {id} cannot be part of a path"))?,
            id,
            issued: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            unconfirmed: Mutex::default(),
        })
    }

    /// Returns the version to write next.
    pub fn issue(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Records a confirmed write: every later request must see this version or a later one.
    pub fn promise(&self, version: u64) {
        self.promised.store(version, Ordering::SeqCst);
    }

    /// Records a write that was not confirmed.
    pub fn mark_unconfirmed(&self, version: u64) {
        self.lock_unconfirmed().insert(version);
    }

    /// The last version whose PUT was confirmed.
    pub fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }

    /// Parses the response to a GET of this product.
    pub fn parse(&self, reply: &Reply) -> Result<ReadResult, String> {
        let Envelope { data, source } = envelope(reply)?;
        if data.id != self.id {
            return Err(format!("requested {}, but got {}", self.id, data.id));
        }
        let issued = self.issued.load(Ordering::SeqCst);
        if data.price > issued as f64 {
            let version = data.price;
            return Err(format!(
                "{} has version {version}, but only {issued} was written",
                self.id
            ));
        }
        Ok(ReadResult {
            version: data.price,
            is_hit: source == "cache",
        })
    }

    /// Judges a read by the version that was promised before the request was sent.
    pub fn judge(&self, read: &ReadResult, promised: u64) -> ReadVerdict {
        if read.version >= promised as f64 {
            return ReadVerdict::Current;
        }
        match self.lock_unconfirmed().contains(&(read.version as u64)) {
            true => ReadVerdict::Undecided,
            false => ReadVerdict::Stale,
        }
    }

    fn lock_unconfirmed(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.unconfirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of a POST or PUT.
pub fn document(version: u64) -> String {
    format!(r#"{{"name":"canary","price":{version}}}"#)
}

fn envelope(reply: &Reply) -> Result<Envelope<'_>, String> {
    serde_json::from_slice(&reply.body)
        .map_err(|error| format!("the response is not a product: {error}"))
}
