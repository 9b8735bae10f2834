//! A stored response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::encoded::{
    AnswerValues, EmptySlots, HeadFields, HeadKind, HeadSource, answer, take_with_length,
};
use super::rare::{Detached, Extras, Rare};
use super::store_observer::{KeptBy, StoredContent};
use super::times::{Flags, PackedTimes};
use crate::semantics::allocation::{allocated, allocated_counted};
use crate::semantics::freshness::{Freshness, StoredTimes};
use crate::semantics::groups::Group;
use crate::semantics::moment::Moment;
use crate::semantics::ranges::PartialContent;
use crate::semantics::vary::{VaryRule, VarySelection};

/// The largest body that stands behind the fields, in bytes. A larger one has its own buffer.
pub(super) const MAX_INLINE_BODY: usize = 1024;

/// A response as a backend keeps it. It never changes.
///
/// It has no field of a connection. It has a `Date`, the `Content-Length` of the body, and slots
/// for `Age` and `Cache-Status`: answering from it inserts no field.
///
/// Most take two allocations: this struct, and a block with all bytes.
///
/// ```text
/// stale windows | full key | encoded fields | body, if it is small
/// ```
#[derive(Debug)]
pub struct StoredResponse {
    pub(super) block: Box<[u8]>,
    pub(super) times: PackedTimes,
    pub(super) rare: Option<Box<Rare>>,
    /// The time that fetching it took, in microseconds.
    pub(super) cost: u32,
    pub(super) status: StatusCode,
    pub(super) flags: Flags,
}

/// Where everything is in a block, behind the windows.
#[derive(Clone, Copy, Default)]
pub(super) struct BlockParts<'b> {
    pub(super) behind_identity: &'b [u8],
    pub(super) fields: HeadFields<'b>,
    /// The length of the encoded fields.
    pub(super) field_bytes: usize,
    pub(super) body: &'b [u8],
}

impl<'b> BlockParts<'b> {
    /// Reads the lengths in a block; `None` if they do not fit.
    #[inline]
    pub(super) fn new(behind_windows: &'b [u8]) -> Option<Self> {
        let mut rest = behind_windows;
        take_with_length(&mut rest)?;
        let behind_identity = rest;
        let fields = HeadFields::take(&mut rest)?;
        Some(Self {
            behind_identity,
            fields,
            field_bytes: behind_identity.len() - rest.len(),
            body: rest,
        })
    }

    pub(super) fn encoded_fields(&self) -> &'b [u8] {
        &self.behind_identity[..self.field_bytes]
    }
}

/// The content, and who counts it.
impl StoredResponse {
    /// Makes a large body one that is counted.
    pub(crate) fn set_content(&mut self, content: StoredContent) {
        if let Some(rare) = &mut self.rare
            && rare.body.is_some()
        {
            rare.set_content(content);
        }
    }

    /// Returns whether the body has a buffer of its own that nothing counts.
    pub(crate) fn is_uncounted(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| rare.body.is_some() && rare.observed().is_none())
    }

    /// Notes that the response is not in a store of this process.
    pub(crate) fn note_kept_elsewhere(&self, kept_by: KeptBy) {
        if let Some(observed) = self.rare.as_ref().and_then(|rare| rare.observed()) {
            observed.observer().on_kept_elsewhere(kept_by);
        }
    }

    /// Returns the body, as the content of another response with the same bytes.
    pub(crate) fn content(&self) -> StoredContent {
        let large = self.rare.as_ref().and_then(|rare| rare.content());
        large.unwrap_or_else(|| StoredContent::uncounted(self.body()))
    }

    /// Returns a digest of the content: the same for equal bytes, or for one body that a backend
    /// keeps apart.
    pub(crate) fn content_digest(&self) -> u64 {
        match self.detached() {
            None => {
                let large = self.rare.as_ref().and_then(|rare| rare.digest());
                large.unwrap_or_else(|| xxh3_64(self.body_bytes()).max(1))
            }
            Some(Detached { body, .. }) => {
                let mut digest = Xxh3::with_seed(body.seed);
                digest.update(&body.length.to_le_bytes());
                for checksum in &*body.checksums {
                    digest.update(&checksum.to_le_bytes());
                }
                digest.digest()
            }
        }
    }

    /// Returns whether the backend keeps the body apart.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached().is_some()
    }

    pub(super) fn detached(&self) -> Option<&Detached> {
        self.rare.as_ref().and_then(|rare| rare.detached.as_deref())
    }

    fn large_body(&self) -> Option<&Bytes> {
        self.rare.as_ref().and_then(|rare| rare.body.as_ref())
    }

    /// Returns the body, as far as it [is here](Self::has_whole_body). One of at most 1 KiB is
    /// copied, a larger one is shared.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self.large_body() {
            Some(body) => body.clone(),
            None => Bytes::copy_from_slice(self.body_bytes()),
        }
    }

    /// Returns the bytes of the body, as far as it [is here](Self::has_whole_body).
    #[must_use]
    pub fn body_bytes(&self) -> &[u8] {
        match self.large_body() {
            Some(body) => body,
            None => self.block_parts().body,
        }
    }
}

/// The head.
impl StoredResponse {
    /// Returns the full key that the response is stored under.
    #[must_use]
    #[inline]
    pub(crate) fn identity(&self) -> &[u8] {
        let mut rest = &self.block[self.flags.window_bytes()..];
        take_with_length(&mut rest).unwrap_or_default()
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns a copy of the header fields, with the slots for `Age` and `Cache-Status`.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.headers_with(&EmptySlots)
    }

    /// Returns the header fields of a 304 in its place (RFC 9110 §15.4.5), with the slots for `Age`
    /// and `Cache-Status`.
    #[must_use]
    pub fn not_modified(&self) -> HeaderMap {
        self.not_modified_with(&EmptySlots)
    }

    /// Returns a copy of the header fields with the values of an answer.
    pub(crate) fn headers_with(&self, values: &impl AnswerValues) -> HeaderMap {
        self.head(HeadKind::Whole, values)
    }

    /// Returns the header fields of a 304 with the values of an answer.
    pub(crate) fn not_modified_with(&self, values: &impl AnswerValues) -> HeaderMap {
        self.head(HeadKind::NotModified, values)
    }

    /// Returns the header fields, with the values of an answer, and the body.
    #[inline]
    pub(crate) fn answer(&self, values: &impl AnswerValues) -> (HeaderMap, Bytes) {
        let (headers, small) = self.answer_as(HeadKind::Whole, true, values);
        match self.large_body() {
            Some(large) => (headers, large.clone()),
            None => (headers, small),
        }
    }

    fn head(&self, kind: HeadKind, values: &impl AnswerValues) -> HeaderMap {
        self.answer_as(kind, false, values).0
    }

    #[inline]
    fn answer_as(
        &self,
        kind: HeadKind,
        has_body: bool,
        values: &impl AnswerValues,
    ) -> (HeaderMap, Bytes) {
        let parts = self.block_parts();
        let body = if has_body { parts.body.len() } else { 0 };
        let end = parts.field_bytes + body;
        let source = HeadSource {
            bytes: &parts.behind_identity[..end],
            body,
            kind,
        };
        answer(self.block.as_ptr().addr(), source, values)
    }

    /// Returns where everything is in the block.
    #[inline]
    pub(super) fn block_parts(&self) -> BlockParts<'_> {
        BlockParts::new(&self.block[self.flags.window_bytes()..]).unwrap_or_default()
    }

    /// Returns the entity tag, if there is one.
    #[must_use]
    pub(crate) fn etag(&self) -> Option<&[u8]> {
        self.block_parts().fields.etag()
    }

    /// Returns the trailer fields, if there were any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.extras()?.trailers.as_deref()
    }

    /// Returns how long fetching the response took, from the call to the end of the body. At most
    /// 71 minutes are known, in microseconds.
    #[must_use]
    pub fn cost(&self) -> Duration {
        Duration::from_micros(u64::from(self.cost))
    }

    /// Returns whether `Cache-Status` came with the response, so that its line is kept.
    #[must_use]
    pub(crate) fn has_upstream_status(&self) -> bool {
        self.flags.has(Flags::HAS_UPSTREAM_STATUS)
    }
}

impl StoredTimes for StoredResponse {
    #[inline]
    fn age(&self, now: Moment) -> Duration {
        self.times.age(now)
    }

    #[inline]
    fn lifetime(&self) -> Option<Duration> {
        self.times.lifetime(self.flags)
    }

    fn is_immutable(&self) -> bool {
        self.flags.has(Flags::IS_IMMUTABLE)
    }

    fn freshness(&self) -> Freshness {
        Self::freshness(self)
    }
}

/// Times, and what the response is selected and invalidated by.
impl StoredResponse {
    /// Returns the times: arrival, age, lifetime and the windows after it.
    #[must_use]
    #[inline]
    pub fn freshness(&self) -> Freshness {
        self.times.freshness(self.flags, &self.block)
    }

    /// Returns the response as one whose lifetime has just ended. `None` if it has ended before.
    ///
    /// The windows in which it may be used stale, or validated, begin now.
    #[must_use]
    pub(crate) fn made_stale(&self, now: Moment) -> Option<Self> {
        self.made_stale_at_age(self.age(now))
    }

    /// Returns the response as one whose lifetime ended at an age. `None` if it ends before.
    #[must_use]
    pub(crate) fn made_stale_at_age(&self, age: Duration) -> Option<Self> {
        if self.lifetime().is_some_and(|lifetime| lifetime <= age) {
            return None;
        }
        let content = self.rare.as_ref().and_then(|rare| rare.content());
        let extras = self.extras().cloned().unwrap_or_default();
        let mut stale = Self {
            block: self.block.clone(),
            rare: Rare::new(content, extras),
            ..*self
        };
        if let Some(rare) = &mut stale.rare {
            rare.detached = self.detached().cloned().map(Box::new);
        }
        stale.times.set_lifetime(age);
        stale.flags.set(Flags::HAS_LIFETIME, true);
        stale.flags.set(Flags::IS_IMMUTABLE, false);
        Some(stale)
    }

    /// Returns whether two lookups have found one entry: the responses are equal in all that is
    /// sent.
    #[must_use]
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.block_parts().encoded_fields() == other.block_parts().encoded_fields()
                && self.parts() == other.parts()
                && self.trailers() == other.trailers()
                && self.has_body_of(other))
    }

    /// Returns whether the bodies are equal. Those in the backend have equal checksums.
    fn has_body_of(&self, other: &Self) -> bool {
        match (self.detached(), other.detached()) {
            (Some(one), Some(other)) => one.body == other.body,
            _ => {
                let are_whole = self.has_whole_body() && other.has_whole_body();
                are_whole && self.body_bytes() == other.body_bytes()
            }
        }
    }

    pub(super) fn extras(&self) -> Option<&Extras> {
        self.rare.as_ref().map(|rare| &rare.extras)
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
        self.extras()?.selected.as_ref()
    }

    /// Returns the groups that the response is invalidated with.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        self.extras().map_or(&[], |extras| &extras.groups)
    }

    /// Returns the parts that are stored, if the response is not whole.
    #[must_use]
    pub fn parts(&self) -> Option<&PartialContent> {
        self.extras()?.parts.as_deref()
    }

    /// Returns the bytes of memory that the response takes: key, fields, body, trailers, its own
    /// bookkeeping and what the allocator adds to that.
    #[must_use]
    pub fn weight(&self) -> usize {
        allocated_counted(size_of::<Self>())
            + allocated(self.block.len())
            + self.rare.as_ref().map_or(0, |rare| rare.weight())
    }
}
