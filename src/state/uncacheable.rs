//! Keys whose responses may not be shared, by kind of request ("hit-for-miss"): requests of that
//! kind do not wait for each other.
//!
//! A refusal is remembered for the kind of request that got it, never for all: what a client with
//! cookies gets says nothing of what others get. One refusal may be due to any field of its
//! request, so that it only makes the key suspected. The second one in a row counts.

use std::time::Duration;

use crate::flight::{Audience, ExpiringSet};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

/// Keys remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableKeys {
    keys: ExpiringSet,
    /// Keys of which a stored response is known to be reusable, but whose last refresh was
    /// refused: the stored one is not served stale, and the next requests call, still together.
    doubted: ExpiringSet,
    /// Keys whose last response was refused.
    suspected: ExpiringSet,
}

impl UncacheableKeys {
    /// Notes a refusal. Returns whether it is the second one in a row for this kind of request.
    ///
    /// A suspicion lasts twice as long as a memory, so that a key whose responses are never to be
    /// shared is found out by one refusal when its memory has ended.
    pub(crate) fn note_refusal(
        &self,
        key: &CacheKey,
        kind: RequestKind,
        now: Moment,
        ttl: Duration,
    ) -> bool {
        let audience = Audience::Kind(kind);
        let is_second = self.suspected.is_remembered(key, audience, now);
        let ttl = ttl.saturating_mul(2);
        self.suspected.remember(key, audience, now, ttl);
        is_second
    }

    /// Remembers a key for a kind of request, for the time `ttl`.
    pub(crate) fn remember(&self, key: &CacheKey, kind: RequestKind, now: Moment, ttl: Duration) {
        self.keys.remember(key, Audience::Kind(kind), now, ttl);
    }

    /// Whether a request of this kind gains nothing from waiting for others.
    pub(crate) fn contains(&self, key: &CacheKey, kind: RequestKind, now: Moment) -> bool {
        self.keys.is_remembered(key, Audience::Kind(kind), now)
    }

    /// Remembers that a refresh for this kind of request was refused.
    pub(crate) fn doubt(&self, key: &CacheKey, kind: RequestKind, now: Moment, ttl: Duration) {
        self.doubted.remember(key, Audience::Kind(kind), now, ttl);
    }

    /// Whether a refresh for a request of this kind would be refused, as far as is known.
    pub(crate) fn refuses_refresh(&self, key: &CacheKey, kind: RequestKind, now: Moment) -> bool {
        self.contains(key, kind, now) || self.doubted.is_remembered(key, Audience::Kind(kind), now)
    }

    /// Ends a row of refusals: a response to a request of this kind is stored.
    pub(crate) fn forget_refusal(&self, key: &CacheKey, kind: RequestKind) {
        self.suspected.forget(key, Audience::Kind(kind));
    }

    /// Forgets a key: a response to a request of this kind can be stored. `was_stored` tells
    /// whether one was known before, without which there is no doubt to be forgotten.
    pub(crate) fn forget(&self, key: &CacheKey, kind: RequestKind, was_stored: bool) {
        self.keys.forget(key, Audience::Kind(kind));
        if was_stored {
            self.doubted.forget(key, Audience::Kind(kind));
        }
    }
}
