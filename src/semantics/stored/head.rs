//! The head of a stored response.

use std::sync::Arc;

use http::header::{AGE, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::compact::append_compact;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::fields::date;
use crate::semantics::fields::hop_by_hop::{self, ConnectionFields};
use crate::semantics::ranges::PartialContent;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::validation::generated_tag;

/// The fields that every stored response has, or nearly every one.
const COMPLETED: [HeaderName; 4] = [AGE, CACHE_STATUS, CONTENT_LENGTH, DATE];

/// A stored response without its content.
#[derive(Clone, Debug)]
pub struct StoredHead {
    /// The full key that the response is stored under.
    pub(super) identity: Arc<[u8]>,
    /// The status.
    pub(super) status: StatusCode,
    /// The header fields, with slots for `Age` and `Cache-Status`.
    pub(super) headers: HeaderMap,
    /// The policy that it was stored with.
    pub(super) policy: StoragePolicy,
    /// The parts that the content consists of, if it is not whole.
    pub(super) parts: Option<PartialContent>,
    /// Whether `Cache-Status` came with the response, so that its field is no slot.
    pub(super) has_upstream_status: bool,
}

impl StoredHead {
    /// Creates the head of a response to be stored under the full key `identity`. The header fields
    /// are copied into a buffer of their own.
    #[must_use]
    pub fn new(
        identity: Arc<[u8]>,
        status: StatusCode,
        headers: &HeaderMap,
        policy: StoragePolicy,
    ) -> Self {
        let of_connection = ConnectionFields::from_headers(headers);
        let keeps = |name: &HeaderName| {
            let is_of_connection = of_connection.as_ref().is_some_and(|it| it.contains(name));
            name != AGE && !is_of_connection && !policy.withheld.contains(name)
        };
        let is_missing = |name: &&HeaderName| !headers.contains_key(*name);
        let missing = COMPLETED.iter().filter(is_missing).count();
        let mut own = HeaderMap::with_capacity(headers.keys_len() + missing);
        // The slots come first, where a hit finds them.
        let slots = [AGE, CACHE_STATUS];
        let is_slot = |name: &HeaderName| *name == AGE || !headers.contains_key(name);
        for name in slots.into_iter().filter(is_slot) {
            own.insert(name, HeaderValue::from_static(""));
        }
        append_compact(&mut own, headers, keeps);
        Self::completed(identity, status, own, policy)
    }

    /// Creates the head like [`new`](Self::new), without a copy of the header fields: they have a
    /// buffer of their own already.
    #[must_use]
    pub fn from_owned(
        identity: Arc<[u8]>,
        status: StatusCode,
        mut headers: HeaderMap,
        policy: StoragePolicy,
    ) -> Self {
        hop_by_hop::remove(&mut headers);
        for name in &policy.withheld {
            headers.remove(name);
        }
        headers.insert(AGE, HeaderValue::from_static(""));
        Self::completed(identity, status, headers, policy)
    }

    /// Creates the head of fields that may be stored. Adds `Date` and the slots where they are
    /// missing.
    fn completed(
        identity: Arc<[u8]>,
        status: StatusCode,
        mut headers: HeaderMap,
        policy: StoragePolicy,
    ) -> Self {
        headers
            .entry(DATE)
            .or_insert_with(|| date::format(policy.freshness.received.wall()));
        let slot = || HeaderValue::from_static("");
        headers.insert(AGE, slot());
        let lines = headers.get_all(CACHE_STATUS);
        let has_upstream_status = lines.iter().any(|line| !line.is_empty());
        if !has_upstream_status {
            headers.insert(CACHE_STATUS, slot());
        }
        Self {
            identity,
            status,
            headers,
            policy,
            parts: None,
            has_upstream_status,
        }
    }

    /// Makes it the head of partial content, whose parts follow each other in the body (RFC 9111
    /// §3.3).
    #[must_use]
    pub fn with_parts(mut self, parts: PartialContent) -> Self {
        self.parts = Some(parts);
        self
    }

    /// Adds an entity tag computed from the content, if that is whole and came without a validator.
    #[must_use]
    pub fn with_generated_tag(mut self, content: &[u8]) -> Self {
        let has_field = |name: &HeaderName| self.headers.contains_key(name);
        if self.parts.is_none() && ![ETAG, LAST_MODIFIED].iter().any(has_field) {
            self.headers.insert(ETAG, generated_tag(content));
        }
        self
    }
}
