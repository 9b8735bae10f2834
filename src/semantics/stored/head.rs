//! The head of a stored response.

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "test-util"))]
use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

use super::compact::compact_copy;
use super::encoded::{EncodedFields, length_with_length, put_with_length};
use super::rare::{Extras, Rare};
use super::response::{MAX_INLINE_BODY, StoredResponse};
use super::store_observer::StoredContent;
use super::times::{Flags, PackedTimes, put_windows};
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::fields::hop_by_hop::ConnectionFields;
use crate::semantics::fields::{date, has_any};
use crate::semantics::ranges::PartialContent;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::validation::generated_tag;

/// A stored response without its content.
#[derive(Clone, Debug)]
pub struct StoredHead {
    /// The full key that the response is stored under.
    pub(super) identity: Arc<[u8]>,
    /// The status.
    pub(super) status: StatusCode,
    /// The header fields, with slots for `Age` and `Cache-Status` and without `Content-Length`.
    pub(super) fields: EncodedFields,
    /// The policy that it was stored with.
    pub(super) policy: StoragePolicy,
    /// The parts that the content consists of, if it is not whole.
    pub(super) parts: Option<PartialContent>,
    /// Whether `Cache-Status` came with the response, so that its field is no slot.
    pub(super) has_upstream_status: bool,
}

impl StoredHead {
    /// Creates the head of a response to be stored under the full key `identity`. The header fields
    /// are copied. `Date` is added if it is missing.
    #[must_use]
    pub fn new(
        identity: Arc<[u8]>,
        status: StatusCode,
        headers: &HeaderMap,
        policy: StoragePolicy,
    ) -> Self {
        let of_connection = ConnectionFields::from_headers(headers);
        let has_date = has_any(headers, &[DATE]);
        let has_upstream_status = has_any(headers, &[CACHE_STATUS])
            && headers
                .get_all(CACHE_STATUS)
                .iter()
                .any(|line| !line.is_empty());
        let keeps = |name: &HeaderName| {
            let is_of_connection = of_connection.as_ref().is_some_and(|it| it.contains(name));
            let is_written_anew = match *name {
                AGE | CONTENT_LENGTH => true,
                CACHE_STATUS => !has_upstream_status,
                _ => false,
            };
            !is_written_anew && !is_of_connection && !policy.withheld.contains(name)
        };
        let mut fields = EncodedFields::with_room_for(headers);
        // The slots come first, where a hit finds them.
        fields.push_slots(!has_upstream_status);
        for (name, value) in headers.iter().filter(|(name, _)| keeps(name)) {
            fields.push(name, value);
        }
        if !has_date || policy.withheld.contains(&DATE) {
            fields.push(&DATE, &date::format(policy.freshness.received.wall()));
        }
        Self {
            identity,
            status,
            fields,
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
    pub fn add_generated_tag(&mut self, content: &[u8]) {
        let has_field = |name: &HeaderName| self.fields.contains(name);
        if self.parts.is_none() && ![ETAG, LAST_MODIFIED].iter().any(has_field) {
            self.fields.push(&ETAG, &generated_tag(content));
        }
    }

    /// Makes the stored response like [`with_content`](Self::with_content), with a body that
    /// nothing counts.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn with_body(
        self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        self.with_content(&StoredContent::uncounted(body), trailers, cost)
    }

    /// Makes the stored response, once the body is complete. `cost` is the time that fetching it
    /// took.
    ///
    /// Small bodies and trailers are copied into a buffer of their own. A large one may be counted.
    #[must_use]
    pub fn with_content(
        mut self,
        content: &StoredContent,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        let length = content.bytes().len();
        if trailers.is_none() && self.status != StatusCode::NO_CONTENT {
            self.fields.push_length(length);
        }
        let freshness = &self.policy.freshness;
        let mut flags = Flags::new(freshness);
        flags.set(Flags::HAS_UPSTREAM_STATUS, self.has_upstream_status);
        let is_inline = length <= MAX_INLINE_BODY;
        let inline = if is_inline { length } else { 0 };
        let identity = length_with_length(self.identity.len());
        let whole = flags.window_bytes() + identity + self.fields.len() + inline;
        let mut block = Vec::with_capacity(whole);
        put_windows(&mut block, &freshness.stale);
        put_with_length(&mut block, &self.identity);
        self.fields.write_to(&mut block);
        block.extend_from_slice(&content.bytes()[..inline]);
        let extras = Extras {
            selected: self.policy.selected,
            trailers: trailers.map(|trailers| Box::new(compact_copy(&trailers))),
            groups: self.policy.groups,
            parts: self.parts.map(Box::new),
        };
        StoredResponse {
            block: block.into_boxed_slice(),
            times: PackedTimes::new(freshness),
            rare: Rare::new((!is_inline).then(|| content.clone()), extras),
            cost: u32::try_from(cost.as_micros()).unwrap_or(u32::MAX),
            status: self.status,
            flags,
        }
    }
}
