//! Whether a response may be stored (RFC 9111 §3), with this cache's safe defaults on top.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use super::cache_control::{RequestDirectives, ResponseDirectives};
use super::freshness::{self, Lifetime, Ttl};
use super::moment::Moment;
use super::reason::Refusal;
use super::vary::{Selected, Vary};

/// What storing depends on besides the two messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoringRules {
    /// The lifetime for responses that say nothing of theirs.
    pub assigned: Option<Ttl>,
    /// Stores responses with `Set-Cookie`, as the RFC would.
    pub store_set_cookie: bool,
    /// The status of the response already stored under the key, if any.
    pub existing: Option<StatusCode>,
}

/// The request's part of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// When it was sent to the inner service.
    pub at: Moment,
}

/// The response's part of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// When its head arrived.
    pub at: Moment,
}

/// May it be stored, and if so, as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storing {
    /// It may.
    Store(Grant),
    /// It may not.
    Refuse(Refusal),
}

/// What a response may be stored as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How long it may be reused.
    pub freshness: Freshness,
    /// For which requests, where it varies.
    pub selected: Option<Selected>,
}

/// A stored response's times (RFC 9111 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When its head arrived.
    pub received: Moment,
    /// How old it was then.
    pub initial_age: Duration,
    /// Its freshness lifetime; `None` is "until invalidated".
    pub lifetime: Option<Duration>,
}

impl Freshness {
    /// The current age (§4.2.3).
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// When it expires on the monotonic clock, if ever.
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        let left = self.lifetime?.saturating_sub(self.initial_age);
        Some(self.received.monotonic().saturating_add(left))
    }
}

/// Decides whether the answer to a request may be stored.
///
/// Rows of the decision in the order of RFC 9111 §3, then the defaults that are stricter than the RFC: responses with
/// `Set-Cookie`, requests with `Cookie` unless the freshness is explicit, endless media types, errors without explicit
/// freshness or over a good response. What could never be reused is not stored either.
#[must_use]
pub fn storing(asked: Asked<'_>, answered: Answered<'_>, rules: StoringRules) -> Storing {
    match refusal_or_lifetime(asked, answered, rules) {
        Err(refusal) => Storing::Refuse(refusal),
        Ok((lifetime, vary)) => grant(asked, answered, lifetime, vary),
    }
}

fn refusal_or_lifetime(
    asked: Asked<'_>,
    answered: Answered<'_>,
    rules: StoringRules,
) -> Result<(Lifetime, Vary), Refusal> {
    let said = ResponseDirectives::of(answered.headers);
    let refuse_if = |refused: bool, refusal: Refusal| if refused { Err(refusal) } else { Ok(()) };

    refuse_if(asked.method != Method::GET, Refusal::Method)?;
    refuse_if(never_stored(answered.status), Refusal::Status)?;
    refuse_if(
        RequestDirectives::of(asked.headers).no_store,
        Refusal::RequestNoStore,
    )?;
    refuse_if(said.no_store, Refusal::NoStore)?;
    refuse_if(said.private, Refusal::Private)?;
    refuse_if(said.no_cache, Refusal::NoCache)?;
    let shareable = said.public || said.s_maxage.is_some() || said.must_revalidate;
    refuse_if(
        asked.headers.contains_key(AUTHORIZATION) && !shareable,
        Refusal::Authorization,
    )?;
    refuse_if(
        answered.headers.contains_key(SET_COOKIE) && !rules.store_set_cookie,
        Refusal::SetCookie,
    )?;
    let vary = Vary::of(answered.headers);
    refuse_if(vary == Vary::Anything, Refusal::Vary)?;
    refuse_if(is_endless(answered.headers), Refusal::Stream)?;

    let lifetime = freshness::lifetime(
        answered.status,
        answered.headers,
        &said,
        rules.assigned,
        answered.at,
    );
    let explicit = matches!(lifetime, Lifetime::Explicit(_));
    refuse_if(lifetime == Lifetime::Nothing, Refusal::NoLifetime)?;
    refuse_if(
        asked.headers.contains_key(COOKIE) && !explicit,
        Refusal::Cookie,
    )?;
    let replaces_good = rules
        .existing
        .is_some_and(|status| !status.is_server_error());
    refuse_if(
        answered.status.is_server_error() && replaces_good,
        Refusal::KeepsBetter,
    )?;
    Ok((lifetime, vary))
}

fn grant(asked: Asked<'_>, answered: Answered<'_>, lifetime: Lifetime, vary: Vary) -> Storing {
    let lifetime = match lifetime {
        Lifetime::Explicit(time)
        | Lifetime::Heuristic(time)
        | Lifetime::Assigned(Ttl::For(time)) => Some(time),
        Lifetime::Assigned(Ttl::UntilInvalidated) => None,
        Lifetime::Nothing => return Storing::Refuse(Refusal::NoLifetime),
    };
    let initial_age = freshness::corrected_initial_age(answered.headers, asked.at, answered.at);
    if lifetime.is_some_and(|lifetime| lifetime <= initial_age) {
        return Storing::Refuse(Refusal::Expired);
    }
    let selected = match vary {
        Vary::Fields(rule) => Some(Selected::by(rule, asked.headers)),
        Vary::Nothing | Vary::Anything => None,
    };
    Storing::Store(Grant {
        freshness: Freshness {
            received: answered.at,
            initial_age,
            lifetime,
        },
        selected,
    })
}

/// Not final, or a part, or no representation at all: never stored as an answer of its own.
fn never_stored(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 206 | 304)
}

fn is_endless(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let begins_with = |media_type: &str| {
        value
            .as_bytes()
            .get(..media_type.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(media_type.as_bytes()))
    };
    begins_with("text/event-stream")
        || begins_with("application/grpc")
        || begins_with("multipart/x-mixed-replace")
}

#[cfg(test)]
#[path = "storing_tests.rs"]
mod tests;
