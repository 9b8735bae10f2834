//! Parses the fields for content negotiation, conditions, ranges and cache groups from arbitrary
//! bytes: no panic, and each module keeps its promises.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use arbitrary::Arbitrary;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, DATE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use tower_response_cache::fuzzing::groups::{self, GroupNames};
use tower_response_cache::fuzzing::moment::Moment;
use tower_response_cache::fuzzing::ranges::{
    MAX_RANGES, RequestedRanges, if_range_allows, requested_ranges,
};
use tower_response_cache::fuzzing::validation::{EntityTag, is_not_modified};
use tower_response_cache::fuzzing::vary::normalized_value;

#[derive(Arbitrary, Debug)]
struct Input<'b> {
    lines: Vec<&'b [u8]>,
    stored: [Option<&'b [u8]>; 3],
    length: u64,
}

fuzz_target!(|input: Input<'_>| {
    for name in [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE] {
        check_negotiation(&input.lines, &name);
    }
    check_ranges(&input.lines, input.length);
    check_conditions(&input);
    check_groups(&input.lines);
});

fn headers(lines: &[&[u8]], name: &HeaderName) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// White space around commas and empty list members change nothing.
fn check_negotiation(lines: &[&[u8]], name: &HeaderName) {
    let plain = headers(lines, name);
    let spaced: Vec<_> = lines
        .iter()
        .map(|line| [b" ,\t", *line, b" ,, "].concat())
        .collect();
    let spaced: Vec<_> = spaced.iter().map(Vec::as_slice).collect();
    let spaced = headers(&spaced, name);
    assert_eq!(
        normalized_value(name, &plain),
        normalized_value(name, &spaced)
    );
}

/// No range is empty, beyond the end or overlaps another, and their number is limited.
fn check_ranges(lines: &[&[u8]], length: u64) {
    let asked = headers(lines, &RANGE);
    let RequestedRanges::Parts(mut parts) = requested_ranges(&asked, length) else {
        return;
    };
    assert!((1..=MAX_RANGES).contains(&parts.len()));
    parts.sort_by_key(|part| part.start);
    assert!(
        parts
            .iter()
            .all(|part| part.start < part.end && part.end <= length)
    );
    assert!(parts.windows(2).all(|two| two[0].end <= two[1].start));
}

/// The stored tag matches itself; tags that match strongly match weakly too.
fn check_conditions(input: &Input<'_>) {
    let at = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let mut stored = HeaderMap::new();
    for (name, value) in [ETAG, LAST_MODIFIED, DATE].into_iter().zip(input.stored) {
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            stored.insert(name, value);
        }
    }
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        let asked = headers(&input.lines, &name);
        let _ = is_not_modified(&asked, StatusCode::OK, &stored, at);
        assert!(!is_not_modified(&asked, StatusCode::NOT_FOUND, &stored, at));
    }
    let _ = if_range_allows(&headers(&input.lines, &IF_RANGE), &stored, at);
    let Some(own) = EntityTag::from_headers(&stored) else {
        return;
    };
    let mut asked = HeaderMap::new();
    asked.insert(IF_NONE_MATCH, stored[ETAG].clone());
    assert!(is_not_modified(&asked, StatusCode::OK, &stored, at));
    for other in input.lines.iter().filter_map(|line| EntityTag::parse(line)) {
        assert!(!own.matches_strongly(&other) || own.matches_weakly(&other));
        assert_eq!(own.matches_weakly(&other), other.matches_weakly(&own));
    }
}

/// The names are sorted and unique; lines of a list can be joined.
fn check_groups(lines: &[&[u8]]) {
    let name = HeaderName::from_static("cache-groups");
    let found = groups::member_groups(&headers(lines, &name));
    if let GroupNames::Listed(names) = &found {
        assert!(names.windows(2).all(|two| two[0] < two[1]));
    }
    if lines
        .iter()
        .all(|line| HeaderValue::from_bytes(line).is_ok())
    {
        let joined = lines.join(&b", "[..]);
        assert_eq!(groups::member_groups(&headers(&[&joined], &name)), found);
    }
}
