//! The place of a coded form in the backend.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};

use crate::backend::{Lookup, StoredResponse};
use crate::key::{CacheKey, DigestSeed, KeyExtension};
use crate::semantics::content_coding::Coding;
use crate::semantics::stored::{StoredContent, StoredHead};
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::VarySelection;
use crate::service::served::AnsweredFrom;

/// The name of this kind of keys.
const KIND: &str = "coding";

/// The coded form of a stored response, which may be stored.
pub(super) struct SubEntry {
    pub(super) key: CacheKey,
    /// The full key: that of the identity, the coding and a digest of the content.
    pub(super) identity: Arc<[u8]>,
    pub(super) coding: Coding,
    /// The identity.
    pub(super) stored: Arc<StoredResponse>,
}

/// What a lookup of a coded form has found.
pub(super) enum FoundForm<F> {
    /// The form.
    Form(Arc<StoredResponse>),
    /// Nothing, or that of other content. With the fence for storing it.
    Nothing(F),
    /// Nothing, and nothing may be stored for now.
    Unfenced,
}

impl SubEntry {
    pub(super) fn new(seed: &DigestSeed, source: AnsweredFrom, coding: Coding) -> Self {
        let AnsweredFrom { key, stored } = source;
        let name = coding.name().as_bytes();
        let selected = stored.vary_selection().map(VarySelection::values);
        let selected = selected.unwrap_or_default();
        let digest = stored.content_digest().to_le_bytes();
        let length = stored.body_length().to_le_bytes();
        // Its place is that of all contents: a new one replaces the old one.
        let place = KeyExtension::new(KIND, [name, selected]);
        let whole = KeyExtension::new(KIND, [name, selected, &digest, &length]);
        Self {
            key: place.extend_key(seed, &key),
            identity: whole.extend_identity(stored.identity()),
            coding,
            stored,
        }
    }

    /// Whether a response that was found under the key is the form of this content.
    pub(super) fn is_form(&self, found: &StoredResponse) -> bool {
        *found.identity() == *self.identity
    }

    /// What a lookup of the key has found.
    pub(super) fn judge<F>(&self, lookup: Lookup<F>) -> FoundForm<F> {
        match lookup {
            Lookup::Found(found, _) if self.is_form(&found) => FoundForm::Form(found),
            lookup => lookup
                .into_fence()
                .map_or(FoundForm::Unfenced, FoundForm::Nothing),
        }
    }

    /// The form with this content, as it is stored: with the times and the groups of its identity.
    /// It has no content if it would be no smaller than its identity.
    pub(super) fn with_content(&self, content: &StoredContent, cost: Duration) -> StoredResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, self.coding.field_value());
        let policy = StoragePolicy {
            freshness: self.stored.freshness(),
            selected: None,
            groups: self.stored.groups().into(),
            withheld: Box::default(),
        };
        let head = StoredHead::new(self.identity.clone(), StatusCode::OK, &headers, policy);
        head.with_content(content, None, cost)
    }
}
