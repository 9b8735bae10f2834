//! The decision to store a response (RFC 9111 §3).

use std::time::Duration;

use http::header::{CONTENT_TYPE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::input::{RequestHead, ResponseHead, StoringRules};
use super::policy::{StorageDecision, StoragePolicy};
use crate::semantics::cache_control::{RequestDirectives, ResponseDirectives, withheld_fields};
use crate::semantics::fields::has_any;
use crate::semantics::freshness::{self, Freshness, Lifetime, StaleRules, Staleness, Ttl};
use crate::semantics::reason::Refusal;
use crate::semantics::validation::origin_conditions;
use crate::semantics::vary::{Vary, VarySelection};

/// Decides whether the response to a request may be stored.
///
/// The checks are in the order of RFC 9111 §3. Then follow the defaults that are stricter than the
/// RFC: responses with `Set-Cookie`, requests with `Cookie` unless the freshness is explicit,
/// endless media types, errors without explicit freshness or over a good response. A response that
/// could never be reused is not stored either.
///
/// With `is_private`, the rules are those of a private cache: `private`, credentials and cookies
/// refuse nothing, and `s-maxage` and `proxy-revalidate` do not count.
#[must_use]
pub fn decide_storage(
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    rules: &StoringRules,
) -> StorageDecision {
    let mut directives = ResponseDirectives::from_headers(response.headers, &rules.targets);
    if rules.is_private {
        directives.keep_those_of_private_caches();
    }
    let withheld = match directives.withholds_fields {
        true => withheld_fields(response.headers, &rules.targets),
        false => Vec::new(),
    };
    // Nothing of the configuration contradicts a directive that was meant, but cannot be read.
    let is_clear = !directives.has_unreadable;
    let stale_rules = match is_clear {
        true => rules.stale,
        false => rules.stale.without_windows(),
    };
    match refusal_or_lifetime(request, response, (&directives, &withheld), rules) {
        Err(refusal) => StorageDecision::Refuse(refusal),
        Ok((lifetime, _)) if !is_clear && !lifetime.is_explicit() => {
            StorageDecision::Refuse(Refusal::UnreadableDirectives)
        }
        Ok((lifetime, vary)) => {
            let rules = (rules, stale_rules);
            let policy =
                freshness(request, response, &directives, lifetime, rules).and_then(|freshness| {
                    Ok(StoragePolicy {
                        freshness,
                        selected: selection(vary, request.headers)?,
                        groups: Box::default(),
                        withheld: withheld.into(),
                    })
                });
            policy.map_or_else(StorageDecision::Refuse, StorageDecision::Store)
        }
    }
}

/// Returns the values that select the response.
fn selection(vary: Vary, request: &HeaderMap) -> Result<Option<VarySelection>, Refusal> {
    match vary {
        Vary::Fields(rule) => match VarySelection::from_request(rule, request) {
            None => Err(Refusal::LongSelectingFields),
            selected => Ok(selected),
        },
        Vary::Absent | Vary::NeverMatches => Ok(None),
    }
}

/// Returns the lifetime and the selecting fields of a response that may be stored, or the first
/// reason against it.
fn refusal_or_lifetime(
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    (directives, withheld): (&ResponseDirectives, &[HeaderName]),
    rules: &StoringRules,
) -> Result<(Lifetime, Vary), Refusal> {
    let refuse_if = |refused: bool, refusal: Refusal| if refused { Err(refusal) } else { Ok(()) };

    refuse_if(request.method != Method::GET, Refusal::Method)?;
    refuse_if(is_never_stored(response.status), Refusal::Status)?;
    refuse_if(
        RequestDirectives::from_headers(request.headers, rules.ignored).no_store,
        Refusal::RequestNoStore,
    )?;
    let is_understood = is_understood(response.status);
    refuse_if(
        directives.must_understand && !is_understood,
        Refusal::MustUnderstand,
    )?;
    let is_forbidden = directives.no_store && !directives.must_understand;
    refuse_if(is_forbidden || rules.forbid_storing(), Refusal::NoStore)?;
    let is_shared = !rules.is_private;
    let is_private = directives.private || rules.state_private();
    refuse_if(is_shared && is_private, Refusal::Private)?;
    refuse_if(
        directives.no_cache && !can_be_validated(response),
        Refusal::NoCache,
    )?;
    let is_shareable =
        directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    refuse_if(
        is_shared && request.kind.has_credentials() && !is_shareable,
        Refusal::Credentials,
    )?;
    let has_cookie_or_vary = has_any(response.headers, &[SET_COOKIE, VARY]);
    let sets_cookie = has_cookie_or_vary && sets_cookie(response.headers, withheld);
    refuse_if(sets_cookie && !rules.store_set_cookie, Refusal::SetCookie)?;
    let vary = match has_cookie_or_vary {
        true => Vary::from_headers(response.headers),
        false => Vary::Absent,
    };
    let vary = rules.selecting_fields(vary);
    refuse_if(vary == Vary::NeverMatches, Refusal::Vary)?;
    refuse_if(is_endless(response.headers), Refusal::Stream)?;

    let lifetime = lifetime_of(response, directives, rules);
    let is_explicit = lifetime.is_explicit();
    let has_none = lifetime == Lifetime::Absent || (rules.explicit_only && !is_explicit);
    refuse_if(has_none, Refusal::NoLifetime)?;
    let has_cookies = is_shared && request.kind.has_cookies();
    refuse_if(has_cookies && !is_explicit, Refusal::Cookie)?;
    let replaces_good = rules
        .existing
        .is_some_and(|status| !status.is_server_error());
    refuse_if(
        response.status.is_server_error() && replaces_good,
        Refusal::KeepsBetter,
    )?;
    Ok((lifetime, vary))
}

/// Returns whether a response would be stored with `Set-Cookie`.
fn sets_cookie(headers: &HeaderMap, withheld: &[HeaderName]) -> bool {
    headers.contains_key(SET_COOKIE) && !withheld.contains(&SET_COOKIE)
}

/// Returns the lifetime of a response; zero for one with `no-cache`.
pub(super) fn lifetime_of(
    response: ResponseHead<'_>,
    directives: &ResponseDirectives,
    rules: &StoringRules,
) -> Lifetime {
    if directives.no_cache {
        // Its lifetime is of no use: it is validated each time.
        return Lifetime::Explicit(Duration::ZERO);
    }
    if let Some(ttl) = rules.stated.as_ref().and_then(|stated| stated.ttl) {
        return Lifetime::Stated(ttl);
    }
    freshness::lifetime(
        response.status,
        response.headers,
        directives,
        rules.assigned,
        response.at,
    )
}

/// Returns whether the stored response could be validated at the origin.
fn can_be_validated(response: ResponseHead<'_>) -> bool {
    origin_conditions(response.status, response.headers)
        .next()
        .is_some()
}

/// Computes the times of the stored response; refuses one that could never be reused.
fn freshness(
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    (rules, stale_rules): (&StoringRules, StaleRules),
) -> Result<Freshness, Refusal> {
    let lifetime = match lifetime {
        Lifetime::Explicit(time)
        | Lifetime::Heuristic(time)
        | Lifetime::Stated(Ttl::For(time))
        | Lifetime::Assigned(Ttl::For(time)) => Some(time),
        Lifetime::Stated(Ttl::UntilInvalidated) | Lifetime::Assigned(Ttl::UntilInvalidated) => None,
        Lifetime::Absent => return Err(Refusal::NoLifetime),
    };
    let initial_age = freshness::corrected_initial_age(response.headers, request.at, response.at);
    let mut stale = Staleness::new(directives, stale_rules);
    if let Some(stated) = &rules.stated {
        stated.replace_windows(&mut stale, directives);
    }
    if can_be_validated(response) {
        stale.validation = stale_rules.validation;
    }
    let freshness = Freshness {
        received: response.at,
        initial_age,
        lifetime: capped(lifetime, initial_age, rules.max_fresh)
            .map(|time| shortened(time, initial_age, rules.shortened_by)),
        stale,
        immutable: directives.immutable,
    };
    let is_useful = freshness.is_reusable() || !stale.validation.is_zero();
    if !is_useful {
        return Err(if directives.no_cache {
            Refusal::NoCache
        } else {
            Refusal::Expired
        });
    }
    Ok(freshness)
}

/// Returns a lifetime that ends `longest` after the receipt of the response, at the latest.
pub(super) fn capped(
    lifetime: Option<Duration>,
    initial_age: Duration,
    longest: Option<Duration>,
) -> Option<Duration> {
    let Some(longest) = longest.map(|longest| initial_age.saturating_add(longest)) else {
        return lifetime;
    };
    Some(lifetime.map_or(longest, |lifetime| lifetime.min(longest)))
}

/// Returns a lifetime without a fraction of what remains of it.
fn shortened(lifetime: Duration, initial_age: Duration, by: f64) -> Duration {
    let left = lifetime.saturating_sub(initial_age);
    let cut = left.as_secs_f64() * by.clamp(0.0, 1.0);
    // The longest duration is one that no floating point number holds.
    lifetime - Duration::try_from_secs_f64(cut).map_or(left, |cut| cut.min(left))
}

/// Returns whether the media type is that of an endless stream.
pub(crate) fn is_endless(headers: &HeaderMap) -> bool {
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

/// Returns whether a status is never stored, whatever the response says.
///
/// Its definition forbids it (RFC 6585 §3, §4, §5, §6), it is not final, or it answers something
/// that is in no cache key: a condition, a range or an expectation of the request (412, 416, 417),
/// the response that the client has (226, RFC 3229), the credentials for this proxy (407), or the
/// connection that the request came on (408, 421, 425, 426).
pub(super) fn is_never_stored(status: StatusCode) -> bool {
    let answers_no_key = matches!(
        status.as_u16(),
        206 | 226 | 304 | 407 | 408 | 412 | 416 | 417 | 421 | 425 | 426
    );
    let is_forbidden = matches!(status.as_u16(), 428 | 429 | 431 | 511);
    status.is_informational() || answers_no_key || is_forbidden
}

/// Returns whether the cache implements the caching rules of a status (RFC 9111 §5.2.2.3).
pub(super) fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400 | 401 | 403..=405 | 410 | 414 | 500..=505
    )
}
