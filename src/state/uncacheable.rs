//! Keys whose responses may not be shared, by audience ("hit-for-miss"): their requests do not
//! wait for each other.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::flight::{Audience, ExpiringSet};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;

/// Keys remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableKeys(ExpiringSet);

impl UncacheableKeys {
    /// Remembers a key for the audience that a refusal concerns, if it concerns others at all.
    pub(crate) fn remember(&self, key: &CacheKey, refusal: Refusal, now: Moment, ttl: Duration) {
        if let Some(audience) = audience_of(refusal) {
            self.0.remember(key, audience, now, ttl);
        }
    }

    /// Whether a request with these header fields gains nothing from waiting for others.
    pub(crate) fn contains(&self, key: &CacheKey, headers: &HeaderMap, now: Moment) -> bool {
        audiences(headers).any(|audience| self.0.is_remembered(key, audience, now))
    }

    /// Forgets a key: a response to a request with these header fields can be stored.
    pub(crate) fn forget(&self, key: &CacheKey, headers: &HeaderMap) {
        audiences(headers).for_each(|audience| self.0.forget(key, audience));
    }
}

/// Whether a response that was refused for one request would be refused for another with these
/// header fields, too.
pub(crate) fn concerns(refusal: Refusal, headers: &HeaderMap) -> bool {
    audience_of(refusal).is_some_and(|audience| audiences(headers).any(|kind| kind == audience))
}

/// The requests that a refusal applies to; `None` for that one request alone.
pub(crate) fn audience_of(refusal: Refusal) -> Option<Audience> {
    match refusal {
        Refusal::Authorization => Some(Audience::WithAuthorization),
        Refusal::Cookie => Some(Audience::WithCookie),
        _ => refusal
            .concerns_every_request()
            .then_some(Audience::Everyone),
    }
}

/// The audiences that a request with these header fields belongs to.
fn audiences(headers: &HeaderMap) -> impl Iterator<Item = Audience> {
    let authorization = headers.contains_key(AUTHORIZATION);
    let cookie = headers.contains_key(COOKIE);
    let audiences = [
        Some(Audience::Everyone),
        authorization.then_some(Audience::WithAuthorization),
        cookie.then_some(Audience::WithCookie),
    ];
    audiences.into_iter().flatten()
}
