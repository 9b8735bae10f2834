//! Lookups that leave no trace, for an explanation. They keep what they have found.

use std::sync::Arc;

use http::HeaderMap;

use super::explanation::Verdict;
use crate::backend::{Backend, Lookup, StoredResponse, VaryRule};
use crate::key::CacheKey;
use crate::semantics::reason::FetchReason;
use crate::service::fill_data::{HeldParts, Hit};
use crate::service::lookup::lookups::{Lookups, usable_parts};
use crate::service::lookup::{CacheAnswer, LookupOutcome, judge_found, without_backend};
use crate::service::request::preconditions::Preconditions;
use crate::service::request::route::RequestKey;
use crate::state::LayerState;

/// One lookup, and what it has found.
pub(super) struct Peeked {
    /// The key that was looked up last.
    pub(super) key: CacheKey,
    pub(super) is_private: bool,
    pub(super) is_for_parts: bool,
    /// What the request would get, if there were no other lookup.
    pub(super) verdict: Verdict,
    /// The response that was found, unless it belongs to another key.
    pub(super) stored: Option<Arc<StoredResponse>>,
    /// The rule that selects between the responses of the key, if there are several.
    pub(super) rule: Option<Arc<VaryRule>>,
}

/// Looks up by [`peek`](Backend::peek): no body is read, and nothing is counted or remembered.
#[derive(Default)]
pub(super) struct Peeking {
    lookups: Vec<Peeked>,
}

impl Peeking {
    /// The lookups, in their order.
    pub(super) fn into_peeked(self) -> Vec<Peeked> {
        self.lookups
    }

    /// The key of the last lookup.
    pub(super) fn last_key(&self) -> Option<CacheKey> {
        self.lookups.last().map(|peeked| peeked.key)
    }

    fn note(
        &mut self,
        key: &RequestKey,
        lookup_key: CacheKey,
        found: Option<&Arc<StoredResponse>>,
        rule: Option<Arc<VaryRule>>,
    ) -> &mut Peeked {
        let own = found.filter(|found| found.identity() == &*key.identity);
        let own_rule = found.and_then(|found| found.vary_rule());
        self.lookups.push(Peeked {
            key: lookup_key,
            is_private: key.is_in_partition(),
            is_for_parts: false,
            verdict: Verdict::Fetch(FetchReason::UriMiss),
            stored: own.cloned(),
            rule: own_rule.cloned().or(rule),
        });
        let last = self.lookups.len() - 1;
        &mut self.lookups[last]
    }
}

impl<B: Backend> Lookups<B> for Peeking {
    async fn find(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
        _: Preconditions<'_>,
    ) -> LookupOutcome<B::Fence> {
        let store = &state.shared.store;
        let Ok((lookup, lookup_key, rule)) = store.peek(&key.key, headers, state.now()).await
        else {
            let peeked = self.note(key, key.key, None, None);
            peeked.verdict = Verdict::Fetch(FetchReason::BackendFailed);
            return without_backend(key);
        };
        let found = match &lookup {
            Lookup::Found(response, _) => Some(response.clone()),
            _ => None,
        };
        let outcome = judge_found(state, key, headers, (lookup, lookup_key));
        let peeked = self.note(key, lookup_key, found.as_ref(), rule);
        peeked.verdict = match &outcome {
            LookupOutcome::Answer(CacheAnswer::Hit(hit) | CacheAnswer::HitAndRefresh(hit, _)) => {
                hit_verdict(hit)
            }
            LookupOutcome::Fetch(miss) => Verdict::Fetch(miss.reason),
        };
        outcome
    }

    async fn find_parts(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
    ) -> Option<HeldParts<B::Fence>> {
        let store = &state.shared.store;
        let parts_key = key.key.for_partial_content(&store.seed);
        let peeked = store.peek(&parts_key, headers, state.now()).await;
        let failed = peeked.is_err();
        let held = peeked.ok().and_then(|(lookup, lookup_key, rule)| {
            Some((usable_parts(lookup, lookup_key, key, headers)?, rule))
        });
        let found = held.as_ref().map(|(held, _)| &held.response);
        let lookup_key = held.as_ref().map_or(parts_key, |(held, _)| held.lookup_key);
        let rule = held.as_ref().and_then(|(_, rule)| rule.clone());
        let peeked = self.note(key, lookup_key, found, rule);
        peeked.is_for_parts = true;
        peeked.verdict = match (failed, found) {
            (true, _) => Verdict::Fetch(FetchReason::BackendFailed),
            (false, None) => Verdict::Fetch(FetchReason::UriMiss),
            // Unless there is a reason why they do not.
            (false, Some(_)) => Verdict::Hit,
        };
        held.map(|(held, _)| held)
    }

    fn can_repeat(&self, state: &LayerState<B>) -> bool {
        state.shared.origin.can_repeat()
    }

    fn note_useless_parts(&mut self, reason: FetchReason) {
        if let Some(last) = self.lookups.last_mut() {
            last.verdict = Verdict::Fetch(reason);
        }
    }
}

/// The verdict on a request that a stored response answers.
pub(super) fn hit_verdict(hit: &Hit) -> Verdict {
    hit.reuse.stale.map_or(Verdict::Hit, Verdict::StaleHit)
}
