//! Parses `Cache-Control` from arbitrary bytes: no panic, letter case and white space change
//! nothing, and no directive cancels another.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use tower_response_cache::Ttl;
use tower_response_cache::fuzzing::cache_control::TargetedFields;
use tower_response_cache::fuzzing::cache_control::{
    IgnoredDirectives, RequestDirectives, ResponseDirectives,
};
use tower_response_cache::fuzzing::moment::Moment;
use tower_response_cache::fuzzing::request_kind::RequestKind;
use tower_response_cache::fuzzing::storing::{
    RequestHead, ResponseHead, StorageDecision, StoringRules, decide_storage,
};

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<Vec<u8>> = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let Some(parsed) = Parsed::from_lines(&lines) else {
        return;
    };
    let each = |change: &dyn Fn(&Vec<u8>) -> Vec<u8>| lines.iter().map(change).collect::<Vec<_>>();
    for same in [
        each(&|line| line.to_ascii_uppercase()),
        each(&|line| line.to_ascii_lowercase()),
        each(&|line| [b"\t ,, ", &line[..], b" , \t"].concat()),
    ] {
        assert_eq!(Parsed::from_lines(&same).as_ref(), Some(&parsed));
    }
    if !bytes.contains(&b'"') {
        let spaced = each(&|line| {
            let members: Vec<_> = line.split(|byte| *byte == b',').collect();
            members.join(&b"\t , "[..])
        });
        assert_eq!(Parsed::from_lines(&spaced).as_ref(), Some(&parsed));
        assert_eq!(
            Parsed::from_lines(&[lines.join(&b","[..])]).as_ref(),
            Some(&parsed)
        );
    }
    for forbids in ["private", "no-cache", "No-Cache=\"a, b\""] {
        assert_forbids_reuse(&lines, &parsed, forbids.as_bytes());
    }
    // RFC 9111 §5.2.2.3: beside `must-understand` a known status code ignores `no-store`.
    if !parsed.response.must_understand {
        assert_forbids_reuse(&lines, &parsed, b"no-store");
    }
    assert_not_longer(&lines, &parsed);
});

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    response: ResponseDirectives,
    request: RequestDirectives,
}

impl Parsed {
    fn from_lines(lines: &[Vec<u8>]) -> Option<Self> {
        let headers = headers(lines)?;
        Some(Self {
            response: ResponseDirectives::from_headers(&headers, &TargetedFields::default()),
            request: RequestDirectives::from_headers(&headers, IgnoredDirectives::default()),
        })
    }
}

fn headers(lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

/// A directive takes effect at any place: the response is not reused without validation.
fn assert_forbids_reuse(lines: &[Vec<u8>], parsed: &Parsed, directive: &[u8]) {
    let mut places = vec![lines.to_vec(); 4];
    places[0].insert(0, directive.to_vec());
    places[1].push(directive.to_vec());
    places[2][0] = [directive, b",", &lines[0]].concat();
    // An unclosed quote must not hide the directives after it. A directive with quotes of its own
    // would close it, so that case is left out.
    if directive.contains(&b'"') {
        places.truncate(3);
    } else {
        places[3][0] = [&lines[0], &b","[..], directive].concat();
    }
    for lines in places {
        let headers = headers(&lines).expect("still values");
        assert!(!is_reused_whole(&headers), "{lines:?}");
        let response = ResponseDirectives::from_headers(&headers, &TargetedFields::default());
        let lifetimes = (response.max_age, response.s_maxage);
        assert_eq!(
            lifetimes,
            (parsed.response.max_age, parsed.response.s_maxage)
        );
    }
}

fn is_reused_whole(headers: &HeaderMap) -> bool {
    let at = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let asked = RequestHead {
        method: &Method::GET,
        headers: &HeaderMap::new(),
        kind: RequestKind::Plain,
        at,
    };
    let answered = ResponseHead {
        status: StatusCode::OK,
        headers,
        at,
    };
    let rules = StoringRules {
        assigned: Some(Ttl::UntilInvalidated),
        store_set_cookie: true,
        ..StoringRules::default()
    };
    match decide_storage(asked, answered, &rules) {
        StorageDecision::Store(grant) => grant.freshness.is_reusable() && grant.withheld.is_empty(),
        StorageDecision::Refuse(_) => false,
    }
}

/// A second lifetime never extends the first one.
fn assert_not_longer(lines: &[Vec<u8>], parsed: &Parsed) {
    let more = [lines, &[b"max-age=5, s-maxage=x".to_vec()]].concat();
    let both = Parsed::from_lines(&more).expect("still values");
    let before = parsed.response.max_age.unwrap_or(Duration::MAX);
    assert_eq!(
        both.response.max_age,
        Some(before.min(Duration::from_secs(5)))
    );
    assert_eq!(both.response.s_maxage, Some(Duration::ZERO));
}
