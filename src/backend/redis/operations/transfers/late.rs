//! Bodies that follow their entries, because a write-through does not wait for them.
//!
//! Of each entry the latest one waits: one whose entry is replaced by this instance leaves the
//! queue at once, and gives its place to its successor. One whose entry is gone for another reason
//! is found out when its turn comes, before it is sent. One of them at a time waits for the
//! connection, so that a fill that wants to store waits for no more than that one.
//!
//! Until Redis has a late body, this instance reads it from memory.
//!
//! Start with [`LateBodies::add`].

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

use crate::backend::codec::matches_body;
use crate::backend::redis::connection::LuaScript;
use crate::backend::redis::protocol::entry::StoredEntry;
use crate::semantics::stored::DetachedBody;

/// The most entries whose bodies wait or are being sent.
const MAX_LATE: usize = 32;

/// A body that is stored after its entry.
#[derive(Clone, Debug)]
pub(crate) struct LateBody {
    /// The script `ATTACH_BODY`.
    pub(crate) script: LuaScript,
    pub(crate) entry: StoredEntry,
    /// The key that it is to have.
    pub(crate) location: String,
    /// The key that it has until then.
    pub(crate) temporary: String,
    pub(crate) bytes: Bytes,
    /// The arguments of the script.
    pub(crate) arguments: Vec<Bytes>,
}

/// The late bodies of one instance. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct LateBodies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    /// Has one permit, for the body that waits for the connection.
    next: Semaphore,
    /// The latest body of each entry, by its location.
    latest: Mutex<HashMap<String, Latest>>,
}

#[derive(Debug)]
struct Latest {
    bytes: Bytes,
    /// Dropped when another body takes its place.
    _successor: oneshot::Sender<()>,
    place: Arc<OwnedSemaphorePermit>,
}

impl LateBodies {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(MAX_LATE)),
            next: Semaphore::new(1),
            latest: Mutex::default(),
        }))
    }

    /// Adds the body of an entry that was stored just now; `None` if those of too many entries are
    /// late.
    pub(super) fn add(&self, body: &LateBody) -> Option<Late> {
        let mut latest = self.0.latest();
        let place = match latest.get(&body.location) {
            Some(earlier) => earlier.place.clone(),
            None => Arc::new(self.0.places.clone().try_acquire_owned().ok()?),
        };
        let (_successor, successor) = oneshot::channel();
        let added = Latest {
            bytes: body.bytes.clone(),
            _successor,
            place: place.clone(),
        };
        latest.insert(body.location.clone(), added);
        Some(Late {
            bodies: self.0.clone(),
            location: body.location.clone(),
            successor,
            _place: place,
        })
    }

    /// Returns whole chunks of a body that Redis does not have yet.
    pub(super) fn chunks_of(&self, body: &DetachedBody, chunks: &Range<u64>) -> Option<Bytes> {
        let bytes = self.0.latest().get(&*body.location)?.bytes.clone();
        if bytes.len() as u64 != body.length {
            return None;
        }
        let found = bytes.slice(chunks.start as usize..chunks.end as usize);
        matches_body(body, chunks.start, &found).then_some(found)
    }

    /// Returns the permission to be the next that waits for the connection, if there is no other.
    pub(super) fn try_next(&self) -> Option<SemaphorePermit<'_>> {
        self.0.next.try_acquire().ok()
    }

    /// Waits for the permission to be the next that waits for the connection.
    pub(super) async fn next(&self) -> Option<SemaphorePermit<'_>> {
        self.0.next.acquire().await.ok()
    }

    /// Waits until there is none.
    pub(super) async fn drain(&self) {
        let _ = self.0.places.acquire_many(MAX_LATE as u32).await;
    }
}

impl Inner {
    fn latest(&self) -> MutexGuard<'_, HashMap<String, Latest>> {
        // No panic can leave the map half changed.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that waits or is being sent, until it is dropped.
pub(super) struct Late {
    bodies: Arc<Inner>,
    location: String,
    successor: oneshot::Receiver<()>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Late {
    /// Waits for something, or until another body takes the place of this one: then `None`.
    pub(super) async fn unless_replaced<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        let waited = poll_fn(|cx| match Pin::new(&mut self.successor).poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => wait.as_mut().poll(cx).map(Some),
        });
        waited.await
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let mut latest = self.bodies.latest();
        let is_latest = self.successor.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        if is_latest {
            latest.remove(&self.location);
        }
    }
}
