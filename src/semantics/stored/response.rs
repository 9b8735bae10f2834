//! A stored response.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::compact::compact;
use super::drop_observer::DropObserver;
use super::head::StoredHead;
use super::weight::{MAP_ENTRY, SHARED_BUFFER, map_weight};
use crate::semantics::freshness::Freshness;
use crate::semantics::groups::Group;
use crate::semantics::ranges::PartialContent;
use crate::semantics::validation;
use crate::semantics::vary::{VaryRule, VarySelection};

/// A response as a backend keeps it: never changed once made.
///
/// Its header map holds no field of a connection, has a `Date`, a `Content-Length` that is the body's, and ready slots
/// for `Age` and `Cache-Status`, so that answering from it inserts nothing.
#[derive(Debug)]
pub struct StoredResponse {
    head: StoredHead,
    body: Bytes,
    trailers: Option<HeaderMap>,
    cost: Duration,
    /// Made when it is first wanted, which takes a validator; room for it is counted from the start.
    not_modified: Option<OnceLock<HeaderMap>>,
    drop_observer: Option<Arc<dyn DropObserver>>,
}

impl StoredHead {
    /// The response, once its body is whole; `cost` is the time it took to get it.
    #[must_use]
    pub fn with_body(
        self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        let mut response = self.with_shared_body(body, trailers, cost);
        response.head.headers = compact(&response.head.headers);
        response.trailers = response.trailers.as_ref().map(compact);
        response
    }

    /// The same where fields and body are slices of one buffer already, which is kept as it is.
    #[must_use]
    pub fn with_shared_body(
        mut self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        if trailers.is_some() {
            self.headers.remove(CONTENT_LENGTH);
        } else if self.status != StatusCode::NO_CONTENT {
            self.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let not_modified = validation::has_validator(&self.headers).then(OnceLock::new);
        StoredResponse {
            head: self,
            body,
            trailers,
            cost,
            not_modified,
            drop_observer: None,
        }
    }
}

impl StoredResponse {
    /// The same with somebody who is told when it is dropped.
    #[must_use]
    pub(crate) fn with_drop_observer(mut self, drop_observer: Arc<dyn DropObserver>) -> Self {
        self.drop_observer = Some(drop_observer);
        self
    }

    /// The full key it was stored under.
    #[must_use]
    pub(crate) fn identity(&self) -> &[u8] {
        &self.head.identity
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Its header fields, with the slots described above.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The header fields of a 304 in its place (RFC 9110 §15.4.5), with the same slots.
    #[must_use]
    pub fn not_modified(&self) -> HeaderMap {
        let make = || validation::not_modified_headers(self.headers());
        match &self.not_modified {
            Some(made) => made.get_or_init(make).clone(),
            None => make(),
        }
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its trailer fields, if it had any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The time it took to get it, from the call to the body's end.
    #[must_use]
    pub fn cost(&self) -> Duration {
        self.cost
    }

    /// Its times.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.head.grant.freshness
    }

    /// The request fields that select it, where it varies (RFC 9111 §4.1). A backend keeps the rule
    /// under the [primary](crate::key::CacheKey::primary) key.
    #[must_use]
    pub fn vary_rule(&self) -> Option<&Arc<VaryRule>> {
        self.vary_selection().map(VarySelection::rule)
    }

    /// The values of the request fields that selected it, where it varies.
    #[must_use]
    pub(crate) fn vary_selection(&self) -> Option<&VarySelection> {
        self.head.grant.selected.as_ref()
    }

    /// The groups it is invalidated with.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.head.grant.groups
    }

    /// What it holds, where that is not the whole.
    #[must_use]
    pub fn parts(&self) -> Option<&PartialContent> {
        self.head.parts.as_ref()
    }

    /// Whether the `Cache-Status` line in its headers is an upstream's, to be kept, rather than our slot.
    #[must_use]
    pub(crate) fn has_upstream_status(&self) -> bool {
        self.head.has_upstream_status
    }

    /// Bytes of memory it holds: key, headers, body, trailers and its own bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Of its values there are no others than those of its headers.
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
            + self
                .drop_observer
                .as_ref()
                .map_or(0, |_| SHARED_BUFFER + 32)
    }
}

impl Drop for StoredResponse {
    fn drop(&mut self) {
        if let Some(drop_observer) = &self.drop_observer {
            drop_observer.on_drop();
        }
    }
}
