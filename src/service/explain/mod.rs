//! What the cache would do with a request, and why, without doing it.
//!
//! The route is decided by `request`, the use of a stored response by `lookup`, and the lifetime by
//! `semantics`, all by the functions that serve requests. Nothing is stored, counted or refreshed
//! here, and the inner service is out of reach. Start reading with [`explain`].

mod explanation;

use std::sync::Arc;

use http::header::ETAG;
use http::{HeaderName, Method, Response, request};

use crate::backend::{Backend, StoredResponse, VaryRule};
use crate::key::normal_path::normal_path;
use crate::key::{KeyParts, Resource};
use crate::semantics::reason::{Bypass, FetchReason};
use crate::semantics::storing::{RequestHead, ResponseHead, StoringRules, lifetime_rule};
use crate::semantics::vary::normalized_value;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;

use super::fill_data::Hit;
use super::lookup::examine::{Examined, examine};
use super::lookup::{CacheAnswer, LookupOutcome, selects};
use super::request::route::{RequestKey, Route, classify};
use super::storing_permission::{Asked, storing_rules};

pub use self::explanation::{
    ExplainedKey, ExplainedResponse, Explanation, Note, SelectingField, Verdict,
};

/// Explains what the cache would do with a request.
pub(crate) async fn explain<B: Backend>(
    state: &LayerState<B>,
    request: &request::Parts,
) -> Explanation {
    let (config, seed) = (&state.config, &state.shared.store.seed);
    let mut request = request.clone();
    config.take_ignored_cookies(&mut request.headers);
    let (explained_key, (key, form)) = match classify(config, seed, &request) {
        Route::Read(read) => {
            let resource = *read.key.resource();
            let explained = explained_key(state, &read.parts, resource);
            (
                explained,
                read.into_key(config, &state.shared.store.seed, &request),
            )
        }
        Route::Content(read) => {
            let explained = explained_key(state, &read.parts, *read.key.resource());
            return without_lookup(Verdict::ByContent, Some(explained));
        }
        Route::Write(target) => {
            let key = ExplainedKey {
                scheme: target.scheme,
                query: None,
                resource: target.resource,
                site: config.sites.site_of(&target.authority).into(),
                resource_path: normal_path(&target.path).into(),
                authority: target.authority,
                path: target.path,
            };
            return without_lookup(Verdict::Write, Some(key));
        }
        Route::Bypass(reason) => return without_lookup(Verdict::Bypass(reason), None),
        Route::Refuse => return without_lookup(Verdict::BadRequest, None),
        Route::FailWrite => return without_lookup(Verdict::FailedWrite, None),
    };
    let can_be_sent = form.apply(config, &mut request).is_ok();
    let mut explanation = without_lookup(
        Verdict::Fetch(FetchReason::BackendFailed),
        Some(explained_key),
    );
    explanation.notes = notes(state, &key, &request);
    if let Ok(examined) = examine(state, &key, &request.headers).await {
        add_lookup(state, &mut explanation, examined, &key, &request);
    }
    if !can_be_sent && !explanation.verdict.is_hit() {
        explanation.verdict = Verdict::Bypass(Bypass::HookPanicked);
    }
    explanation
}

/// The explanation of a request for which nothing is looked up.
fn without_lookup(verdict: Verdict, key: Option<ExplainedKey>) -> Explanation {
    Explanation {
        verdict,
        refresh: None,
        key,
        stored: None,
        vary: Vec::new(),
        notes: Vec::new(),
    }
}

fn explained_key<B: Backend>(
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

/// Adds what the lookup has found.
fn add_lookup<B: Backend>(
    state: &LayerState<B>,
    explanation: &mut Explanation,
    examined: Examined<B::Fence>,
    key: &RequestKey,
    request: &request::Parts,
) {
    (explanation.verdict, explanation.refresh) = match &examined.outcome {
        LookupOutcome::Fetch(miss) => (Verdict::Fetch(miss.reason), None),
        LookupOutcome::Answer(CacheAnswer::GatewayTimeout) => (Verdict::GatewayTimeout, None),
        LookupOutcome::Answer(CacheAnswer::Hit(hit)) => (hit_verdict(hit), None),
        LookupOutcome::Answer(CacheAnswer::HitAndRefresh(hit, due)) => {
            (hit_verdict(hit), Some(due.reason))
        }
    };
    if let Some(rule) = &examined.rule {
        explanation.vary = selecting_fields(rule, request);
    }
    // A response of another key is none of this one.
    let found = examined.found;
    let own = found.filter(|found| found.identity() == &*key.identity);
    explanation.stored = own.map(|found| explained_response(state, &found, request));
}

fn hit_verdict(hit: &Hit) -> Verdict {
    hit.reuse.stale.map_or(Verdict::Hit, Verdict::StaleHit)
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
        age: freshness.age(state.now()),
        lifetime: freshness.lifetime,
        lifetime_rule: lifetime_rule(answered, &freshness, &rules.unwrap_or_default()),
        staleness: freshness.stale,
        etag: head.headers.get(ETAG).cloned(),
        groups: response.groups().len(),
        is_selected: selects(response, &request.headers),
    }
}

/// What is remembered of a key and of requests like this one.
fn notes<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    request: &request::Parts,
) -> Vec<Note> {
    let (shared, now) = (&state.shared, state.now());
    let kind = key.kind(&state.config.credential_fields, &request.headers);
    let noted = NotedKey::new(&key.key, kind);
    let digest = || state.digest_of(&request.headers);
    let uncacheable = &shared.coalescing.uncacheable;
    let mut failing = shared.origin.failures.failing(&key.key, now);
    let grace = &shared.write_grace;
    [
        (
            uncacheable.contains(noted, now, digest),
            Note::RefusedLately,
        ),
        (
            grace.covers_resource(key.key.resource(), now),
            Note::WriteGrace,
        ),
        (state.is_partly_stored(&key.key), Note::PartsStored),
        (failing.next().is_some(), Note::OriginFailing),
    ]
    .into_iter()
    .filter_map(|(holds, note)| holds.then_some(note))
    .collect()
}
