//! The content of a stored response, and an observer that counts its bytes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// An observer of the stored responses that share the bytes of one body, which accounts for the
/// memory.
pub trait StoreObserver: fmt::Debug + Send + Sync + 'static {
    /// A stored response has been made of the bytes.
    fn on_create(&self);

    /// The backend has stored the response outside of this process, or has not stored it.
    fn on_kept_elsewhere(&self, kept_by: KeptBy);

    /// A stored response that was made of the bytes is dropped.
    fn on_drop(&self);
}

/// What keeps the bytes of a response that is not in a store of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// A backend outside of this process: the bytes here are a copy.
    OtherProcess,
    /// Readers of the fill, which count them.
    Readers,
}

/// The bytes of a body, with the observer that counts them.
#[derive(Clone, Debug)]
pub struct StoredContent {
    bytes: Bytes,
    observer: Option<Arc<dyn StoreObserver>>,
}

impl StoredContent {
    /// Creates content that is counted.
    #[must_use]
    pub fn new(bytes: Bytes, observer: Arc<dyn StoreObserver>) -> Self {
        let observer = Some(observer);
        Self { bytes, observer }
    }

    /// Creates content that is not counted.
    #[must_use]
    pub fn uncounted(bytes: Bytes) -> Self {
        let observer = None;
        Self { bytes, observer }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes alone.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the bytes and their observer.
    pub(super) fn into_parts(self) -> (Bytes, Option<ObservedStore>) {
        (self.bytes, self.observer.map(ObservedStore::new))
    }
}

/// The share of one stored response in its observer: dropped with the response.
#[derive(Debug)]
pub(super) struct ObservedStore(Arc<dyn StoreObserver>);

impl ObservedStore {
    fn new(observer: Arc<dyn StoreObserver>) -> Self {
        observer.on_create();
        Self(observer)
    }

    pub(super) fn observer(&self) -> &Arc<dyn StoreObserver> {
        &self.0
    }
}

impl Drop for ObservedStore {
    fn drop(&mut self) {
        self.0.on_drop();
    }
}
