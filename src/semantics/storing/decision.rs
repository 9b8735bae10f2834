//! Whether a response may be stored (RFC 9111 §3).

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method};

use super::input::{RequestHead, ResponseHead, StoringRules};
use super::policy::{StorageDecision, StoragePolicy};
use super::statuses::{never_stored, understood};
use crate::semantics::cache_control::{RequestDirectives, ResponseDirectives, withheld_fields};
use crate::semantics::freshness::{self, Freshness, Lifetime, Staleness, Ttl};
use crate::semantics::reason::Refusal;
use crate::semantics::validation::has_validator;
use crate::semantics::vary::{Vary, VarySelection};

/// Decides whether the answer to a request may be stored.
///
/// Rows of the decision in the order of RFC 9111 §3, then the defaults that are stricter than the RFC: responses with
/// `Set-Cookie`, requests with `Cookie` unless the freshness is explicit, endless media types, errors without explicit
/// freshness or over a good response. What could never be reused is not stored either.
#[must_use]
pub fn decide_storage(
    asked: RequestHead<'_>,
    answered: ResponseHead<'_>,
    rules: &StoringRules,
) -> StorageDecision {
    let said = ResponseDirectives::from_headers(answered.headers, &rules.targets);
    let withheld = match said.withholds_fields {
        true => withheld_fields(answered.headers, &rules.targets),
        false => Vec::new(),
    };
    match refusal_or_lifetime(asked, answered, (&said, &withheld), rules) {
        Err(refusal) => StorageDecision::Refuse(refusal),
        Ok((lifetime, vary)) => match freshness(asked, answered, &said, lifetime, rules) {
            Err(refusal) => StorageDecision::Refuse(refusal),
            Ok(freshness) => StorageDecision::Store(StoragePolicy {
                freshness,
                selected: match vary {
                    Vary::Fields(rule) => Some(VarySelection::from_request(rule, asked.headers)),
                    Vary::Absent | Vary::NeverMatches => None,
                },
                groups: Box::default(),
                withheld: withheld.into(),
            }),
        },
    }
}

fn refusal_or_lifetime(
    asked: RequestHead<'_>,
    answered: ResponseHead<'_>,
    (said, withheld): (&ResponseDirectives, &[HeaderName]),
    rules: &StoringRules,
) -> Result<(Lifetime, Vary), Refusal> {
    let refuse_if = |refused: bool, refusal: Refusal| if refused { Err(refusal) } else { Ok(()) };

    refuse_if(asked.method != Method::GET, Refusal::Method)?;
    refuse_if(never_stored(answered.status), Refusal::Status)?;
    refuse_if(
        RequestDirectives::from_headers(asked.headers, rules.ignored).no_store,
        Refusal::RequestNoStore,
    )?;
    let is_understood = understood(answered.status);
    refuse_if(
        said.must_understand && !is_understood,
        Refusal::MustUnderstand,
    )?;
    refuse_if(said.no_store && !said.must_understand, Refusal::NoStore)?;
    refuse_if(said.private, Refusal::Private)?;
    let has_validator = has_validator(answered.headers);
    refuse_if(said.no_cache && !has_validator, Refusal::NoCache)?;
    let shareable = said.public || said.s_maxage.is_some() || said.must_revalidate;
    refuse_if(
        asked.headers.contains_key(AUTHORIZATION) && !shareable,
        Refusal::Authorization,
    )?;
    let sets_cookie = answered.headers.contains_key(SET_COOKIE) && !withheld.contains(&SET_COOKIE);
    refuse_if(sets_cookie && !rules.store_set_cookie, Refusal::SetCookie)?;
    let vary = Vary::from_headers(answered.headers);
    refuse_if(vary == Vary::NeverMatches, Refusal::Vary)?;
    refuse_if(is_endless(answered.headers), Refusal::Stream)?;

    let lifetime = lifetime_of(answered, said, rules);
    let explicit = matches!(lifetime, Lifetime::Explicit(_));
    let has_none = lifetime == Lifetime::Absent || (rules.explicit_only && !explicit);
    refuse_if(has_none, Refusal::NoLifetime)?;
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

fn lifetime_of(
    answered: ResponseHead<'_>,
    said: &ResponseDirectives,
    rules: &StoringRules,
) -> Lifetime {
    if said.no_cache {
        // What it has is of no use where it is validated each time.
        return Lifetime::Explicit(Duration::ZERO);
    }
    freshness::lifetime(
        answered.status,
        answered.headers,
        said,
        rules.assigned,
        answered.at,
    )
}

fn freshness(
    asked: RequestHead<'_>,
    answered: ResponseHead<'_>,
    said: &ResponseDirectives,
    lifetime: Lifetime,
    rules: &StoringRules,
) -> Result<Freshness, Refusal> {
    let lifetime = match lifetime {
        Lifetime::Explicit(time)
        | Lifetime::Heuristic(time)
        | Lifetime::Assigned(Ttl::For(time)) => Some(time),
        Lifetime::Assigned(Ttl::UntilInvalidated) => None,
        Lifetime::Absent => return Err(Refusal::NoLifetime),
    };
    let initial_age = freshness::corrected_initial_age(answered.headers, asked.at, answered.at);
    let mut stale = Staleness::new(said, rules.stale);
    if has_validator(answered.headers) {
        stale.validation = rules.stale.validation;
    }
    let freshness = Freshness {
        received: answered.at,
        initial_age,
        lifetime: lifetime.map(|time| shortened(time, initial_age, rules.shortened_by)),
        stale,
        immutable: said.immutable,
    };
    let is_of_use = freshness.is_reusable() || !stale.validation.is_zero();
    if !is_of_use {
        return Err(if said.no_cache {
            Refusal::NoCache
        } else {
            Refusal::Expired
        });
    }
    Ok(freshness)
}

/// A lifetime of which a part of what is left is taken off.
fn shortened(lifetime: Duration, initial_age: Duration, by: f64) -> Duration {
    let left = lifetime.saturating_sub(initial_age);
    lifetime - left.mul_f64(by.clamp(0.0, 1.0)).min(left)
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
