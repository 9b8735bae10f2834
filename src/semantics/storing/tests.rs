//! Tables of the decision to store (RFC 9111 §3).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::*;
use crate::semantics::cache_control::TargetedFields;
use crate::semantics::freshness::{StaleRules, Staleness, Ttl};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;
use crate::semantics::request_kind::CredentialFields;
use crate::semantics::vary::Vary;

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
    let request = headers(request);
    let request = RequestHead {
        method: &method,
        headers: &request,
        kind: CredentialFields::default().kind_of(&request),
        at: moment(),
    };
    let response = ResponseHead {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: &headers(response),
        at: moment(),
    };
    match decide_storage(request, response, &rules) {
        StorageDecision::Store(grant) => Ok(grant.freshness.lifetime),
        StorageDecision::Refuse(refusal) => Err(refusal),
    }
}

type Expected = Result<Option<Duration>, Refusal>;

const NONE: Lines = &[];
const FRESH: Lines = &[("cache-control", "max-age=60")];
const PUBLIC: Lines = &[("cache-control", "max-age=60, public")];
const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// RFC 9111 §3, §3.5, §5.2.2.
#[test]
fn section_3_storing_with_explicit_freshness_or_none() {
    use Refusal as R;
    let cookie = &[("cookie", "id=1")];
    let authorization = &[("authorization", "Basic x")];
    let key = &[("x-api-key", "alice")];
    let key_and_cookie = &[("x-api-key", "alice"), ("cookie", "id=1")];
    #[rustfmt::skip]
    let rows: &[(&str, Lines, u16, Lines, Expected)] = &[
        ("explicit", NONE, 200, FRESH, Ok(MINUTE)),
        ("no lifetime stated", NONE, 200, NONE, Err(R::NoLifetime)),
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
        ("Authorization", authorization, 200, FRESH, Err(R::Credentials)),
        ("Authorization, public", authorization, 200, PUBLIC, Ok(MINUTE)),
        ("Authorization, s-maxage", authorization, 200, &[("cache-control", "s-maxage=60")], Ok(MINUTE)),
        ("Authorization, must-revalidate", authorization, 200, &[("cache-control", "max-age=60, must-revalidate")], Ok(MINUTE)),
        ("X-API-Key", key, 200, FRESH, Err(R::Credentials)),
        ("X-API-Key, public", key, 200, PUBLIC, Ok(MINUTE)),
        ("X-API-Key and Cookie, public, heuristic", key_and_cookie, 200, &[("cache-control", "public"), ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], Err(R::Cookie)),
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
        ("431 says nothing", NONE, 431, NONE, Err(R::Status)),
        ("206 is a part", &[("range", "bytes=0-1")], 206, FRESH, Err(R::Status)),
        ("304 is none", &[("if-none-match", "*")], 304, FRESH, Err(R::Status)),
        ("103", NONE, 103, FRESH, Err(R::Status)),
        ("428 is never stored", NONE, 428, PUBLIC, Err(R::Status)),
        ("429 is never stored", NONE, 429, PUBLIC, Err(R::Status)),
        ("431 is never stored", NONE, 431, PUBLIC, Err(R::Status)),
        ("511 is never stored", NONE, 511, PUBLIC, Err(R::Status)),
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
fn an_assigned_lifetime_is_for_responses_without_one() {
    use Refusal as R;
    let rules = StoringRules {
        assigned: Some(Ttl::For(Duration::from_secs(60))),
        ..StoringRules::default()
    };
    #[rustfmt::skip]
    let rows: &[(&str, Lines, Lines, Expected)] = &[
        ("no lifetime stated", NONE, NONE, Ok(MINUTE)),
        ("explicit wins", NONE, &[("cache-control", "max-age=5")], Ok(Some(Duration::from_secs(5)))),
        ("no-store wins", NONE, &[("cache-control", "no-store")], Err(R::NoStore)),
        ("a misspelt directive", NONE, &[("cache-control", "nostore")], Err(R::UnreadableDirectives)),
        ("an unknown directive", NONE, &[("cache-control", "foo=bar")], Ok(MINUTE)),
        ("Pragma alone", NONE, &[("pragma", "no-cache")], Err(R::UnreadableDirectives)),
        ("a misspelt directive, explicit", NONE, &[("cache-control", "max-age=5, nostore")], Ok(Some(Duration::from_secs(5)))),
        ("Cookie", &[("cookie", "id=1")], NONE, Err(R::Cookie)),
        ("Authorization", &[("authorization", "x")], NONE, Err(R::Credentials)),
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

/// A server error never replaces a stored response that is none (CPDoS).
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

/// RFC 9111 §7.3: by default no cookie is stored.
#[test]
fn set_cookie_is_stored_by_option() {
    let rules = StoringRules {
        store_set_cookie: true,
        ..StoringRules::default()
    };
    let response: Lines = &[("cache-control", "max-age=60"), ("set-cookie", "id=1")];
    assert_eq!(decide(Method::GET, NONE, 200, response, rules), Ok(MINUTE));
}

/// The precedence of what is said about a response: the handler for this cache alone, a targeted
/// field, `Cache-Control`, the layer. Directives that forbid win over all of them.
#[test]
fn what_counts_of_all_that_is_said() {
    const S: Duration = Duration::from_secs(1);
    const TARGETED: (&str, &str) = (
        "cdn-cache-control",
        "max-age=30, stale-while-revalidate=31, stale-if-error=32",
    );
    const PLAIN: (&str, &str) = (
        "cache-control",
        "max-age=20, stale-while-revalidate=21, stale-if-error=22",
    );
    const NOTHING: (&str, &str) = ("x-nothing", "said");
    let policy = StatedPolicy {
        ttl: Some((S * 40).into()),
        while_revalidate: Some(S * 41),
        if_error: Some(S * 42),
        ..StatedPolicy::default()
    };
    let ttl_alone = StatedPolicy {
        ttl: policy.ttl,
        ..StatedPolicy::default()
    };
    let windows_alone = StatedPolicy {
        ttl: None,
        ..policy.clone()
    };
    let forbidding = |line: &'static str| [("cache-control", line), NOTHING];
    let refused = Err;
    type Line = (&'static str, &'static str);
    type Row<'p> = (
        &'static str,
        Option<&'p StatedPolicy>,
        [Line; 2],
        Result<[u64; 3], Refusal>,
    );
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        ("policy", Some(&policy), [TARGETED, PLAIN], Ok([40, 41, 42])),
        ("policy over Cache-Control", Some(&policy), [NOTHING, PLAIN], Ok([40, 41, 42])),
        ("policy over the layer", Some(&policy), [NOTHING, NOTHING], Ok([40, 41, 42])),
        ("policy over Expires", Some(&policy), [("expires", "0"), NOTHING], Ok([40, 41, 42])),
        ("each row by itself", Some(&ttl_alone), [TARGETED, PLAIN], Ok([40, 31, 32])),
        ("windows alone", Some(&windows_alone), [NOTHING, PLAIN], Ok([20, 41, 42])),
        ("targeted field", None, [TARGETED, PLAIN], Ok([30, 31, 32])),
        ("Cache-Control", None, [NOTHING, PLAIN], Ok([20, 21, 22])),
        ("layer", None, [NOTHING, NOTHING], Ok([10, 11, 12])),
        ("a policy that says nothing", Some(&StatedPolicy::default()), [NOTHING, PLAIN], Ok([20, 21, 22])),
        ("no-store wins", Some(&policy), forbidding("no-store"), refused(Refusal::NoStore)),
        ("private wins", Some(&policy), forbidding("private"), refused(Refusal::Private)),
        ("no-cache wins", Some(&policy), forbidding("no-cache"), refused(Refusal::NoCache)),
        ("must-revalidate wins", Some(&policy), forbidding("must-revalidate"), Ok([40, 0, 0])),
        ("proxy-revalidate wins", Some(&policy), forbidding("proxy-revalidate"), Ok([40, 0, 0])),
        ("windows beside s-maxage", Some(&policy), forbidding("s-maxage=5"), Ok([40, 41, 42])),
        ("s-maxage without a policy", None, forbidding("s-maxage=5"), Ok([5, 0, 0])),
        ("Set-Cookie wins", Some(&policy), [("set-cookie", "a=b"), NOTHING], refused(Refusal::SetCookie)),
        ("Vary: * wins", Some(&policy), [("vary", "*"), NOTHING], refused(Refusal::Vary)),
        ("an unreadable directive", Some(&policy), forbidding("nostore; x"), Ok([40, 41, 42])),
        ("an unreadable directive, no lifetime stated", Some(&windows_alone), forbidding("nostore; x"),
            refused(Refusal::UnreadableDirectives)),
        ("the layer's limit counts", Some(&StatedPolicy { ttl: Some(Ttl::UntilInvalidated), ..policy.clone() }),
            [NOTHING, NOTHING], Ok([50, 41, 42])),
    ];
    for (case, stated, lines, expected) in rows {
        let rules = StoringRules {
            assigned: Some(Ttl::For(S * 10)),
            targets: TargetedFields::new([HeaderName::from_static("cdn-cache-control")]),
            max_fresh: Some(S * 50),
            stale: StaleRules {
                while_revalidate: S * 11,
                if_error: S * 12,
                ..StaleRules::default()
            },
            stated: stated.map(|stated| Arc::new(stated.clone())),
            ..StoringRules::default()
        };
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().expect("a field value"));
        }
        let request = RequestHead {
            method: &Method::GET,
            headers: &HeaderMap::new(),
            kind: CredentialFields::default().kind_of(&HeaderMap::new()),
            at: moment(),
        };
        let response = ResponseHead {
            status: StatusCode::OK,
            headers: &fields,
            at: moment(),
        };
        let got = match decide_storage(request, response, &rules) {
            StorageDecision::Refuse(refusal) => Err(refusal),
            StorageDecision::Store(StoragePolicy { freshness, .. }) => {
                let Staleness {
                    while_revalidate,
                    if_error,
                    ..
                } = freshness.stale;
                let lifetime = freshness.lifetime.expect("a lifetime");
                Ok([lifetime, while_revalidate, if_error].map(|time| time.as_secs()))
            }
        };
        assert_eq!(got, *expected, "{case}");
    }
}

/// The fields of a policy select beside those in `Vary`. Too many select nothing.
#[test]
fn all_named_fields_select() {
    let names = |names: &[&str]| -> Vec<HeaderName> {
        let name = |name: &&str| HeaderName::from_bytes(name.as_bytes()).expect("a name");
        names.iter().map(name).collect()
    };
    let many: Vec<String> = (0..40).map(|n| format!("x-{n}")).collect();
    let many: Vec<&'static str> = many.into_iter().map(|name| &*name.leak()).collect();
    type Names = &'static [&'static str];
    let rows: [(&str, Names, Option<Names>); 6] = [
        ("accept", &[], Some(&["accept"])),
        ("accept", &["x-a", "accept"], Some(&["accept", "x-a"])),
        ("", &["x-b", "x-a"], Some(&["x-a", "x-b"])),
        ("x-b", &["x-b", "x-b"], Some(&["x-b"])),
        ("*", &["x-a"], None),
        ("accept", many.leak(), None),
    ];
    for (line, stated, expected) in rows {
        let mut headers = HeaderMap::new();
        headers.insert("vary", line.parse().expect("a field value"));
        let rules = StoringRules {
            stated: Some(Arc::new(StatedPolicy {
                vary_on: names(stated),
                ..StatedPolicy::default()
            })),
            ..StoringRules::default()
        };
        let expected = expected.map(names);
        match rules.selecting_fields(Vary::from_headers(&headers)) {
            Vary::Fields(rule) => assert_eq!(Some(rule.names()), expected.as_deref(), "{line}"),
            other => assert_eq!((other, expected), (Vary::NeverMatches, None), "{line}"),
        }
    }
}
