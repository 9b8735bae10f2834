//! The head of a stored response.

use std::sync::Arc;

use http::header::{AGE, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::fields::{date, hop_by_hop};
use crate::semantics::ranges::PartialContent;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::validation::generated_tag;

/// A stored response without its body: what is known once the head has arrived.
#[derive(Debug)]
pub struct StoredHead {
    pub(super) identity: Arc<[u8]>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) grant: StoragePolicy,
    pub(super) parts: Option<PartialContent>,
    pub(super) has_upstream_status: bool,
}

impl StoredHead {
    /// A head that is to be stored under the full key `identity`.
    #[must_use]
    pub fn new(
        identity: Arc<[u8]>,
        status: StatusCode,
        headers: &HeaderMap,
        grant: StoragePolicy,
    ) -> Self {
        Self::from_owned(identity, status, headers.clone(), grant)
    }

    /// The same of header fields that nobody else needs.
    #[must_use]
    pub fn from_owned(
        identity: Arc<[u8]>,
        status: StatusCode,
        mut headers: HeaderMap,
        grant: StoragePolicy,
    ) -> Self {
        hop_by_hop::remove(&mut headers);
        for name in &grant.withheld {
            headers.remove(name);
        }
        headers
            .entry(DATE)
            .or_insert_with(|| date::format(grant.freshness.received.wall()));
        headers.insert(AGE, HeaderValue::from_static(""));
        let has_upstream_status = headers.contains_key(CACHE_STATUS);
        if !has_upstream_status {
            headers.insert(CACHE_STATUS, HeaderValue::from_static(""));
        }
        Self {
            identity,
            status,
            headers,
            grant,
            parts: None,
            has_upstream_status,
        }
    }

    /// The same as the head of parts, which the body will hold one behind the other (RFC 9111 §3.3).
    #[must_use]
    pub fn with_parts(mut self, parts: PartialContent) -> Self {
        self.parts = Some(parts);
        self
    }

    /// The same with an entity tag of the content, where that is whole and the origin gave it no validator.
    #[must_use]
    pub fn with_generated_tag(mut self, content: &[u8]) -> Self {
        let has = |name: &HeaderName| self.headers.contains_key(name);
        if self.parts.is_none() && ![ETAG, LAST_MODIFIED].iter().any(has) {
            self.headers.insert(ETAG, generated_tag(content));
        }
        self
    }
}
