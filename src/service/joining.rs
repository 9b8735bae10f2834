//! Stores a 206 as a part, together with the parts that are stored already (RFC 9111 §3.3, §3.4).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{Method, Response, StatusCode, response};

use crate::backend::{Backend, CacheKey, StoredResponse};
use crate::semantics::freshening::freshened;
use crate::semantics::parts::Parts;
use crate::semantics::range::part_of_whole;

use super::lookup::Fill;
use super::partial::{HeldParts, part_of_the_same};
use super::sent::Sent;
use super::shared::Shared;

/// A 206 that is about to be stored.
pub(super) struct Part {
    /// Its head without what is of the part alone, with the fields of what is held of the same representation.
    pub(super) head: response::Parts,
    range: Range<u64>,
    complete: u64,
    held: Option<HeldParts>,
}

/// How a part's bytes and what is held become one, once they are here.
pub(super) struct Joins {
    range: Range<u64>,
    held: Option<Arc<StoredResponse>>,
}

impl<B: Backend> Shared<B> {
    /// What a 206 is that was asked for, if it is one that can be stored; `None` for all other answers.
    pub(super) fn part_of(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        head: &response::Parts,
    ) -> Option<Part> {
        let is_part = self.config.store_parts
            && head.status == StatusCode::PARTIAL_CONTENT
            && sent.method == Method::GET
            && sent.headers.contains_key(RANGE);
        let (range, complete) = part_of_whole(&head.headers).filter(|_| is_part)?;
        let is_same = |held: &&HeldParts| {
            part_of_the_same(&held.response, &head.headers, self.now()).is_some()
        };
        let held = fill.miss.parts.as_ref().filter(is_same).cloned();
        let (mut combined, ()) = Response::new(()).into_parts();
        combined.status = head.status;
        combined.headers = match &held {
            Some(held) => freshened(&held.response, &head.headers),
            None => head.headers.clone(),
        };
        combined.headers.remove(CONTENT_RANGE);
        combined.headers.remove(CONTENT_LENGTH);
        Some(Part {
            head: combined,
            range,
            complete,
            held,
        })
    }
}

impl Part {
    /// With what is held under the same key, unless that is more than `limit` bytes, or too many parts: then alone.
    pub(super) fn joins(self, key: CacheKey, limit: u64) -> Option<(Joins, Parts)> {
        let range = self.range;
        let held = self.held.filter(|held| held.place == key);
        let both = held.and_then(|held| {
            let parts = held.response.parts()?.with(&range)?;
            (parts.held() <= limit).then_some((held.response, parts))
        });
        let (held, parts) = match both {
            Some((held, parts)) => (Some(held), parts),
            None => (None, Parts::new(self.complete, [range.clone()])?),
        };
        Some((Joins { range, held }, parts))
    }
}

impl Joins {
    /// How many bytes are to come.
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// All the bytes that are stored.
    pub(super) fn join(&self, bytes: Bytes) -> Bytes {
        let held = self.held.as_ref();
        let joined =
            held.and_then(|held| Some(held.parts()?.join(held.body(), &self.range, &bytes)));
        joined.unwrap_or(bytes)
    }
}
