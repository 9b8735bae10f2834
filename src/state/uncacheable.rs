//! Keys whose responses may not be shared, by audience ("hit-for-miss"): their requests do not
//! wait for each other.

use std::time::Duration;

use crate::flight::{Audience, ExpiringSet};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;
use crate::semantics::request_kind::RequestKind;

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

    /// Whether a request of this kind gains nothing from waiting for others.
    pub(crate) fn contains(&self, key: &CacheKey, kind: RequestKind, now: Moment) -> bool {
        audiences(kind).any(|audience| self.0.is_remembered(key, audience, now))
    }

    /// Forgets a key: a response to a request of this kind can be stored.
    pub(crate) fn forget(&self, key: &CacheKey, kind: RequestKind) {
        audiences(kind).for_each(|audience| self.0.forget(key, audience));
    }
}

/// Whether a response that was refused for one request would be refused for another one of this
/// kind, too.
pub(crate) fn concerns(refusal: Refusal, kind: RequestKind) -> bool {
    audience_of(refusal).is_some_and(|audience| audiences(kind).any(|own| own == audience))
}

/// The requests that a refusal applies to; `None` for that one request alone.
pub(crate) fn audience_of(refusal: Refusal) -> Option<Audience> {
    match refusal {
        Refusal::Credentials => Some(Audience::WithCredentials),
        Refusal::Cookie => Some(Audience::WithCookie),
        _ => refusal
            .concerns_every_request()
            .then_some(Audience::Everyone),
    }
}

/// The audiences that a request of this kind belongs to.
fn audiences(kind: RequestKind) -> impl Iterator<Item = Audience> {
    let audiences = [
        Some(Audience::Everyone),
        kind.has_credentials().then_some(Audience::WithCredentials),
        kind.has_cookies().then_some(Audience::WithCookie),
    ];
    audiences.into_iter().flatten()
}
