//! Whether a response may be stored (RFC 9111 §3), with this cache's safe defaults on top.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::cache_control::{Ignored, RequestDirectives, ResponseDirectives, withheld};
use super::conditional::has_validator;
use super::freshness::{self, Lifetime, Ttl};
use super::groups::Group;
use super::moment::Moment;
use super::reason::Refusal;
use super::staleness::{StaleRules, Staleness};
use super::targeted::Targets;
use super::vary::{Selected, Vary};

/// What storing depends on besides the two messages.
#[derive(Clone, Debug, Default)]
pub struct StoringRules {
    /// The lifetime for responses that say nothing of theirs.
    pub assigned: Option<Ttl>,
    /// Stores responses with `Set-Cookie`, as the RFC would.
    pub store_set_cookie: bool,
    /// The status of the response already stored under the key, if any.
    pub existing: Option<StatusCode>,
    /// How long it may be used beyond its lifetime, where it does not say.
    pub stale: StaleRules,
    /// The fields that take the place of a response's `Cache-Control`.
    pub targets: Targets,
    /// What of a request's `Cache-Control` is not obeyed.
    pub ignored: Ignored,
    /// Stores nothing without explicit freshness, as for POST (RFC 9110 §9.3.3).
    pub explicit_only: bool,
    /// The part of what is left of its lifetime that is taken off, 0 to 1.
    pub shortened_by: f64,
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
    /// The groups it is invalidated with (RFC 9875 §2). Whoever knows the digests of their names fills them in.
    pub groups: Box<[Group]>,
    /// The fields that are not to be stored with it (RFC 9111 §5.2.2.4, §5.2.2.7).
    pub withheld: Box<[HeaderName]>,
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
    /// What it may be used for beyond that.
    pub stale: Staleness,
    /// Whether it does not change as long as it is fresh (RFC 8246 §2).
    pub immutable: bool,
}

impl Freshness {
    /// The current age (§4.2.3).
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Whether it may ever be used without being validated: it was fresh, or usable as it is, when it arrived.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.lifetime.is_none_or(|lifetime| {
            lifetime.saturating_add(self.stale.asked_for()) > self.initial_age
        })
    }

    /// Until when, on the monotonic clock, it is of any use: its lifetime and the longest time it may be used beyond that.
    /// `None` is for ever.
    #[must_use]
    pub fn useful_until(&self) -> Option<Duration> {
        let whole = self.lifetime?.saturating_add(self.stale.longest());
        let left = whole.saturating_sub(self.initial_age);
        Some(self.received.monotonic().saturating_add(left))
    }
}

/// Decides whether the answer to a request may be stored.
///
/// Rows of the decision in the order of RFC 9111 §3, then the defaults that are stricter than the RFC: responses with
/// `Set-Cookie`, requests with `Cookie` unless the freshness is explicit, endless media types, errors without explicit
/// freshness or over a good response. What could never be reused is not stored either.
#[must_use]
pub fn storing(asked: Asked<'_>, answered: Answered<'_>, rules: &StoringRules) -> Storing {
    let said = ResponseDirectives::of(answered.headers, &rules.targets);
    let withheld = match said.withholds {
        true => withheld(answered.headers, &rules.targets),
        false => Vec::new(),
    };
    match refusal_or_lifetime(asked, answered, (&said, &withheld), rules) {
        Err(refusal) => Storing::Refuse(refusal),
        Ok((lifetime, vary)) => match freshness(asked, answered, &said, lifetime, rules) {
            Err(refusal) => Storing::Refuse(refusal),
            Ok(freshness) => Storing::Store(Grant {
                freshness,
                selected: match vary {
                    Vary::Fields(rule) => Some(Selected::by(rule, asked.headers)),
                    Vary::Nothing | Vary::Anything => None,
                },
                groups: Box::default(),
                withheld: withheld.into(),
            }),
        },
    }
}

fn refusal_or_lifetime(
    asked: Asked<'_>,
    answered: Answered<'_>,
    (said, withheld): (&ResponseDirectives, &[HeaderName]),
    rules: &StoringRules,
) -> Result<(Lifetime, Vary), Refusal> {
    let refuse_if = |refused: bool, refusal: Refusal| if refused { Err(refusal) } else { Ok(()) };

    refuse_if(asked.method != Method::GET, Refusal::Method)?;
    refuse_if(never_stored(answered.status), Refusal::Status)?;
    refuse_if(
        RequestDirectives::of(asked.headers, rules.ignored).no_store,
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
    let vary = Vary::of(answered.headers);
    refuse_if(vary == Vary::Anything, Refusal::Vary)?;
    refuse_if(is_endless(answered.headers), Refusal::Stream)?;

    let lifetime = lifetime_of(answered, said, rules);
    let explicit = matches!(lifetime, Lifetime::Explicit(_));
    let has_none = lifetime == Lifetime::Nothing || (rules.explicit_only && !explicit);
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
    answered: Answered<'_>,
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
    asked: Asked<'_>,
    answered: Answered<'_>,
    said: &ResponseDirectives,
    lifetime: Lifetime,
    rules: &StoringRules,
) -> Result<Freshness, Refusal> {
    let lifetime = match lifetime {
        Lifetime::Explicit(time)
        | Lifetime::Heuristic(time)
        | Lifetime::Assigned(Ttl::For(time)) => Some(time),
        Lifetime::Assigned(Ttl::UntilInvalidated) => None,
        Lifetime::Nothing => return Err(Refusal::NoLifetime),
    };
    let initial_age = freshness::corrected_initial_age(answered.headers, asked.at, answered.at);
    let mut stale = Staleness::of(said, rules.stale);
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

/// Not final, or an answer to the request's precondition, range or expectation rather than to its key.
fn never_stored(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417)
}

/// The statuses of RFC 9110 whose caching this cache knows (RFC 9111 §5.2.2.3).
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400 | 401 | 403..=405 | 410 | 414 | 500..=505
    )
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
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    fn headers(lines: Lines) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    fn moment() -> Moment {
        Moment::new(
            Duration::from_secs(1),
            UNIX_EPOCH + Duration::from_secs(784_111_777),
        )
    }

    fn decide(
        method: Method,
        request: Lines,
        status: u16,
        response: Lines,
        rules: StoringRules,
    ) -> Result<Option<Duration>, Refusal> {
        let asked = Asked {
            method: &method,
            headers: &headers(request),
            at: moment(),
        };
        let answered = Answered {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: &headers(response),
            at: moment(),
        };
        match storing(asked, answered, &rules) {
            Storing::Store(grant) => Ok(grant.freshness.lifetime),
            Storing::Refuse(refusal) => Err(refusal),
        }
    }

    type Expected = Result<Option<Duration>, Refusal>;

    const NONE: Lines = &[];
    const FRESH: Lines = &[("cache-control", "max-age=60")];
    const PUBLIC: Lines = &[("cache-control", "max-age=60, public")];
    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    /// H01, H02, H03, H04, H05, H22, H23, B10
    #[test]
    fn section_3_storing_with_explicit_freshness_or_none() {
        use Refusal as R;
        let cookie = &[("cookie", "id=1")];
        let authorization = &[("authorization", "Basic x")];
        #[rustfmt::skip]
        let rows: &[(&str, Lines, u16, Lines, Expected)] = &[
            ("explicit", NONE, 200, FRESH, Ok(MINUTE)),
            ("nothing said", NONE, 200, NONE, Err(R::NoLifetime)),
            ("public alone is no lifetime", NONE, 200, &[("cache-control", "public")], Err(R::NoLifetime)),
            ("heuristic", NONE, 200, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], Ok(Some(Duration::from_secs(100)))),
            ("request no-store", &[("cache-control", "no-store")], 200, FRESH, Err(R::RequestNoStore)),
            ("no-store", NONE, 200, &[("cache-control", "max-age=60, no-store")], Err(R::NoStore)),
            ("no-store on a second line", NONE, 200, &[("cache-control", "max-age=60"), ("cache-control", "no-store")], Err(R::NoStore)),
            ("private", NONE, 200, &[("cache-control", "max-age=60, private")], Err(R::Private)),
            ("private, qualified", NONE, 200, &[("cache-control", "max-age=60, private=\"x\"")], Ok(MINUTE)),
            ("a private cookie", NONE, 200, &[("cache-control", "max-age=60, private=\"set-cookie\""), ("set-cookie", "id=1")], Ok(MINUTE)),
            ("must-understand", NONE, 200, &[("cache-control", "max-age=60, must-understand, no-store")], Ok(MINUTE)),
            ("must-understand, a status that is not", NONE, 299, &[("cache-control", "max-age=60, must-understand")], Err(R::MustUnderstand)),
            ("targeted", NONE, 200, &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store"), ("expires", "0")], Ok(MINUTE)),
            ("targeted, without lifetime", NONE, 200, &[("cdn-cache-control", "public"), ("cache-control", "max-age=60"), ("expires", "Sun, 06 Nov 2044 08:49:37 GMT")], Err(R::NoLifetime)),
            ("targeted, broken", NONE, 200, &[("cdn-cache-control", "no-store,"), ("cache-control", "max-age=60")], Ok(MINUTE)),
            ("no-cache", NONE, 200, &[("cache-control", "max-age=60, no-cache")], Err(R::NoCache)),
            ("no-cache, qualified", NONE, 200, &[("cache-control", "max-age=60, no-cache=\"x\"")], Ok(MINUTE)),
            ("max-age=0", NONE, 200, &[("cache-control", "max-age=0")], Err(R::Expired)),
            ("arrives old", NONE, 200, &[("cache-control", "max-age=60"), ("age", "60")], Err(R::Expired)),
            ("Expires: 0", NONE, 200, &[("expires", "0")], Err(R::Expired)),
            ("Authorization", authorization, 200, FRESH, Err(R::Authorization)),
            ("Authorization, public", authorization, 200, PUBLIC, Ok(MINUTE)),
            ("Authorization, s-maxage", authorization, 200, &[("cache-control", "s-maxage=60")], Ok(MINUTE)),
            ("Authorization, must-revalidate", authorization, 200, &[("cache-control", "max-age=60, must-revalidate")], Ok(MINUTE)),
            ("Set-Cookie", NONE, 200, &[("cache-control", "max-age=60, public"), ("set-cookie", "id=1")], Err(R::SetCookie)),
            ("Cookie, explicit", cookie, 200, FRESH, Ok(MINUTE)),
            ("Cookie, heuristic", cookie, 200, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], Err(R::Cookie)),
            ("Vary: *", NONE, 200, &[("cache-control", "max-age=60"), ("vary", "*")], Err(R::Vary)),
            ("event stream", NONE, 200, &[("cache-control", "max-age=60"), ("content-type", "Text/Event-Stream; charset=utf-8")], Err(R::Stream)),
            ("gRPC", NONE, 200, &[("cache-control", "max-age=60"), ("content-type", "application/grpc+proto")], Err(R::Stream)),
            ("302 explicit", NONE, 302, FRESH, Ok(MINUTE)),
            ("307 says nothing", NONE, 307, NONE, Err(R::NoLifetime)),
            ("404 explicit", NONE, 404, FRESH, Ok(MINUTE)),
            ("503 explicit", NONE, 503, FRESH, Ok(MINUTE)),
            ("503 says nothing", NONE, 503, NONE, Err(R::NoLifetime)),
            ("431 says nothing (P03)", NONE, 431, NONE, Err(R::NoLifetime)),
            ("206 is a part (H13)", &[("range", "bytes=0-1")], 206, FRESH, Err(R::Status)),
            ("304 is none", &[("if-none-match", "*")], 304, FRESH, Err(R::Status)),
            ("103", NONE, 103, FRESH, Err(R::Status)),
            ("412 answers a precondition", NONE, 412, FRESH, Err(R::Status)),
            ("416 answers a range", NONE, 416, FRESH, Err(R::Status)),
        ];
        for (case, request, status, response, expected) in rows {
            let got = decide(
                Method::GET,
                request,
                *status,
                response,
                StoringRules::default(),
            );
            assert_eq!(got, *expected, "{case}");
        }
    }

    #[test]
    fn an_assigned_lifetime_serves_those_who_say_nothing() {
        use Refusal as R;
        let rules = StoringRules {
            assigned: Some(Ttl::For(Duration::from_secs(60))),
            ..StoringRules::default()
        };
        #[rustfmt::skip]
        let rows: &[(&str, Lines, Lines, Expected)] = &[
            ("nothing said", NONE, NONE, Ok(MINUTE)),
            ("explicit wins", NONE, &[("cache-control", "max-age=5")], Ok(Some(Duration::from_secs(5)))),
            ("no-store wins", NONE, &[("cache-control", "no-store")], Err(R::NoStore)),
            ("Cookie", &[("cookie", "id=1")], NONE, Err(R::Cookie)),
            ("Authorization", &[("authorization", "x")], NONE, Err(R::Authorization)),
        ];
        for (case, request, response, expected) in rows {
            assert_eq!(
                decide(Method::GET, request, 200, response, rules.clone()),
                *expected,
                "{case}"
            );
        }
        let forever = StoringRules {
            assigned: Some(Ttl::UntilInvalidated),
            ..StoringRules::default()
        };
        assert_eq!(decide(Method::GET, NONE, 200, NONE, forever), Ok(None));
    }

    #[test]
    fn only_answers_to_get_are_stored() {
        for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
            let got = decide(method, NONE, 200, FRESH, StoringRules::default());
            assert_eq!(got, Err(Refusal::Method));
        }
    }

    /// P05
    #[test]
    fn an_error_never_replaces_a_good_response() {
        let over = |status: u16| StoringRules {
            existing: StatusCode::from_u16(status).ok(),
            ..StoringRules::default()
        };
        for (new, old, expected) in [
            (503, 200, Err(Refusal::KeepsBetter)),
            (503, 404, Err(Refusal::KeepsBetter)),
            (503, 500, Ok(MINUTE)),
            (404, 200, Ok(MINUTE)),
            (200, 503, Ok(MINUTE)),
        ] {
            let got = decide(Method::GET, NONE, new, FRESH, over(old));
            assert_eq!(got, expected, "{new} over {old}");
        }
    }

    /// H03
    #[test]
    fn set_cookie_can_be_let_in() {
        let rules = StoringRules {
            store_set_cookie: true,
            ..StoringRules::default()
        };
        let response: Lines = &[("cache-control", "max-age=60"), ("set-cookie", "id=1")];
        assert_eq!(decide(Method::GET, NONE, 200, response, rules), Ok(MINUTE));
    }
}
