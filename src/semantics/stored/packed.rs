//! A stored response as the codec sees it: what memory and encoding have in common, and a body that
//! the backend keeps.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use super::detached::DetachedBody;
use super::rare::{Detached, Extras, Rare, SelectedBy};
use super::response::{BlockParts, MAX_INLINE_BODY, StoredResponse};
use super::store_observer::StoredContent;
use super::times::{Flags, PackedDuration, PackedTimes};
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::vary::{Vary, VarySelection};

use http::header::VARY;

/// The parts of a stored response of which all have the same size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedHead {
    pub(crate) flags: u16,
    pub(crate) status: u16,
    pub(crate) age: PackedDuration,
    pub(crate) lifetime: PackedDuration,
    pub(crate) cost: u32,
}

impl StoredResponse {
    /// Returns the parts of the same size, with the age at this moment.
    #[must_use]
    pub(crate) fn packed_head(&self, now: Moment) -> PackedHead {
        PackedHead {
            flags: self.flags.to_bits(),
            status: self.status.as_u16(),
            age: PackedDuration::new(self.times.age(now)),
            lifetime: self.times.packed_lifetime(),
            cost: self.cost,
        }
    }

    /// Returns the beginning of the block: windows, full key and fields.
    #[must_use]
    pub(crate) fn packed_fields(&self) -> &[u8] {
        let body = self.block_parts().body.len();
        &self.block[..self.block.len() - body]
    }

    /// Returns what few responses have.
    #[must_use]
    pub(crate) fn packed_extras(&self) -> Option<&Extras> {
        self.extras().filter(|extras| !extras.is_empty())
    }

    /// Returns the selecting fields that `Vary` does not name.
    #[must_use]
    pub(crate) fn selecting_beside_vary(&self) -> Vec<HeaderName> {
        let Some(rule) = self.vary_rule() else {
            return Vec::new();
        };
        let named = Vary::from_headers(&self.block_parts().fields.lines_of(&VARY));
        let is_named = |name: &&HeaderName| match &named {
            Vary::Fields(named) => named.names().contains(name),
            Vary::Absent | Vary::NeverMatches => false,
        };
        let beside = rule.names().iter().filter(|name| !is_named(name));
        beside.cloned().collect()
    }

    /// Creates a response from a block that may be damaged, its body behind it, unless that is
    /// detached, and the values that selected it. `block` is a part of `bytes`. A large body is a
    /// slice of them; all else is copied at once.
    ///
    /// `None` unless all of it is sound.
    #[must_use]
    pub(crate) fn from_packed(
        (head, (mut extras, selected)): (PackedHead, (Extras, &SelectedBy)),
        (bytes, block): (&Bytes, &[u8]),
        detached: Option<DetachedBody>,
        (received, stored_for): (Moment, Duration),
    ) -> Option<Self> {
        let flags = Flags::from_bits(head.flags)?;
        let BlockParts { fields, body, .. } = BlockParts::new(block.get(flags.window_bytes()..)?)?;
        if detached.is_some() && !body.is_empty() {
            return None;
        }
        let fields_end = block.len() - body.len();
        let length = match &detached {
            Some(detached) => usize::try_from(detached.length).ok()?,
            None => body.len(),
        };
        fields.check(length)?;
        let vary = Vary::from_headers(&fields.lines_of(&VARY));
        extras.selected = match vary.with_fields(selected.beside_vary.iter()) {
            Vary::Absent if selected.values.is_empty() => None,
            Vary::Fields(rule) => Some(VarySelection::from_values(rule, &selected.values)),
            Vary::Absent | Vary::NeverMatches => return None,
        };
        let parts = extras.parts.as_ref();
        if parts.is_some_and(|parts| parts.stored_bytes() != length as u64) {
            return None;
        }
        let is_inline = detached.is_none() && length <= MAX_INLINE_BODY;
        let large =
            (!is_inline).then(|| StoredContent::uncounted(bytes.slice_ref(&block[fields_end..])));
        let end = if is_inline { block.len() } else { fields_end };
        let times = Freshness {
            received,
            initial_age: head.age.get().saturating_add(stored_for),
            lifetime: Some(head.lifetime.get()),
            stale: Staleness::default(),
            immutable: false,
        };
        let mut rare = Rare::new(large, extras);
        if let (Some(rare), Some(body)) = (&mut rare, detached) {
            rare.detached = Some(Box::new(Detached { body, start: 0 }));
        }
        Some(Self {
            block: block[..end].into(),
            times: PackedTimes::new(&times),
            rare,
            cost: head.cost,
            status: StatusCode::from_u16(head.status).ok()?,
            flags,
        })
    }
}

/// A body that is in the backend.
impl StoredResponse {
    /// Returns where the body is, if not all of it is here.
    #[must_use]
    pub(crate) fn detached_body(&self) -> Option<&DetachedBody> {
        let body = &self.detached()?.body;
        (self.body_bytes().len() as u64 != body.length).then_some(body)
    }

    /// Returns whether the whole body is here. If not, the backend that found the response has it:
    /// see [`Backend::read_body`](crate::backend::Backend::read_body).
    #[must_use]
    pub fn has_whole_body(&self) -> bool {
        self.detached_body().is_none()
    }

    /// Returns the length of the whole body, in bytes.
    #[must_use]
    pub fn body_length(&self) -> u64 {
        let here = || self.body_bytes().len() as u64;
        self.detached().map_or_else(here, |it| it.body.length)
    }

    /// Returns where in the body the bytes begin that are here.
    #[must_use]
    pub(crate) fn body_start(&self) -> u64 {
        self.detached().map_or(0, |it| it.start)
    }

    /// Returns the response with these bytes of its detached body, which begin at `start`.
    #[must_use]
    pub(crate) fn with_bytes_of_body(&self, start: u64, bytes: Bytes) -> Self {
        let detached = self.detached().map(|it| Detached {
            start,
            ..it.clone()
        });
        let extras = self.extras().cloned().unwrap_or_default();
        let mut rare = Rare::new(Some(StoredContent::uncounted(bytes)), extras);
        if let Some(rare) = &mut rare {
            rare.detached = detached.map(Box::new);
        }
        Self {
            block: self.block.clone(),
            rare,
            ..*self
        }
    }
}
