//! What may not be shared: with whom, and for how long that is remembered ("hit-for-miss").

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, StatusCode};

use crate::backend::{Backend, CacheKey};
use crate::flight::{Audience, FlightOutcome, Leader};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;

use crate::service::coalesce::follow::SharedHead;
use crate::state::Shared;

/// Whether an answer that was refused for one request would have been for another, with these header fields, just as
/// well.
pub(crate) fn concerns(refusal: Refusal, headers: &HeaderMap) -> bool {
    audience(refusal).is_some_and(|audience| kinds(headers).any(|kind| kind == audience))
}

fn audience(refusal: Refusal) -> Option<Audience> {
    match refusal {
        Refusal::Authorization => Some(Audience::WithAuthorization),
        Refusal::Cookie => Some(Audience::WithCookie),
        _ => refusal
            .concerns_every_request()
            .then_some(Audience::Everyone),
    }
}

/// The kinds of requests that one with these header fields is of.
fn kinds(headers: &HeaderMap) -> impl Iterator<Item = Audience> {
    let authorization = headers.contains_key(AUTHORIZATION);
    let cookie = headers.contains_key(COOKIE);
    let kinds = [
        Some(Audience::Everyone),
        authorization.then_some(Audience::WithAuthorization),
        cookie.then_some(Audience::WithCookie),
    ];
    kinds.into_iter().flatten()
}

/// An error says nothing of the answers that come after it.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// A request that is not what the inner service takes; all but those that say something of the resource.
fn is_the_requests(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 405 | 410 | 451)
}

impl<B: Backend> Shared<B> {
    /// Sends followers whom it concerns on their own ways at once, and lets those who come soon not wait at all. The others
    /// have one among them take over.
    pub(crate) fn release(
        &self,
        lead: &Leader<B::Fence, SharedHead>,
        refusal: Refusal,
        status: StatusCode,
    ) {
        if is_passing(status) || audience(refusal).is_none() {
            return lead.close_with(FlightOutcome::Vacant);
        }
        if is_the_requests(status) {
            return lead.close_with(FlightOutcome::Declined);
        }
        self.remember_refused(&lead.key(), refusal);
        lead.close_with(FlightOutcome::Refused(refusal));
    }

    pub(crate) fn remember_refused(&self, key: &CacheKey, refusal: Refusal) {
        if let Some(audience) = audience(refusal) {
            let time = self.config.coalesce.uncacheable_ttl;
            self.core
                .uncacheable
                .remember(key, audience, self.now(), time);
        }
    }

    /// Whether a request with these header fields need not wait for what others get.
    pub(crate) fn is_refused(&self, key: &CacheKey, headers: &HeaderMap, now: Moment) -> bool {
        let memory = &self.core.uncacheable;
        kinds(headers).any(|audience| memory.is_remembered(key, audience, now))
    }

    /// An answer to a request with these header fields turned out to be storable.
    pub(crate) fn no_longer_refused(&self, key: &CacheKey, headers: &HeaderMap) {
        kinds(headers).for_each(|audience| self.core.uncacheable.forget(key, audience));
    }
}
