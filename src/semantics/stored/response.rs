//! A stored response.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::compact::append_compact;
use super::head::StoredHead;
use super::store_observer::{KeptBy, ObservedStore, StoredContent};
use super::weight::{MAP_ENTRY, OBSERVER, SHARED_BUFFER, map_weight};
use crate::semantics::fields;
use crate::semantics::freshness::Freshness;
use crate::semantics::groups::Group;
use crate::semantics::moment::Moment;
use crate::semantics::ranges::PartialContent;
use crate::semantics::validation;
use crate::semantics::vary::{VaryRule, VarySelection};

/// A response as a backend keeps it. It never changes.
///
/// Its header map holds no field of a connection. It has a `Date`, the `Content-Length` of the
/// body, and slots for `Age` and `Cache-Status`: answering from it inserts no field.
#[derive(Debug)]
pub struct StoredResponse {
    head: StoredHead,
    /// Counts the body after the response is dropped. It stands before the body: it is dropped
    /// while this handle of the body is still there.
    observed: Option<ObservedStore>,
    body: Bytes,
    trailers: Option<HeaderMap>,
    cost: Duration,
    /// The head of a 304, made by the first request that needs it; `None` without a validator. Its
    /// memory is counted from the start.
    not_modified: Option<OnceLock<HeaderMap>>,
}

impl StoredHead {
    /// Makes the stored response, once the body is complete. `cost` is the time that fetching it
    /// took.
    ///
    /// Trailers are copied into a buffer of their own.
    #[must_use]
    pub fn with_body(
        self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        let trailers = trailers.map(|trailers| {
            let mut compact = HeaderMap::with_capacity(trailers.keys_len());
            append_compact(&mut compact, &trailers, |_| true);
            compact
        });
        self.with_shared_body(body, trailers, cost)
    }

    /// Makes the stored response without copying: trailers and body share a buffer already.
    #[must_use]
    pub fn with_shared_body(
        mut self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        if trailers.is_some() {
            self.headers.remove(CONTENT_LENGTH);
        } else if self.status != StatusCode::NO_CONTENT && !is_length(&self.headers, body.len()) {
            self.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let not_modified = validation::has_validator(&self.headers).then(OnceLock::new);
        StoredResponse {
            head: self,
            observed: None,
            body,
            trailers,
            cost,
            not_modified,
        }
    }
}

/// Returns whether the fields give a content length, and just this one.
fn is_length(headers: &HeaderMap, length: usize) -> bool {
    let announced = fields::single(headers, &CONTENT_LENGTH).map(HeaderValue::as_bytes);
    announced.is_some_and(|text| {
        let has_one_form = text == b"0" || !text.starts_with(b"0");
        has_one_form && fields::decimal(text) == Some(length as u64)
    })
}

impl StoredResponse {
    /// Makes the body one that is counted.
    pub(crate) fn set_content(&mut self, content: StoredContent) {
        (self.body, self.observed) = content.into_parts();
    }

    /// Returns whether the body is counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.observed.is_some()
    }

    /// Notes that the response is not in a store of this process.
    pub(crate) fn note_kept_elsewhere(&self, kept_by: KeptBy) {
        if let Some(observed) = &self.observed {
            observed.observer().on_kept_elsewhere(kept_by);
        }
    }

    /// Returns the body, as the content of another response with the same bytes.
    pub(crate) fn content(&self) -> StoredContent {
        let (bytes, observed) = (self.body.clone(), self.observed.as_ref());
        match observed {
            Some(observed) => StoredContent::new(bytes, observed.observer().clone()),
            None => StoredContent::uncounted(bytes),
        }
    }

    /// Returns the response as one whose lifetime has just ended. `None` if it has ended before.
    ///
    /// The windows in which it may be used stale, or validated, begin now.
    #[must_use]
    pub(crate) fn made_stale(&self, now: Moment) -> Option<Self> {
        let age = self.freshness().age(now);
        if self
            .freshness()
            .lifetime
            .is_some_and(|lifetime| lifetime <= age)
        {
            return None;
        }
        let mut head = self.head.clone();
        head.policy.freshness.lifetime = Some(age);
        head.policy.freshness.immutable = false;
        let mut stale = head.with_shared_body(self.body.clone(), self.trailers.clone(), self.cost);
        stale.set_content(self.content());
        Some(stale)
    }

    /// Returns whether two lookups have found one entry: the responses are equal in all that is
    /// sent.
    #[must_use]
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.headers() == other.headers()
                && self.parts() == other.parts()
                && self.trailers == other.trailers
                && self.body == other.body)
    }

    /// Returns the full key that the response is stored under.
    #[must_use]
    pub(crate) fn identity(&self) -> &[u8] {
        &self.head.identity
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns the header fields, with the slots for `Age` and `Cache-Status`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the header fields of a 304 in its place (RFC 9110 §15.4.5), with the slots for `Age`
    /// and `Cache-Status`.
    #[must_use]
    pub fn not_modified(&self) -> HeaderMap {
        let make = || validation::not_modified_headers(self.headers());
        match &self.not_modified {
            Some(made) => made.get_or_init(make).clone(),
            None => make(),
        }
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the trailer fields, if there were any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Returns how long fetching the response took, from the call to the end of the body.
    #[must_use]
    pub fn cost(&self) -> Duration {
        self.cost
    }

    /// Returns the times: arrival, age, lifetime and the windows after it.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.head.policy.freshness
    }

    /// Returns the rule that selects the response, if it varies (RFC 9111 §4.1). A backend keeps
    /// the rule under the [primary](crate::key::CacheKey::primary) key.
    #[must_use]
    pub fn vary_rule(&self) -> Option<&Arc<VaryRule>> {
        self.vary_selection().map(VarySelection::rule)
    }

    /// Returns the values of the request fields that selected the response, if it varies.
    #[must_use]
    pub(crate) fn vary_selection(&self) -> Option<&VarySelection> {
        self.head.policy.selected.as_ref()
    }

    /// Returns the groups that the response is invalidated with.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.head.policy.groups
    }

    /// Returns the parts that are stored, if the response is not whole.
    #[must_use]
    pub fn parts(&self) -> Option<&PartialContent> {
        self.head.parts.as_ref()
    }

    /// Returns whether `Cache-Status` came with the response, so that its line is kept.
    #[must_use]
    pub(crate) fn has_upstream_status(&self) -> bool {
        self.head.has_upstream_status
    }

    /// Returns the bytes of memory that the response takes: key, fields, body, trailers and its own
    /// bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Its values are those of the stored head: none of their own.
        let not_modified = self.headers().keys_len() * (MAP_ENTRY + 6);
        size_of::<Self>()
            + self.identity().len()
            + map_weight(self.headers())
            + self.not_modified.as_ref().map_or(0, |_| not_modified)
            + self.trailers().map_or(0, map_weight)
            + self.vary_selection().map_or(0, VarySelection::weight)
            + size_of_val(self.groups())
            + self.parts().map_or(0, PartialContent::weight)
            + self.body.len()
            + SHARED_BUFFER * 3
            + self.observed.as_ref().map_or(0, |_| OBSERVER)
    }
}
