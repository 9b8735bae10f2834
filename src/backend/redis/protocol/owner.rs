//! The owner of stored responses: which cache, by its configuration, has stored them.
//!
//! The names of entries depend on it, those of tokens do not: in one namespace, owners never find
//! each other's responses, and their invalidations reach all of them. Start with [`Owner`].

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::key::CacheKey;

/// The longest part of a description that is recorded in Redis and logged, in characters.
const MAX_RECORDED: usize = 1000;

/// A description of a cache's configuration, and its digest. The empty one is the default.
#[derive(Clone)]
pub(crate) struct Owner {
    description: Arc<str>,
    digest: u128,
}

impl Owner {
    pub(crate) fn new(description: &str) -> Self {
        Self {
            description: description.into(),
            digest: match description {
                "" => 0,
                _ => digest(description),
            },
        }
    }

    /// Returns what names the entry of a key.
    pub(crate) const fn key_of(&self, key: &CacheKey) -> CacheKey {
        key.with_selector(key.selector() ^ self.digest)
    }

    /// Returns the description as it is recorded, `None` for the default.
    pub(crate) fn record(&self) -> Option<Arc<str>> {
        let recorded: String = self.description.chars().take(MAX_RECORDED).collect();
        (!recorded.is_empty()).then(|| recorded.into())
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt(f)
    }
}

/// Returns a digest of a description, equal on all machines.
pub(crate) fn digest(description: &str) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(description.as_bytes());
    hasher.finish128().as_u128()
}
