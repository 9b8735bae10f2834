//! Lookups in the store: of a key, then of the variant that a request selects (RFC 9111 §4.1).

use std::future::Future;
use std::sync::Arc;

use http::HeaderMap;

use crate::backend::{Backend, BackendError, Lookup, StoredResponse, VaryRule};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::vary::{VarySelection, content_language};
use crate::state::layer_state::Store;

impl<B: Backend> Store<B> {
    /// Looks a key up without waiting, then its variant for these request fields. Returns the
    /// result with the key it was found under, or `None` where the backend needs waiting for.
    pub(crate) fn lookup_now(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
    ) -> Option<(Lookup<B::Fence>, CacheKey)> {
        match self.backend.get_now(key)? {
            Lookup::Varies(rule, _) => {
                let variant = key.variant_for(&self.seed, &rule, headers);
                if variant.is_unselected() {
                    return Some((Lookup::Unfenced, variant));
                }
                let mut lookup = self.backend.get_now(&variant)?;
                if let Some(other) = self.other_variant(&lookup, &rule, key, headers) {
                    lookup = preferred(lookup, self.backend.get_now(&other)?, headers);
                }
                Some((lookup, variant))
            }
            lookup => Some((lookup, *key)),
        }
    }

    /// Looks a key up, then its variant for these request fields (RFC 9111 §4.1). Returns the
    /// result with the key it was found under.
    pub(crate) fn lookup_with_vary(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
        now: Moment,
    ) -> impl Future<Output = Result<(Lookup<B::Fence>, CacheKey), BackendError>> + Send {
        let expected = self.expected_variant(key, headers);
        // No `async fn`, which would hold its arguments twice.
        async move {
            let (found, found_variant) = match &expected {
                // Boxed, as what follows a rule: it would make each hit larger.
                Some((_, variant)) => {
                    Box::pin(self.backend.get_with_variant(key, variant, now)).await?
                }
                None => (self.backend.get(key, now).await?, None),
            };
            match found {
                Lookup::Varies(rule, _) => {
                    let expected = expected.filter(|(expected, _)| *expected == rule);
                    let expected = expected.map(|(_, variant)| (variant, found_variant));
                    Box::pin(self.lookup_variant(key, rule, expected, (headers, now))).await
                }
                lookup => {
                    if expected.is_some() {
                        self.rules.forget(key);
                    }
                    Ok((lookup, *key))
                }
            }
        }
    }

    /// Looks up the variant of a key for these request fields, unless it has been found with its
    /// rule.
    async fn lookup_variant(
        &self,
        key: &CacheKey,
        rule: Arc<VaryRule>,
        expected: Option<(CacheKey, Option<Lookup<B::Fence>>)>,
        (headers, now): (&HeaderMap, Moment),
    ) -> Result<(Lookup<B::Fence>, CacheKey), BackendError> {
        let (variant, found) = expected.unwrap_or_else(|| {
            self.rules.remember(key, &rule);
            (key.variant_for(&self.seed, &rule, headers), None)
        });
        if variant.is_unselected() {
            return Ok((Lookup::Unfenced, variant));
        }
        let mut lookup = match found {
            Some(lookup) => lookup,
            None => self.backend.get(&variant, now).await?,
        };
        if let Some(other) = self.other_variant(&lookup, &rule, key, headers) {
            lookup = preferred(lookup, self.backend.get(&other, now).await?, headers);
        }
        Ok((lookup, variant))
    }

    /// Looks a key up as [`lookup_with_vary`](Self::lookup_with_vary) does, without a trace in the
    /// backend or here. Returns the rule of the key as well.
    pub(crate) async fn peek(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<(Lookup<B::Fence>, CacheKey, Option<Arc<VaryRule>>), BackendError> {
        let rule = match self.backend.peek(key, now).await? {
            Lookup::Varies(rule, _) => rule,
            lookup => return Ok((lookup, *key, None)),
        };
        let variant = key.variant_for(&self.seed, &rule, headers);
        if variant.is_unselected() {
            return Ok((Lookup::Unfenced, variant, Some(rule)));
        }
        let mut lookup = self.backend.peek(&variant, now).await?;
        if let Some(other) = self.other_variant(&lookup, &rule, key, headers) {
            lookup = preferred(lookup, self.backend.peek(&other, now).await?, headers);
        }
        Ok((lookup, variant, Some(rule)))
    }

    /// The variant that a key is expected to lead to for these request fields, with the rule that
    /// says so.
    fn expected_variant(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
    ) -> Option<(Arc<VaryRule>, CacheKey)> {
        let rule = self.rules.find(key)?;
        let variant = key.variant_for(&self.seed, &rule, headers);
        (!variant.is_unselected()).then_some((rule, variant))
    }

    /// The key of another variant, which may be in the language that the request prefers, where
    /// nothing is stored for the request's own list of languages.
    fn other_variant(
        &self,
        lookup: &Lookup<B::Fence>,
        rule: &VaryRule,
        key: &CacheKey,
        headers: &HeaderMap,
    ) -> Option<CacheKey> {
        let is_missing = matches!(lookup, Lookup::Miss(_)) && rule.selects_by_language();
        is_missing
            .then(|| self.languages.find(key, headers))
            .flatten()
    }
}

/// The result of looking another variant up, if it may be used; otherwise that of the request's
/// own.
fn preferred<F>(own: Lookup<F>, other: Lookup<F>, headers: &HeaderMap) -> Lookup<F> {
    match &other {
        Lookup::Found(response, _) if selects(response, headers) => other,
        _ => own,
    }
}

/// Whether the selecting fields of a stored response match these request fields, or the request
/// prefers its language (RFC 9111 §4.1).
#[inline(always)]
pub(crate) fn selects(response: &StoredResponse, headers: &HeaderMap) -> bool {
    match response.vary_selection() {
        // As most responses.
        None => true,
        Some(selected) => is_selected(response, selected, headers),
    }
}

#[inline(never)]
fn is_selected(response: &StoredResponse, selected: &VarySelection, headers: &HeaderMap) -> bool {
    selected.matches(headers)
        || selected.matches_by_language(headers, || content_language(&response.headers()))
}
