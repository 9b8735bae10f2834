//! What few stored responses have.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use xxhash_rust::xxh3::xxh3_64;

use super::detached::DetachedBody;
use super::store_observer::{ObservedStore, StoredContent};
use super::weight::{OBSERVER, SHARED_BUFFER, map_weight};
use crate::semantics::allocation::allocated;
use crate::semantics::groups::Group;
use crate::semantics::ranges::PartialContent;
use crate::semantics::vary::VarySelection;

/// A large body, and what few responses have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Counts the body after the response is dropped. It stands before the body: it is dropped
    /// while this handle of the body is still there.
    observed: Option<ObservedStore>,
    /// The bytes of a large body that are in memory.
    pub(super) body: Option<Bytes>,
    /// The place of the body in the backend, if that has kept it.
    pub(super) detached: Option<Box<Detached>>,
    pub(super) extras: Extras,
    /// The digest of the body in memory; 0 until it is computed.
    digest: AtomicU64,
}

/// A body in the backend, and the place of the bytes of it that are in memory.
#[derive(Clone, Debug)]
pub(super) struct Detached {
    pub(super) body: DetachedBody,
    /// The offset of the first byte in memory.
    pub(super) start: u64,
}

/// What few stored responses have beside their content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    /// The values of the request fields that selected it, if it varies.
    pub(crate) selected: Option<VarySelection>,
    /// The trailers.
    pub(crate) trailers: Option<Box<HeaderMap>>,
    /// The groups that it is invalidated with.
    pub(crate) groups: Box<[Group]>,
    /// The parts that are stored, if it is not whole.
    pub(crate) parts: Option<Box<PartialContent>>,
}

/// What selected a stored response, as it is saved beside its fields.
#[derive(Debug, Default)]
pub(crate) struct SelectedBy {
    /// The values of all selecting fields.
    pub(crate) values: Bytes,
    /// The selecting fields that `Vary` does not name.
    pub(crate) beside_vary: Vec<HeaderName>,
}

impl Extras {
    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.selected.is_none()
            && self.trailers.is_none()
            && self.groups.is_empty()
            && self.parts.is_none()
    }

    fn weight(&self) -> usize {
        let selected = self.selected.as_ref().map_or(0, VarySelection::weight);
        let trailers = self.trailers.as_ref();
        let parts = self.parts.as_ref();
        selected
            + trailers.map_or(0, |it| allocated(size_of::<HeaderMap>()) + map_weight(it))
            + parts.map_or(0, |it| it.weight() + allocated(0))
            + allocated(size_of_val(&*self.groups)) * usize::from(!self.groups.is_empty())
    }
}

impl Rare {
    /// Returns `None` if there is nothing to keep.
    pub(super) fn new(large: Option<StoredContent>, extras: Extras) -> Option<Box<Self>> {
        if large.is_none() && extras.is_empty() {
            return None;
        }
        let mut rare = Self {
            extras,
            ..Self::default()
        };
        if let Some(content) = large {
            rare.set_content(content);
        }
        Some(Box::new(rare))
    }

    /// Returns the digest of the body in memory, computed once.
    pub(super) fn digest(&self) -> Option<u64> {
        let body = self.body.as_ref()?;
        Some(match self.digest.load(Ordering::Relaxed) {
            0 => {
                let digest = xxh3_64(body).max(1);
                self.digest.store(digest, Ordering::Relaxed);
                digest
            }
            digest => digest,
        })
    }

    /// Makes the body one that is counted.
    pub(super) fn set_content(&mut self, content: StoredContent) {
        let (body, observed) = content.into_parts();
        self.body = Some(body);
        self.observed = observed;
    }

    pub(super) fn observed(&self) -> Option<&ObservedStore> {
        self.observed.as_ref()
    }

    /// Returns the large body, as the content of another response with the same bytes.
    pub(super) fn content(&self) -> Option<StoredContent> {
        let bytes = self.body.clone()?;
        Some(match &self.observed {
            Some(observed) => StoredContent::new(bytes, observed.observer().clone()),
            None => StoredContent::uncounted(bytes),
        })
    }

    pub(super) fn weight(&self) -> usize {
        let body = self.body.as_ref();
        allocated(size_of::<Self>())
            + self.extras.weight()
            + body.map_or(0, |body| allocated(body.len()) + SHARED_BUFFER)
            + self.observed.as_ref().map_or(0, |_| OBSERVER)
    }
}
