//! One key to look up, and the callers that wait for it.
//!
//! Knows no batches. Start with [`PendingLookup`].

use tokio::sync::oneshot;

use super::reply::LookupReply;
use crate::backend::redis::connection::SendError;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

pub(crate) type BatchLookupResult = Result<LookupReply, SendError>;

type Caller = oneshot::Sender<BatchLookupResult>;

/// A key to look up, and the callers that wait for it.
#[derive(Debug)]
pub(crate) struct PendingLookup {
    pub(crate) key: CacheKey,
    /// A variant of the key, to be looked up in the same step.
    pub(crate) variant: Option<CacheKey>,
    pub(crate) now: Moment,
    first: Caller,
    /// Apart from the first, because most keys have one caller.
    others: Vec<Caller>,
}

impl PendingLookup {
    /// Creates the lookup of one caller. Returns where its result arrives.
    pub(super) fn new(
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> (Self, oneshot::Receiver<BatchLookupResult>) {
        let (first, result) = oneshot::channel();
        let pending = Self {
            key: *key,
            variant: variant.copied(),
            now,
            first,
            others: Vec::new(),
        };
        (pending, result)
    }

    /// Adds a caller. Returns where the result arrives.
    pub(super) fn add_caller(&mut self) -> oneshot::Receiver<BatchLookupResult> {
        let (caller, result) = oneshot::channel();
        self.others.push(caller);
        result
    }

    /// The number of values that a reply has for it: lease, entry, the variant's entry.
    pub(crate) fn values(&self) -> usize {
        2 + usize::from(self.variant.is_some())
    }

    /// Sends the result to all callers, in the order in which they came: what the first one begins,
    /// as the transfer of a whole body, the others can join.
    pub(crate) fn complete(self, result: BatchLookupResult) {
        if self.others.is_empty() {
            let _ = self.first.send(result);
            return;
        }
        let _ = self.first.send(result.clone());
        for caller in self.others {
            let _ = caller.send(result.clone());
        }
    }

    /// Returns whether a caller still waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.first.is_closed() || self.others.iter().any(|caller| !caller.is_closed())
    }

    #[cfg(test)]
    pub(super) fn callers(&self) -> usize {
        1 + self.others.len()
    }
}
