//! Looking up and judging what was found.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, request};

use crate::backend::{Backend, CacheKey, Lookup, StoredResponse};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, Refusal};
use crate::semantics::verdict::{Found, Verdict, verdict};

use super::admission::{OwnKey, Read};
use super::shared::Shared;

/// What becomes of a request, once the store was asked.
pub(super) enum Seen<F> {
    Fresh(Hit),
    Fetch(Miss<F>),
    GatewayTimeout,
}

/// A stored response that may be used now.
pub(super) struct Hit {
    pub(super) response: Arc<StoredResponse>,
    /// Seconds.
    pub(super) age: u64,
    /// Seconds; `None` until invalidated.
    pub(super) left: Option<u64>,
}

/// Why the inner service is asked, and what its answer may do to the store.
pub(super) struct Miss<F> {
    pub(super) reason: FetchReason,
    pub(super) fence: Option<F>,
    pub(super) existing: Option<StatusCode>,
    /// Why the answer is not stored, whatever it is.
    pub(super) barred: Option<Refusal>,
}

/// A call to the inner service whose response may be stored.
pub(super) struct Fill<F> {
    pub(super) miss: Miss<F>,
    pub(super) key: OwnKey,
}

impl<F> Miss<F> {
    pub(super) fn of(self, key: OwnKey) -> Fill<F> {
        Fill { miss: self, key }
    }
}

/// A lookup's result, with whether a rule for variants stood in its way.
struct Looked<F> {
    lookup: Lookup<F>,
    varies: bool,
}

impl<B: Backend> Shared<B> {
    /// The lookup that needs no waiting, where the backend has one.
    pub(super) fn look_now(
        &self,
        read: &Read<'_>,
        request: &request::Parts,
    ) -> Option<Seen<B::Fence>> {
        let now = self.now();
        let backend = &self.core.backend;
        let looked = match backend.get_now(&read.key)? {
            Lookup::Varies(rule, _) => {
                let key = read
                    .key
                    .variant_for(&self.core.seed, &rule, &request.headers);
                Looked {
                    lookup: backend.get_now(&key)?,
                    varies: true,
                }
            }
            lookup => Looked {
                lookup,
                varies: false,
            },
        };
        let same = |identity: &[u8]| read.parts.is(&self.config.scope, identity);
        Some(self.judge(looked, same, &read.directives, &request.headers, now))
    }

    /// The lookup that waits. A backend that fails is a miss that is not stored.
    pub(super) async fn look(&self, key: &OwnKey, headers: &HeaderMap) -> Seen<B::Fence> {
        let looked = match self.look_twice(&key.key, headers).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a lookup failed");
                if key.directives.only_if_cached {
                    return Seen::GatewayTimeout;
                }
                return Seen::Fetch(Miss {
                    reason: FetchReason::BackendFailed,
                    fence: None,
                    existing: None,
                    barred: None,
                });
            }
        };
        let same = |identity: &[u8]| identity == &*key.identity;
        self.judge(looked, same, &key.directives, headers, self.now())
    }

    async fn look_twice(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
    ) -> Result<Looked<B::Fence>, crate::backend::BackendError> {
        let backend = &self.core.backend;
        match backend.get(key).await? {
            Lookup::Varies(rule, _) => {
                let key = key.variant_for(&self.core.seed, &rule, headers);
                let lookup = backend.get(&key).await?;
                Ok(Looked {
                    lookup,
                    varies: true,
                })
            }
            lookup => Ok(Looked {
                lookup,
                varies: false,
            }),
        }
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
        let found = match &response {
            None if looked.varies => Found::OtherVariant,
            None => Found::Nothing,
            Some(response) if !same(response.identity()) => Found::OtherKey,
            Some(response) if !selects(response, headers) => Found::OtherVariant,
            Some(response) => Found::Response(response.freshness()),
        };
        match (
            verdict(asked, found, now, self.config.obeys_client),
            response,
        ) {
            (Verdict::Fresh { age, left }, Some(response)) => Seen::Fresh(Hit {
                response,
                age: age.as_secs(),
                // Whole seconds that add up to the lifetime, whatever fraction has passed.
                left: left.map(|left| (age + left).as_secs() - age.as_secs()),
            }),
            (Verdict::GatewayTimeout, _) => Seen::GatewayTimeout,
            (Verdict::Fetch(reason), response) => Seen::Fetch(Miss {
                reason,
                fence: Some(fence),
                existing: match (reason, response) {
                    // What is stale cannot be served any more, what is another's is none of ours.
                    (FetchReason::Stale | FetchReason::OtherKey, _) => None,
                    (_, Some(response)) => Some(response.status()),
                    // A rule stands for responses of its variants, which an answer without one would push out.
                    (_, None) => looked.varies.then_some(StatusCode::OK),
                },
                barred: None,
            }),
            (Verdict::Fresh { .. }, None) => unreachable!("only a response is fresh"),
        }
    }
}

fn selects(response: &StoredResponse, headers: &HeaderMap) -> bool {
    response
        .selected()
        .is_none_or(|selected| selected.matches(headers))
}
