//! The decision to answer a request from the store, or to fetch (RFC 9111 §4).

use std::time::Duration;

use super::stale_use::may_use_stale;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::freshness::{Freshness, StoredTimes};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, StaleUse};

/// What a lookup found.
///
/// A response to another request and a stale response are different cases: only the latter can be
/// validated or served stale.
#[derive(Clone, Copy, Debug)]
pub enum Candidate<'a, T = Freshness> {
    /// No response.
    Absent,
    /// A response of another key with the same digest.
    OtherKey,
    /// A response that other values of the selecting fields selected (RFC 9111 §4.1).
    OtherVariant,
    /// None: the selecting fields of the request are too long to be compared.
    BeyondLimit,
    /// A refusal of other credentials than those of the request.
    OtherCredentials,
    /// A response to this request.
    Response(&'a T),
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseDecision {
    /// From the store, fresh.
    Fresh {
        /// The current age (RFC 9111 §4.2.3).
        age: Duration,
        /// The rest of the lifetime. `None`: fresh until it is invalidated.
        left: Option<Duration>,
    },
    /// From the store, stale, while a refresh runs in the background (RFC 5861 §3).
    StaleWhileRevalidate,
    /// From the store, stale, because the request accepts it (RFC 9111 §5.2.1.2).
    MaxStale,
    /// From the inner service.
    Fetch(FetchReason),
    /// 504: the request has `only-if-cached`, and for this reason the response may not be used (RFC
    /// 9111 §5.2.1.7).
    GatewayTimeout(FetchReason),
}

/// Decides how a request with these directives is answered, given what the lookup found.
#[must_use]
pub fn decide_reuse<T: StoredTimes>(
    request: &RequestDirectives,
    candidate: Candidate<'_, T>,
    now: Moment,
) -> ReuseDecision {
    let reason = match candidate {
        Candidate::Absent => FetchReason::UriMiss,
        Candidate::OtherKey => FetchReason::OtherKey,
        Candidate::OtherVariant => FetchReason::VaryMiss,
        Candidate::BeyondLimit => FetchReason::LongSelectingFields,
        Candidate::OtherCredentials => FetchReason::RequestCredentials,
        Candidate::Response(stored) => {
            let age = stored.age(now);
            let left = stored.lifetime().map(|life| life.saturating_sub(age));
            let Some(reason) = reason_to_fetch(request, stored.is_immutable(), age, left) else {
                return ReuseDecision::Fresh { age, left };
            };
            let may_use = |usage| may_use_stale(request, &stored.freshness(), now, usage);
            match reason {
                FetchReason::Stale if may_use(StaleUse::WhileRevalidate) => {
                    return ReuseDecision::StaleWhileRevalidate;
                }
                FetchReason::Stale if may_use(StaleUse::MaxStale) => {
                    return ReuseDecision::MaxStale;
                }
                _ => reason,
            }
        }
    };
    if request.only_if_cached {
        ReuseDecision::GatewayTimeout(reason)
    } else {
        ReuseDecision::Fetch(reason)
    }
}

/// Returns why the stored response may not be served as a fresh one; `None` if it may.
#[inline(always)]
fn reason_to_fetch(
    request: &RequestDirectives,
    is_immutable: bool,
    age: Duration,
    left: Option<Duration>,
) -> Option<FetchReason> {
    if left.is_some_and(|left| left.is_zero()) {
        return Some(FetchReason::Stale);
    }
    if request.no_cache {
        return Some(FetchReason::RequestNoCache);
    }
    // `max-age=0` accepts no stored response, however young. An immutable one has not changed
    // since, so it is accepted (RFC 8246 §2).
    let is_too_old = |most: Duration| most.is_zero() || age > most;
    if !is_immutable && request.max_age.is_some_and(is_too_old) {
        return Some(FetchReason::RequestMaxAge);
    }
    let too_soon = |least: Duration| left.is_some_and(|left| left < least);
    if request.min_fresh.is_some_and(too_soon) {
        return Some(FetchReason::RequestMinFresh);
    }
    None
}
