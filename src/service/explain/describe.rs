//! Describes a key, and what its lookups have found.

use std::sync::Arc;

use http::header::ETAG;
use http::{HeaderName, Method, Response, request};

use super::explanation::{ExplainedKey, ExplainedLookup, ExplainedResponse, Note, SelectingField};
use super::peek::Peeked;
use crate::backend::{Backend, StoredResponse, VaryRule};
use crate::key::normal_path::normal_path;
use crate::key::{CacheKey, KeyParts, Resource};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::storing::{RequestHead, ResponseHead, StoringRules, lifetime_rule};
use crate::semantics::vary::normalized_value;
use crate::service::lookup::selects;
use crate::service::storing_permission::{Asked, storing_rules};
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;

pub(super) fn explained_key<B: Backend>(
    state: &LayerState<B>,
    parts: &KeyParts<'_>,
    resource: Resource,
) -> ExplainedKey {
    ExplainedKey {
        scheme: parts.scheme().map(Into::into),
        authority: parts.authority().into(),
        path: parts.path().into(),
        query: parts.query().map(Into::into),
        resource,
        site: state.config.sites.site_of(parts.authority()).into(),
        resource_path: normal_path(parts.path()).into(),
    }
}

pub(super) fn explained_lookup<B: Backend>(
    state: &LayerState<B>,
    peeked: &Peeked,
    request: &request::Parts,
) -> ExplainedLookup {
    let stored = peeked.stored.as_ref();
    let rule = peeked.rule.as_ref();
    ExplainedLookup {
        is_private: peeked.is_private,
        is_for_parts: peeked.is_for_parts,
        verdict: peeked.verdict,
        stored: stored.map(|stored| explained_response(state, stored, request)),
        vary: rule.map_or_else(Vec::new, |rule| selecting_fields(rule, request)),
    }
}

fn selecting_fields(rule: &Arc<VaryRule>, request: &request::Parts) -> Vec<SelectingField> {
    let field = |name: &HeaderName| SelectingField {
        name: name.clone(),
        value: normalized_value(name, &request.headers)
            .map(|value| String::from_utf8_lossy(&value).into()),
    };
    rule.names().iter().map(field).collect()
}

fn explained_response<B: Backend>(
    state: &LayerState<B>,
    response: &StoredResponse,
    request: &request::Parts,
) -> ExplainedResponse {
    let (config, freshness) = (&state.config, response.freshness());
    let (mut head, ()) = Response::new(()).into_parts();
    (head.status, head.headers) = (response.status(), response.headers());
    // The hooks were asked when the response was stored: an explanation does not call them.
    let asked = Asked {
        head: RequestHead {
            method: &Method::GET,
            headers: &request.headers,
            kind: config.credential_fields.kind_of(&request.headers),
            at: freshness.received,
        },
        for_hooks: None,
        received: freshness.received,
        continued: None,
        is_assembled: false,
    };
    let rules = storing_rules(config, asked, &head);
    let rules = rules.map(|rules| StoringRules {
        shortened_by: config.ttl_jitter,
        ..rules
    });
    let answered = ResponseHead {
        status: head.status,
        headers: &head.headers,
        at: freshness.received,
    };
    ExplainedResponse {
        status: response.status(),
        body_length: response.body_length(),
        parts: response.parts().cloned(),
        age: freshness.age(state.now()),
        lifetime: freshness.lifetime,
        lifetime_rule: lifetime_rule(answered, &freshness, &rules.unwrap_or_default()),
        staleness: freshness.stale,
        etag: head.headers.get(ETAG).cloned(),
        groups: response.groups().len(),
        is_selected: selects(response, &request.headers),
    }
}

/// What is remembered of the keys that were looked up, and of requests like this one.
pub(super) fn notes<B: Backend>(
    state: &LayerState<B>,
    (peeked, primary_keys): (&[Peeked], [Option<CacheKey>; 2]),
    (request, kind): (&request::Parts, RequestKind),
) -> Vec<Note> {
    let (shared, now) = (&state.shared, state.now());
    let whole = peeked.iter().filter(|peeked| !peeked.is_for_parts);
    // Not all lookups of a request are made each time.
    let keys: Vec<_> = whole
        .map(|peeked| peeked.key)
        .chain(primary_keys.iter().flatten().copied())
        .collect();
    let is_covered = |key: &CacheKey| shared.write_grace.covers_resource(key.resource(), now);
    let is_failing = |key| shared.origin.failures.failing(key, now).next().is_some();
    let has_parts = |key: &CacheKey| state.is_partly_stored(key);
    let others: Vec<_> = [
        (keys.iter().any(is_covered), Note::WriteGrace),
        (
            primary_keys.iter().flatten().any(has_parts),
            Note::PartsStored,
        ),
        (keys.iter().any(is_failing), Note::OriginFailing),
    ]
    .into_iter()
    .filter_map(|(holds, note)| holds.then_some(note))
    .collect();
    refusal_note(state, &keys, (request, kind))
        .into_iter()
        .chain(others)
        .collect()
}

/// The refusal that is held against a request, or else the one of a request with other fields,
/// which may be of another kind.
fn refusal_note<B: Backend>(
    state: &LayerState<B>,
    keys: &[CacheKey],
    (request, own_kind): (&request::Parts, RequestKind),
) -> Option<Note> {
    let uncacheable = &state.shared.coalescing.uncacheable;
    let (now, digest) = (state.now(), || state.digest_of(&request.headers));
    let kinds = RequestKind::ALL.into_iter();
    let remembered = kinds.flat_map(|kind| {
        let of_kind = move |key: &CacheKey| {
            let found = uncacheable.last_refusal(NotedKey::new(key, kind), now, digest)?;
            Some((found.holds && kind == own_kind, found.refusal))
        };
        keys.iter().filter_map(of_kind)
    });
    // The one that holds, if any does.
    let (holds, refusal) = remembered.max_by_key(|(holds, _)| *holds)?;
    Some(match holds {
        true => Note::RefusedLately(refusal),
        false => Note::OthersRefused(refusal),
    })
}
