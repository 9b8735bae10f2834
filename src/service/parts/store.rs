//! Decides how a 206 is stored as a part, together with the parts that are stored already
//! (RFC 9111 §3.3, §3.4).
//!
//! Parts have a key of their own beside that of the whole response. When the last missing range
//! arrives they are stored as the whole, under its key.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RANGE};
use http::{Method, StatusCode, response};
use http_body::Body;

use crate::backend::Backend;
use crate::key::CacheKey;
use crate::semantics::ranges::parse_content_range;
use crate::semantics::ranges::{PartialContent, whole_head};
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredHead;
use crate::semantics::stored::updated_headers;
use crate::service::fill_data::{
    Draft, EntrySource, Fill, HeldParts, MergePlan, SharingRules, Storable,
};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::{
    Asked, add_date, outside_group_grace, storage_decision_of, storing_rules, variant_key,
};
use crate::state::LayerState;

use super::fetch_missing_range::range_of_same_representation;

/// The longest time for which requests for a whole response look for its parts, too.
const MAX_REMEMBERED: Duration = Duration::from_secs(3600);

/// A 206 that can be stored.
pub(crate) struct PartToStore<F> {
    /// The head of the whole, with the fields of stored parts of the same representation.
    head: response::Parts,
    /// The head of the whole by this response's own fields, where parts are stored.
    own_head: Option<response::Parts>,
    range: Range<u64>,
    complete: u64,
    held: Option<HeldParts<F>>,
}

impl<F> PartToStore<F> {
    /// The request of the part, which is stored with the parts that are stored already.
    fn asked<'r>(&'r self, outgoing: &'r OutgoingRequest) -> Asked<'r> {
        Asked {
            continued: self.held.as_ref().map(|held| &*held.response),
            ..outgoing.asked()
        }
    }

    /// How the part is merged with those stored under the same key. It is stored alone if together
    /// they are larger than `limit` bytes, or too many.
    fn merge_plan(self, key: CacheKey, limit: u64) -> Option<(MergePlan, PartialContent)> {
        let range = self.range;
        let held = self.held.filter(|held| held.lookup_key == key);
        let both = held.and_then(|held| {
            let parts = held.response.parts()?.with(&range)?;
            (parts.stored_bytes() <= limit).then_some((held.response, parts))
        });
        let (stored, parts) = match both {
            Some((stored, parts)) => (Some(stored), parts),
            None => (None, PartialContent::new(self.complete, [range.clone()])?),
        };
        Some((MergePlan { range, stored }, parts))
    }
}

impl MergePlan {
    /// The length of the new part, in bytes.
    pub(crate) fn new_length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The length of the stored parts, in bytes.
    pub(crate) fn stored_length(&self) -> u64 {
        let stored = self.stored.as_ref();
        stored.map_or(0, |stored| stored.body_bytes().len() as u64)
    }

    /// The new and the stored bytes, in their order.
    pub(crate) fn merge(&self, new: Bytes) -> Bytes {
        let stored = self.stored.as_ref();
        let merged =
            stored.and_then(|stored| Some(stored.parts()?.join(&stored.body(), &self.range, &new)));
        merged.unwrap_or(new)
    }
}

/// A 206 to a GET with `Range`, as a part that can be stored; `None` for all other responses.
pub(crate) fn part_to_store<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    head: &response::Parts,
) -> Option<PartToStore<B::Fence>> {
    let is_part = state.config.store_parts
        && head.status == StatusCode::PARTIAL_CONTENT
        && outgoing.method == Method::GET
        && outgoing.headers.contains_key(RANGE);
    let (range, complete) = parse_content_range(&head.headers).filter(|_| is_part)?;
    let is_same = |held: &&HeldParts<B::Fence>| {
        range_of_same_representation(&held.response, &head.headers, state.now()).is_some()
    };
    let held = fill.miss.parts.as_deref().filter(is_same).cloned();
    let mut whole = whole_head(head);
    let own_head = held.as_ref().map(|held| {
        let own = whole.clone();
        whole.headers = updated_headers(&held.response, &own.headers);
        whole.headers.remove(CONTENT_LENGTH);
        own
    });
    Some(PartToStore {
        head: whole,
        own_head,
        range,
        complete,
        held,
    })
}

/// Checks that a response's own fields let it be stored, whatever it is put together with: a
/// permission for the stored parts is none for the new one.
pub(crate) fn check_own_permission<B: Backend, Res: Body>(
    state: &LayerState<B>,
    own: &response::Parts,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    body: &Res,
) -> Result<(), Refusal> {
    let asked = outgoing.asked();
    let mut rules = storing_rules(&state.config, asked, own)?;
    storage_decision_of(state, asked, &fill.key, (own, body), &mut rules).map(drop)
}

/// Decides whether a part may be stored.
pub(crate) fn decide<B: Backend, Res: Body>(
    state: &LayerState<B>,
    part: PartToStore<B::Fence>,
    fill: Fill<B::Fence>,
    fence: Result<B::Fence, Refusal>,
    outgoing: &OutgoingRequest,
    (head, body): (&mut response::Parts, &Res),
) -> Result<Box<Storable<B::Fence>>, Refusal> {
    if let Some(own) = outgoing.origin_head.as_deref().or(part.own_head.as_ref()) {
        check_own_permission(state, own, &fill, outgoing, body)?;
    }
    let (asked, judged) = (part.asked(outgoing), (&part.head, body));
    let mut rules = storing_rules(&state.config, asked, &part.head)?;
    let grant = storage_decision_of(state, asked, &fill.key, judged, &mut rules)?;
    if !grant.freshness.is_reusable() {
        return Err(Refusal::NoCache);
    }
    let fence = outside_group_grace(state, fence, &grant.groups, outgoing.at);
    add_date(head, &grant);
    let target = fill.key.target(rules.is_private);
    let parts_key = target.key.for_partial_content(&state.shared.store.seed);
    let key = variant_key(state, parts_key, &grant, &outgoing.headers);
    let (identity, headers) = (target.identity, &part.head.headers);
    let stored = StoredHead::new(identity, StatusCode::OK, headers, grant.clone());
    let limit = state.max_stored_body();
    let (merge, parts) = part.merge_plan(key, limit).ok_or(Refusal::Status)?;
    let (key, stored) = match parts.is_whole() {
        true => (
            variant_key(state, target.key, &grant, &outgoing.headers),
            stored,
        ),
        false => {
            remember_partly_stored(state, &target.key, grant.freshness.lifetime);
            (key, stored.with_parts(parts))
        }
    };
    Ok(Box::new(Storable {
        draft: Draft {
            head: stored,
            source: source_of(&fill, outgoing, key, target.partition),
        },
        is_for_flight: target.is_own,
        sharing: SharingRules {
            identity: fill.key.identity,
            grant,
            rules,
            called: outgoing.at,
            length: Some(merge.new_length()),
        },
        fence,
        has_trailers: false,
        merge: Some(merge),
        is_typical: false,
        request: None,
    }))
}

/// The source of an entry with parts, which is shared under the key that it is stored under.
fn source_of<F>(
    fill: &Fill<F>,
    outgoing: &OutgoingRequest,
    key: CacheKey,
    partition: Option<u128>,
) -> EntrySource {
    EntrySource {
        key,
        shared_key: key,
        lookup_key: fill.miss.lookup_key,
        kind: outgoing.kind,
        client: None,
        request: None,
        is_short_refresh: fill.is_short_refresh,
        is_confirmed: false,
        partition,
    }
}

/// Lets requests for the whole response look for its parts, too.
fn remember_partly_stored<B: Backend>(
    state: &LayerState<B>,
    key: &CacheKey,
    lifetime: Option<Duration>,
) {
    let time = lifetime.unwrap_or(MAX_REMEMBERED).min(MAX_REMEMBERED);
    let keys = &state.shared.partial_keys;
    keys.remember(key, state.now(), time);
}
