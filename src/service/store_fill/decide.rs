//! Whether a response may be stored, decided when its head is here.

use http::header::TRAILER;
use http::{StatusCode, response};
use http_body::Body;

use crate::backend::Backend;
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;
use crate::service::fill_data::{Draft, EntrySource, Fill, SharingRules, Storable};
use crate::service::parts;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::{
    add_date, announced_length, outside_group_grace, storage_decision_of, storing_rules,
    variant_key,
};
use crate::state::LayerState;
use crate::state::noted_requests::RequestDigest;

use super::notes::note_storable;

/// Decides whether a response may be stored.
///
/// One that may, and has no `Date`, gets the time of its receipt, on its way to the client too
/// (RFC 9110 §6.6.1). With a refused `fence` the response is judged all the same: followers may
/// share it.
pub(crate) fn decide<B: Backend, Res: Body>(
    state: &LayerState<B>,
    fill: Fill<B::Fence>,
    fence: Result<B::Fence, Refusal>,
    outgoing: &OutgoingRequest,
    head: &mut response::Parts,
    body: &Res,
) -> Result<Box<Storable<B::Fence>>, Refusal> {
    if head.status == StatusCode::PARTIAL_CONTENT
        && let Some(part) = parts::store::part_to_store(state, &fill, outgoing, head)
    {
        return parts::store::decide(state, part, fill, fence, outgoing, (head, body));
    }
    if let Some(own) = &outgoing.origin_head {
        parts::store::check_own_permission(state, own, &fill, outgoing, body)?;
    }
    let asked = outgoing.asked();
    let mut rules = storing_rules(&state.config, asked, head)?;
    rules.existing = fill.miss.replaced_status;
    let (is_forced, is_short_refresh) = (fill.is_forced(), fill.is_short_refresh);
    let grant = storage_decision_of(state, asked, &fill.key, (head, body), &mut rules)?;
    rules.existing = None;
    let target = fill.key.target(rules.is_private);
    let fence = outside_group_grace(state, fence, &grant.groups, outgoing.at);
    add_date(head, &grant);
    let (lookup_key, length) = (fill.miss.lookup_key, announced_length(head, body));
    let key = variant_key(state, target.key, &grant, &outgoing.headers);
    if grant.freshness.is_reusable() && target.is_own {
        note_storable(state, [&lookup_key, &key], outgoing.kind, &grant);
    }
    Ok(Box::new(Storable {
        draft: Draft {
            head: StoredHead::new(target.identity, head.status, &head.headers, grant.clone()),
            source: EntrySource {
                key,
                shared_key: fill.key.key.with_variant(key.variant()),
                lookup_key,
                kind: outgoing.kind,
                client: outgoing.client,
                request: refreshable_request(state, outgoing, &grant),
                is_short_refresh,
                is_confirmed: outgoing.is_confirmed(),
                partition: target.partition,
            },
        },
        is_for_flight: target.is_own,
        sharing: SharingRules {
            identity: fill.key.identity,
            grant,
            rules,
            called: outgoing.at,
            length,
        },
        fence,
        has_trailers: head.headers.contains_key(TRAILER),
        merge: None,
        is_typical: !is_forced && outgoing.is_for_whole(),
        request: None,
    }))
}

/// The request, if its response may be used while a refresh of it runs.
fn refreshable_request<B: Backend>(
    state: &LayerState<B>,
    outgoing: &OutgoingRequest,
    grant: &StoragePolicy,
) -> Option<RequestDigest> {
    let window = grant.freshness.stale.while_revalidate;
    (!window.is_zero()).then(|| outgoing.digest(state))
}
