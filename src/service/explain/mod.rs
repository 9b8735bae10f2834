//! What the cache would do with a request, and why, without doing it.
//!
//! ```text
//! classify (request) -> decide: lookups that leave no trace (peek) and who_answers (lookup),
//!                               then what becomes of a miss (foresee)
//!                    -> describe: key, lookups, stored responses, notes
//! ```
//!
//! All is decided by the functions that serve requests; there is no rule here. Nothing is stored,
//! counted or refreshed, and the inner service is out of reach. Start reading with [`explain`].

mod decide;
mod describe;
mod explanation;
mod foresee;
mod peek;

use http::{StatusCode, request};

use crate::backend::Backend;
use crate::key::normal_path::normal_path;
use crate::semantics::reuse::Selection;
use crate::state::LayerState;

use self::decide::decide;
use self::describe::{explained_key, explained_lookup, notes};
use self::peek::{Peeked, Peeking};
use super::compress::Demand;
use super::request::route::{RequestKey, Route, classify};

pub use self::explanation::{
    ExplainedKey, ExplainedLookup, ExplainedResponse, Explanation, Note, SelectingField, Verdict,
};

/// Explains what the cache would do with a request.
pub(crate) async fn explain<B: Backend>(
    state: &LayerState<B>,
    request: &request::Parts,
) -> Explanation {
    let (config, seed) = (&state.config, &state.shared.store.seed);
    let mut request = request.clone();
    config.take_ignored_cookies(&mut request.headers);
    // Its form is not explained: the request is one for the identity.
    drop(Demand::take(&config.compress, &mut request));
    let (explained_key, (mut key, form)) = match classify(config, seed, &request) {
        Route::Read(read) => {
            let resource = *read.key.resource();
            let explained = explained_key(state, &read.parts, resource);
            (explained, read.into_key(config, seed, &request))
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
    if form.apply(config, &mut request).is_err() {
        key.note_unsendable(None);
    }
    explain_read(state, request, key, explained_key).await
}

/// The explanation of a request for which nothing is looked up.
fn without_lookup(verdict: Verdict, key: Option<ExplainedKey>) -> Explanation {
    Explanation {
        verdict,
        status: own_status(verdict),
        ranges: Vec::new(),
        refresh: None,
        key,
        lookups: Vec::new(),
        stored: None,
        vary: Vec::new(),
        notes: Vec::new(),
    }
}

/// The status of an answer that the cache itself makes.
fn own_status(verdict: Verdict) -> Option<StatusCode> {
    match verdict {
        Verdict::GatewayTimeout(_) => Some(StatusCode::GATEWAY_TIMEOUT),
        Verdict::BadRequest => Some(StatusCode::BAD_REQUEST),
        Verdict::FailedWrite => Some(StatusCode::INTERNAL_SERVER_ERROR),
        _ => None,
    }
}

/// Explains a GET or HEAD: looks it up as a request is, and describes what was found.
async fn explain_read<B: Backend>(
    state: &LayerState<B>,
    request: request::Parts,
    key: RequestKey,
    explained_key: ExplainedKey,
) -> Explanation {
    let primary_keys = [Some(key.key), key.partition_key().map(|own| own.key)];
    let mut lookups = Peeking::default();
    let kind = key.kind(&state.config.credential_fields, &request.headers);
    let decided = decide(state, &mut lookups, &request, key).await;
    let (status, ranges) = decided
        .content
        .map(|(status, content)| match content {
            Selection::Whole => (status, Vec::new()),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, Vec::new()),
            Selection::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new()),
            Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, vec![range]),
            Selection::Parts(ranges) => (StatusCode::PARTIAL_CONTENT, ranges),
        })
        .unzip();
    let peeked = lookups.into_peeked();
    let explained: Vec<_> = peeked
        .iter()
        .map(|peeked| explained_lookup(state, peeked, &request))
        .collect();
    let is_deciding = |peeked: &Peeked| peeked.key == decided.lookup_key;
    let deciding = peeked.iter().rposition(is_deciding);
    let deciding = deciding.map(|place| explained[place].clone());
    let (stored, vary) = deciding.map_or_else(Default::default, |it| (it.stored, it.vary));
    Explanation {
        status: status.or(own_status(decided.verdict)),
        ranges: ranges.unwrap_or_default(),
        refresh: decided.refresh,
        notes: notes(state, (&peeked, primary_keys), (&request, kind)),
        lookups: explained,
        stored,
        vary,
        ..without_lookup(decided.verdict, Some(explained_key))
    }
}
