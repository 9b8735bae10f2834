//! Fields of any bytes that select, that are conditions, that ask for parts or that name groups: no panic, and what each
//! module says of its answers.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use arbitrary::Arbitrary;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, DATE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use tower_response_cache::fuzzing::vary::normalized_value;
use tower_response_cache::fuzzing::validation::{EntityTag, is_not_modified};
use tower_response_cache::fuzzing::groups::{self, GroupNames};
use tower_response_cache::fuzzing::moment::Moment;
use tower_response_cache::fuzzing::ranges::{MAX_RANGES, RequestedRanges, if_range_allows, requested_ranges};

#[derive(Arbitrary, Debug)]
struct Input<'b> {
    lines: Vec<&'b [u8]>,
    stored: [Option<&'b [u8]>; 3],
    length: u64,
}

fuzz_target!(|input: Input<'_>| {
    for name in [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE] {
        selects(&input.lines, &name);
    }
    asks_for_parts(&input.lines, input.length);
    is_a_condition(&input);
    names_groups(&input.lines);
});

fn of(lines: &[&[u8]], name: &HeaderName) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// White space around commas and empty members say nothing, whatever the lines are.
fn selects(lines: &[&[u8]], name: &HeaderName) {
    let plain = of(lines, name);
    let spaced: Vec<_> = lines
        .iter()
        .map(|line| [b" ,\t", *line, b" ,, "].concat())
        .collect();
    let spaced: Vec<_> = spaced.iter().map(Vec::as_slice).collect();
    let spaced = of(&spaced, name);
    assert_eq!(normalized_value(name, &plain), normalized_value(name, &spaced));
}

/// None is empty, none beyond the end, none twice, and there are not too many.
fn asks_for_parts(lines: &[&[u8]], length: u64) {
    let asked = of(lines, &RANGE);
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

/// Whoever names the stored tag has the response; a strong comparison that holds is a weak one that does.
fn is_a_condition(input: &Input<'_>) {
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
        let asked = of(&input.lines, &name);
        let _ = is_not_modified(&asked, StatusCode::OK, &stored, at);
        assert!(!is_not_modified(&asked, StatusCode::NOT_FOUND, &stored, at));
    }
    let _ = if_range_allows(&of(&input.lines, &IF_RANGE), &stored, at);
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

/// Sorted, each once, and split over lines or not.
fn names_groups(lines: &[&[u8]]) {
    let name = HeaderName::from_static("cache-groups");
    let found = groups::membership(&of(lines, &name));
    if let GroupNames::Listed(names) = &found {
        assert!(names.windows(2).all(|two| two[0] < two[1]));
    }
    if lines
        .iter()
        .all(|line| HeaderValue::from_bytes(line).is_ok())
    {
        let joined = lines.join(&b", "[..]);
        assert_eq!(groups::membership(&of(&[&joined], &name)), found);
    }
}
