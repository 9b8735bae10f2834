//! What to do with a request, given what was found in the store (RFC 9111 §4).

use std::time::Duration;

use super::stale_use::may_use_stale;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::freshness::Freshness;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, StaleUse};

/// What a lookup found. "Not the one asked for" and "too old" are different things.
#[derive(Clone, Copy, Debug)]
pub enum Candidate<'a> {
    /// Nothing.
    Absent,
    /// A response of another key with the same digest.
    OtherKey,
    /// A response that other request fields selected.
    OtherVariant,
    /// A response to this very request.
    Response(&'a Freshness),
}

/// The answer's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseDecision {
    /// From the store.
    Fresh {
        /// Its current age (§4.2.3).
        age: Duration,
        /// What is left of its lifetime; `None` is "until invalidated".
        left: Option<Duration>,
    },
    /// From the store, beyond its lifetime, while it is fetched anew (RFC 5861 §3).
    StaleWhileRevalidate,
    /// From the store, beyond its lifetime, because the request takes it (§5.2.1.2).
    MaxStale,
    /// From the inner service.
    Fetch(FetchReason),
    /// 504: the request said `only-if-cached` (§5.2.1.7) and nothing stored will do.
    GatewayTimeout,
}

/// Decides.
#[must_use]
pub fn decide_reuse(asked: &RequestDirectives, found: Candidate<'_>, now: Moment) -> ReuseDecision {
    let reason = match found {
        Candidate::Absent => FetchReason::UriMiss,
        Candidate::OtherKey => FetchReason::OtherKey,
        Candidate::OtherVariant => FetchReason::VaryMiss,
        Candidate::Response(freshness) => {
            let age = freshness.age(now);
            let left = freshness.lifetime.map(|life| life.saturating_sub(age));
            let Some(reason) = why_not(asked, freshness, age, left) else {
                return ReuseDecision::Fresh { age, left };
            };
            let may = |of| may_use_stale(asked, freshness, now, of);
            match reason {
                FetchReason::Stale if may(StaleUse::WhileRevalidate) => {
                    return ReuseDecision::StaleWhileRevalidate;
                }
                FetchReason::Stale if may(StaleUse::MaxStale) => return ReuseDecision::MaxStale,
                _ => reason,
            }
        }
    };
    if asked.only_if_cached {
        ReuseDecision::GatewayTimeout
    } else {
        ReuseDecision::Fetch(reason)
    }
}

fn why_not(
    asked: &RequestDirectives,
    freshness: &Freshness,
    age: Duration,
    left: Option<Duration>,
) -> Option<FetchReason> {
    if left.is_some_and(|left| left.is_zero()) {
        return Some(FetchReason::Stale);
    }
    if asked.no_cache {
        return Some(FetchReason::RequestNoCache);
    }
    // `max-age=0` asks for nothing that has been stored at all, however young; but what is immutable has not changed
    // since (RFC 8246 §2).
    let is_too_old = |most: Duration| most.is_zero() || age > most;
    if !freshness.immutable && asked.max_age.is_some_and(is_too_old) {
        return Some(FetchReason::RequestMaxAge);
    }
    let too_soon = |least: Duration| left.is_some_and(|left| left < least);
    if asked.min_fresh.is_some_and(too_soon) {
        return Some(FetchReason::RequestMinFresh);
    }
    None
}
