//! Stores a 206 as a part, together with the parts that are stored already (RFC 9111 §3.3, §3.4).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, Method, StatusCode, response};

use crate::backend::{Backend, CacheKey, Put, StoredResponse};
use crate::flight::Audience;
use crate::semantics::freshening::freshened;
use crate::semantics::parts::Parts;
use crate::semantics::range::part_of_whole;
use crate::semantics::staleness::Staleness;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Freshness, Grant};

use crate::service::lookup::Fill;
use crate::service::parts::complete::{HeldParts, part_of_the_same};
use crate::service::request::outgoing::Sent;
use crate::state::Shared;
use crate::state::failure_log::Failed;

/// A 206 that is about to be stored.
pub(crate) struct Part {
    /// The head of the whole, with the fields of what is held of the same representation.
    pub(crate) head: response::Parts,
    /// The same by what it says itself, where something is held.
    pub(crate) own: Option<response::Parts>,
    range: Range<u64>,
    complete: u64,
    held: Option<HeldParts>,
}

/// How a part's bytes and what is held become one, once they are here.
pub(crate) struct Joins {
    range: Range<u64>,
    held: Option<Arc<StoredResponse>>,
}

impl<B: Backend> Shared<B> {
    /// What a 206 is that was asked for, if it is one that can be stored; `None` for all other answers.
    pub(crate) fn part_of(
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
        let mut whole = as_whole(head);
        let own = held.as_ref().map(|held| {
            let own = whole.clone();
            whole.headers = freshened(&held.response, &own.headers);
            whole.headers.remove(CONTENT_LENGTH);
            own
        });
        Some(Part {
            head: whole,
            own,
            range,
            complete,
            held,
        })
    }
}

/// Parts that something newer takes the place of, and what is put there.
pub(crate) struct Older<F> {
    whole: CacheKey,
    fence: F,
    identity: Arc<[u8]>,
}

impl<B: Backend> Shared<B> {
    /// The parts that this process remembers of what is about to be stored whole.
    pub(crate) fn of_older_parts(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &B::Fence,
    ) -> Option<Older<B::Fence>> {
        let whole = key.primary();
        let is_newer = response.parts().is_none() && self.is_partly_held(&whole);
        is_newer.then(|| Older {
            whole,
            fence: fence.clone(),
            identity: response.identity().into(),
        })
    }

    /// So that they do not come back when what is newer has been evicted. What failed is no loss but that: they are fresh.
    pub(crate) async fn forget_parts(&self, older: Older<B::Fence>) {
        let now = self.now();
        let grant = Grant {
            freshness: Freshness {
                received: now,
                initial_age: Duration::ZERO,
                lifetime: Some(Duration::from_secs(1)),
                stale: Staleness::default(),
                immutable: false,
            },
            selected: None,
            groups: Box::default(),
            withheld: Box::default(),
        };
        let nothing = StoredHead::owning(older.identity, StatusCode::OK, HeaderMap::new(), grant);
        let nothing = nothing.with_body(Bytes::new(), None, Duration::ZERO);
        let place = older.whole.parts(&self.core.seed);
        let backend = &self.core.backend;
        let put = backend.put(&place, older.fence, Arc::new(nothing), now);
        match put.await {
            Ok(Put::Stored) => self.core.partial.forget(&older.whole, Audience::Everyone),
            Ok(Put::Superseded | Put::TooLarge) => {}
            Err(error) => self.backend_failed(Failed::Store, &error),
        }
    }
}

/// A part's head as that of the whole.
pub(crate) fn as_whole(part: &response::Parts) -> response::Parts {
    let mut whole = part.clone();
    whole.status = StatusCode::OK;
    whole.headers.remove(CONTENT_RANGE);
    whole.headers.remove(CONTENT_LENGTH);
    whole
}

impl Part {
    /// With what is held under the same key, unless that is more than `limit` bytes, or too many parts: then alone.
    pub(crate) fn joins(self, key: CacheKey, limit: u64) -> Option<(Joins, Parts)> {
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
    pub(crate) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// How many are there already.
    pub(crate) fn held(&self) -> u64 {
        let held = self.held.as_ref();
        held.map_or(0, |held| held.body().len() as u64)
    }

    /// All the bytes that are stored.
    pub(crate) fn join(&self, bytes: Bytes) -> Bytes {
        let held = self.held.as_ref();
        let joined =
            held.and_then(|held| Some(held.parts()?.join(held.body(), &self.range, &bytes)));
        joined.unwrap_or(bytes)
    }
}
