//! Looking up and judging what was found.

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;
use http::{HeaderMap, StatusCode, request};

use crate::backend::{Backend, BackendError, CacheKey, Lookup, StoredResponse};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, Refresh, Refusal, StaleUse};
use crate::semantics::verdict::{Found, Verdict, verdict};

use crate::service::parts::complete::HeldParts;
use crate::service::request::route::{OwnKey, Read};
use crate::state::Shared;
use crate::state::failure_log::Failed;

/// What becomes of a request, once the store was asked.
pub(crate) enum Seen<F> {
    Usable(Hit),
    /// The same, and it is to be fetched anew in the background.
    Renewable(Hit, Refresh, Miss<F>),
    Fetch(Miss<F>),
    GatewayTimeout,
}

/// A stored response that may be used now.
pub(crate) struct Hit {
    pub(crate) response: Arc<StoredResponse>,
    /// Seconds.
    pub(crate) age: u64,
    /// Seconds, negative once it is stale; `None` until invalidated.
    pub(crate) ttl: Option<i64>,
    /// Why it is used, if it is stale.
    pub(crate) stale: Option<StaleUse>,
}

impl Hit {
    pub(crate) fn fresh(
        response: Arc<StoredResponse>,
        age: Duration,
        left: Option<Duration>,
    ) -> Self {
        let seconds = age.as_secs();
        Self {
            response,
            age: seconds,
            // Whole seconds that add up to the lifetime, whatever fraction has passed.
            ttl: left.map(|left| ((age + left).as_secs() - seconds) as i64),
            stale: None,
        }
    }

    pub(crate) fn stale(response: Arc<StoredResponse>, now: Moment, of: StaleUse) -> Self {
        let freshness = response.freshness();
        let age = freshness.age(now).as_secs();
        let lifetime = freshness.lifetime;
        Self {
            age,
            ttl: lifetime.map(|lifetime| lifetime.as_secs() as i64 - age as i64),
            stale: Some(of),
            response,
        }
    }
}

/// Why the inner service is asked, and what its answer may do to the store.
pub(crate) struct Miss<F> {
    pub(crate) reason: FetchReason,
    pub(crate) fence: Option<F>,
    /// The key that was looked up last: the variant's, where it is known to be one.
    pub(crate) place: CacheKey,
    /// How many flights near it had been closed before that.
    pub(crate) completed_fills: u64,
    pub(crate) existing: Option<StatusCode>,
    pub(crate) stored: Stored,
    /// What is stored of it, where that is not the whole.
    pub(crate) parts: Option<HeldParts>,
    /// Why the answer is not stored, whatever it is.
    pub(crate) barred: Option<Refusal>,
}

/// What is stored for the very request that asks the inner service.
pub(crate) enum Stored {
    Nothing,
    /// It may stand in if that fails.
    Stale(Arc<StoredResponse>),
    /// It is fresh, but the request wants it to be validated.
    Fresh(Arc<StoredResponse>),
    /// The request was answered with it.
    InUse(Arc<StoredResponse>),
}

/// A call to the inner service whose response may be stored.
pub(crate) struct Fill<F> {
    pub(crate) miss: Miss<F>,
    pub(crate) key: OwnKey,
}

impl<F> Miss<F> {
    /// A number of closed flights that there never is: the lookup counts as outdated.
    pub(crate) const OUTDATED: u64 = u64::MAX;

    fn new(reason: FetchReason, fence: F, place: CacheKey, completed_fills: u64) -> Self {
        Self {
            reason,
            fence: Some(fence),
            place,
            completed_fills,
            existing: None,
            stored: Stored::Nothing,
            parts: None,
            barred: None,
        }
    }

    /// Notes what was found and will not do as it is.
    fn found(&mut self, response: Arc<StoredResponse>) {
        match self.reason {
            // What is stale is worth less than any answer.
            FetchReason::Stale => self.stored = Stored::Stale(response),
            // What is another's is none of ours.
            FetchReason::OtherKey => {}
            // Nor is a variant that is not this request's.
            FetchReason::VaryMiss => self.existing = Some(response.status()),
            _ => {
                self.existing = Some(response.status());
                self.stored = Stored::Fresh(response);
            }
        }
    }

    /// What is stored for the very request, fresh or not.
    pub(crate) fn held(&self) -> Option<&Arc<StoredResponse>> {
        match &self.stored {
            Stored::Nothing => None,
            Stored::Stale(held) | Stored::Fresh(held) | Stored::InUse(held) => Some(held),
        }
    }

    pub(crate) fn of(self, key: OwnKey) -> Fill<F> {
        Fill { miss: self, key }
    }
}

/// A lookup's result, with the key it ended at.
pub(crate) struct Looked<F> {
    pub(crate) lookup: Lookup<F>,
    pub(crate) place: CacheKey,
    completed_fills: u64,
}

impl<B: Backend> Shared<B> {
    /// The lookup that needs no waiting, where the backend has one.
    pub(crate) fn look_now(
        &self,
        read: &Read<'_>,
        request: &request::Parts,
    ) -> Option<Seen<B::Fence>> {
        let now = self.now();
        let completed_fills = self.core.flights.completed_fills(&read.key);
        let backend = &self.core.backend;
        let (lookup, place) = match backend.get_now(&read.key)? {
            Lookup::Varies(rule, _) => {
                let headers = &request.headers;
                let key = read.key.variant_for(&self.core.seed, &rule, headers);
                (backend.get_now(&key)?, key)
            }
            lookup => (lookup, read.key),
        };
        let looked = Looked {
            lookup,
            place,
            completed_fills,
        };
        let same = |identity: &[u8]| read.parts.is(&self.config.scope, identity);
        Some(self.judge(looked, same, &read.directives, &request.headers, now))
    }

    /// The lookup that waits. A backend that fails is a miss that is not stored.
    pub(crate) async fn look(&self, key: &OwnKey, headers: &HeaderMap) -> Seen<B::Fence> {
        let looked = match self.look_twice(&key.key, headers, self.now()).await {
            Ok(looked) => looked,
            Err(error) => {
                self.backend_failed(Failed::Lookup, &error);
                if key.directives.only_if_cached {
                    return Seen::GatewayTimeout;
                }
                return Seen::Fetch(Miss {
                    reason: FetchReason::BackendFailed,
                    fence: None,
                    place: key.key,
                    completed_fills: 0,
                    existing: None,
                    stored: Stored::Nothing,
                    parts: None,
                    barred: None,
                });
            }
        };
        let same = |identity: &[u8]| identity == &*key.identity;
        self.judge(looked, same, &key.directives, headers, self.now())
    }

    pub(crate) async fn look_twice(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<Looked<B::Fence>, BackendError> {
        let completed_fills = self.core.flights.completed_fills(key);
        let backend = &self.core.backend;
        let (lookup, place) = match backend.get(key, now).await? {
            Lookup::Varies(rule, _) => {
                let variant = key.variant_for(&self.core.seed, &rule, headers);
                (backend.get(&variant, now).await?, variant)
            }
            lookup => (lookup, *key),
        };
        Ok(Looked {
            lookup,
            place,
            completed_fills,
        })
    }

    fn judge(
        &self,
        looked: Looked<B::Fence>,
        same: impl Fn(&[u8]) -> bool,
        asked: &RequestDirectives,
        headers: &HeaderMap,
        now: Moment,
    ) -> Seen<B::Fence> {
        let (response, fence) = match looked.lookup {
            Lookup::Found(response, fence) => (Some(response), fence),
            Lookup::Varies(_, fence) | Lookup::Miss(fence) => (None, fence),
        };
        // Then a rule for variants stood in the way.
        let varies = looked.place != looked.place.primary();
        let found = match &response {
            None if varies => Found::OtherVariant,
            None => Found::Nothing,
            Some(response) if !same(response.identity()) => Found::OtherKey,
            Some(response) if !selects(response, headers) => Found::OtherVariant,
            Some(response) => Found::Response(response.freshness()),
        };
        let verdict = verdict(asked, found, now);
        let place = looked.place;
        let miss = |reason: FetchReason| Miss::new(reason, fence, place, looked.completed_fills);
        match (verdict, response) {
            (Verdict::Fresh { age, left }, Some(response)) => {
                let is_early = self.is_early(&response, left);
                let hit = Hit::fresh(response, age, left);
                if !is_early {
                    return Seen::Usable(hit);
                }
                let miss = miss(FetchReason::Stale);
                self.seen_due(hit, Refresh::Early, miss, asked, headers, now)
            }
            (Verdict::StaleWhileRevalidate, Some(response)) => {
                let mut miss = miss(FetchReason::Stale);
                miss.stored = Stored::Stale(response.clone());
                let hit = Hit::stale(response, now, StaleUse::WhileRevalidate);
                self.seen_due(hit, Refresh::Stale, miss, asked, headers, now)
            }
            (Verdict::MaxStale, Some(response)) => {
                Seen::Usable(Hit::stale(response, now, StaleUse::MaxStale))
            }
            // Stored parts may do.
            (Verdict::GatewayTimeout, None) if headers.contains_key(RANGE) => {
                Seen::Fetch(miss(FetchReason::UriMiss))
            }
            (Verdict::GatewayTimeout, _) => Seen::GatewayTimeout,
            (Verdict::Fetch(reason), response) => {
                let mut miss = miss(reason);
                match response {
                    Some(response) => miss.found(response),
                    // A rule stands for responses of its variants, which an answer without one would push out.
                    None => miss.existing = varies.then_some(StatusCode::OK),
                }
                Seen::Fetch(miss)
            }
            (_, None) => unreachable!("only a response can be used"),
        }
    }
}

pub(crate) fn selects(response: &StoredResponse, headers: &HeaderMap) -> bool {
    response
        .selected()
        .is_none_or(|selected| selected.matches(headers))
}
