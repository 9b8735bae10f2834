//! What is read and written, and what may be read of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{Method, Uri};
use serde::Deserialize;

use crate::client::{Answer, Connection};

/// Its price is its version. Only one task writes it, one version after the other: versions have one order.
pub struct Product {
    id: String,
    pub path: Uri,
    issued: AtomicU64,
    promised: AtomicU64,
    /// Versions whose PUT was not answered with 2xx: they may take effect at any time, or never.
    unsettled: Mutex<BTreeSet<u64>>,
}

/// What a GET answered.
pub struct Seen {
    pub version: f64,
    pub hit: bool,
}

pub enum Judgement {
    Current,
    Stale,
    /// Older, but of a write that may have come late
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
    /// Of version 0.
    pub async fn create(connection: &mut Connection) -> Result<Self, String> {
        let path = Uri::from_static("/products");
        let address = connection.address.clone();
        let answer = connection.ask(Method::POST, &path, document(0)).await;
        let answer =
            answer.map_err(|error| format!("cannot make a product at {address}: {error}"))?;
        let envelope = envelope(&answer)?;
        let id = envelope.data.id.to_owned();
        let path = format!("{path}/{id}").parse();
        Ok(Self {
            path: path.map_err(|_| format!("{id} is no part of a path"))?,
            id,
            issued: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            unsettled: Mutex::default(),
        })
    }

    /// The version to write next.
    pub fn issue(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whoever asks from now on is to see this version or a later one.
    pub fn promise(&self, version: u64) {
        self.promised.store(version, Ordering::SeqCst);
    }

    pub fn leave_unsettled(&self, version: u64) {
        self.lock_unsettled().insert(version);
    }

    pub fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }

    /// What an answer to a GET of it says.
    pub fn read(&self, answer: &Answer) -> Result<Seen, String> {
        let Envelope { data, source } = envelope(answer)?;
        if data.id != self.id {
            return Err(format!("asked for {}, got {}", self.id, data.id));
        }
        let issued = self.issued.load(Ordering::SeqCst);
        if data.price > issued as f64 {
            let version = data.price;
            return Err(format!("{} never was {version}, only {issued}", self.id));
        }
        Ok(Seen {
            version: data.price,
            hit: source == "cache",
        })
    }

    /// `promised` is what was promised before the request was sent.
    pub fn judge(&self, seen: &Seen, promised: u64) -> Judgement {
        if seen.version >= promised as f64 {
            return Judgement::Current;
        }
        match self.lock_unsettled().contains(&(seen.version as u64)) {
            true => Judgement::Undecided,
            false => Judgement::Stale,
        }
    }

    fn lock_unsettled(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A product as a client wants it.
pub fn document(version: u64) -> String {
    format!(r#"{{"name":"canary","price":{version}}}"#)
}

fn envelope(answer: &Answer) -> Result<Envelope<'_>, String> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("an answer that is no product: {error}"))
}
