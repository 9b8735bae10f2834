//! The bytes of a stored body, counted while clients read them after it was removed.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use super::accounts::{Budget, COUNTED_FROM};
use crate::semantics::stored::{KeptBy, StoreObserver, StoredContent};

/// Counts the bytes of a body that is about to be stored, for as long as clients read them after
/// the backend has removed it. Small bodies are not counted.
pub(crate) fn count_stored(budget: &Arc<Budget>, data: Bytes) -> StoredContent {
    match (data.len() as u64) < COUNTED_FROM {
        true => StoredContent::uncounted(data),
        false => StoredBytes::count(budget.clone(), data),
    }
}

/// The bytes of a body, and how many stored responses have it as their content: two, while one
/// that a 304 has confirmed replaces the other.
///
/// When the last of these is dropped, the bytes are counted until the last reader has dropped them,
/// too. A hit notices nothing of it.
#[derive(Debug)]
struct StoredBytes {
    budget: Arc<Budget>,
    length: u64,
    /// The stored responses at this moment.
    responses: AtomicUsize,
    /// The stored responses so far.
    created: AtomicUsize,
    /// Set before the first response is dropped, where that is not in a store of this process.
    kept_by: OnceLock<KeptBy>,
}

impl StoredBytes {
    /// The body in a buffer that tells when its last handle is dropped.
    fn count(budget: Arc<Budget>, data: Bytes) -> StoredContent {
        let counted = Arc::new(Self {
            budget,
            length: data.len() as u64,
            responses: AtomicUsize::new(0),
            created: AtomicUsize::new(0),
            kept_by: OnceLock::new(),
        });
        let observer = counted.clone();
        let data = Bytes::from_owner(Owner { data, counted });
        StoredContent::new(data, observer)
    }

    /// The account of the bytes while no stored response has them.
    fn account(&self) -> Option<&AtomicU64> {
        match self.kept_by.get() {
            None => Some(&self.budget.lingering),
            Some(KeptBy::OtherProcess) => Some(&self.budget.copied),
            Some(KeptBy::Readers) => None,
        }
    }

    fn add(&self) {
        if let Some(account) = self.account() {
            account.fetch_add(self.length, Ordering::Relaxed);
        }
    }

    fn subtract(&self) {
        if let Some(account) = self.account() {
            account.fetch_sub(self.length, Ordering::Relaxed);
        }
    }
}

impl StoreObserver for StoredBytes {
    fn on_create(&self) {
        let is_first = self.responses.fetch_add(1, Ordering::AcqRel) == 0;
        let had_others = self.created.fetch_add(1, Ordering::AcqRel) > 0;
        if is_first && had_others {
            self.subtract();
        }
    }

    fn on_kept_elsewhere(&self, kept_by: KeptBy) {
        if self.created.load(Ordering::Acquire) == 1 {
            let _ = self.kept_by.set(kept_by);
        }
    }

    fn on_drop(&self) {
        if self.responses.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.add();
        }
    }
}

/// The owner of the bytes, which the last handle drops. A stored response has a handle itself.
struct Owner {
    data: Bytes,
    counted: Arc<StoredBytes>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.counted.created.load(Ordering::Acquire) > 0 {
            self.counted.subtract();
        }
    }
}
