//! Decides what a read ends with, by the functions that serve requests.

use http::{Request, StatusCode, request};

use super::explanation::Verdict;
use super::foresee::{Prospect, foresee};
use super::peek::{Peeking, hit_verdict};
use crate::backend::Backend;
use crate::key::CacheKey;
use crate::semantics::reason::Refresh;
use crate::semantics::reuse::Selection;
use crate::service::fill_data::{Fill, Hit};
use crate::service::lookup::lookups::Lookups;
use crate::service::lookup::who_answers::{Answerer, who_answers};
use crate::service::lookup::{CacheAnswer, LookupOutcome};
use crate::service::refresh::may_begin_refresh;
use crate::service::request::preconditions::Preconditions;
use crate::service::request::route::RequestKey;
use crate::service::select::stored::selection_for;
use crate::state::LayerState;

/// What a read ends with.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    /// What the client gets of a stored response that answers.
    pub(super) content: Option<(StatusCode, Selection)>,
    pub(super) refresh: Option<Refresh>,
    /// The key of the lookup that decides.
    pub(super) lookup_key: CacheKey,
}

/// Decides on a read by the functions that serve requests.
pub(super) async fn decide<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut Peeking,
    request: &request::Parts,
    key: RequestKey,
) -> Decided {
    let (method, headers) = (&request.method, &request.headers);
    let preconditions = key.preconditions(request);
    let (fill, answerer) = match lookups.find(state, &key, headers, preconditions).await {
        LookupOutcome::Answer(found) => {
            let lookup_key = lookups.last_key().unwrap_or(key.key);
            let found = found.with_refresh_if(key.can_be_sent());
            return answered(state, found, preconditions, lookup_key);
        }
        LookupOutcome::Fetch(miss) => {
            let mut fill = miss.with_key(key);
            let answerer = who_answers(state, lookups, &mut fill, method, headers).await;
            (fill, answerer)
        }
    };
    let verdict = match answerer {
        Answerer::Store(found) => {
            let lookup_key = lookups.last_key().unwrap_or(fill.miss.lookup_key);
            let preconditions = fill.key.preconditions(request);
            return answered(state, found, preconditions, lookup_key);
        }
        Answerer::GatewayTimeout(reason) => Verdict::GatewayTimeout(reason),
        Answerer::Bypass(reason) => Verdict::Bypass(reason),
        Answerer::Service => return decide_on_fill(state, lookups, request, fill).await,
    };
    Decided {
        verdict,
        content: None,
        refresh: None,
        lookup_key: deciding_key(&fill),
    }
}

/// Decides on a read that no stored response answers, as `coalesce` does.
async fn decide_on_fill<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut Peeking,
    request: &request::Parts,
    mut fill: Box<Fill<B::Fence>>,
) -> Decided {
    let mut request = Request::from_parts(request.clone(), ());
    let (prospect, outgoing) = foresee(state, lookups, &mut request, &mut fill).await;
    let verdict = match prospect {
        Prospect::Hit(hit, refresh) => {
            let preconditions = outgoing.preconditions();
            let decided = hit_with(&hit, preconditions, fill.miss.lookup_key);
            return Decided { refresh, ..decided };
        }
        Prospect::Waits => Verdict::Wait(fill.miss.reason),
        Prospect::Calls => Verdict::Fetch(fill.miss.reason),
    };
    Decided {
        verdict,
        content: None,
        refresh: None,
        lookup_key: deciding_key(&fill),
    }
}

/// The key of the lookup that gives the reason of a miss.
fn deciding_key<F>(fill: &Fill<F>) -> CacheKey {
    let held = fill.miss.parts.as_ref();
    let completed = held.filter(|held| held.completion.is_some());
    completed.map_or(fill.miss.lookup_key, |held| held.lookup_key)
}

/// The decision that a stored response answers.
fn answered<B: Backend>(
    state: &LayerState<B>,
    answer: CacheAnswer<B::Fence>,
    preconditions: Preconditions<'_>,
    lookup_key: CacheKey,
) -> Decided {
    match answer {
        CacheAnswer::Hit(hit) => hit_with(&hit, preconditions, lookup_key),
        CacheAnswer::HitAndRefresh(hit, due) => Decided {
            refresh: may_begin_refresh(state, &due).then_some(due.reason),
            ..hit_with(&hit, preconditions, lookup_key)
        },
    }
}

fn hit_with(hit: &Hit, preconditions: Preconditions<'_>, lookup_key: CacheKey) -> Decided {
    let selection = selection_for(&hit.response, preconditions);
    Decided {
        verdict: hit_verdict(hit),
        content: Some((hit.response.status(), selection)),
        refresh: None,
        lookup_key,
    }
}
