//! A stored response, made from its head and body.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::{Vary, VarySelection};

fn store(
    status: u16,
    lines: &[(&'static str, &'static str)],
    body: &'static str,
) -> StoredResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a field value"));
    }
    store_fields(status, &headers, body)
}

fn store_fields(status: u16, headers: &HeaderMap, body: &'static str) -> StoredResponse {
    let received = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let grant = StoragePolicy {
        freshness: Freshness {
            received,
            initial_age: Duration::ZERO,
            lifetime: None,
            stale: Staleness::default(),
            immutable: false,
        },
        selected: None,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    StoredHead::new(Arc::default(), status, headers, grant).with_body(
        body.into(),
        None,
        Duration::ZERO,
    )
}

#[test]
fn the_head_is_completed() {
    let stored = store(
        200,
        &[("age", "7"), ("connection", "x"), ("x", "1")],
        "body",
    );
    let headers = stored.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(text("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(text("content-length"), Some("4"));
    assert_eq!(text("age"), Some(""));
    assert_eq!(text("cache-status"), Some(""));
    assert_eq!(text("x"), None);
}

/// RFC 9110 §8.6: a 204 has no `Content-Length`.
#[test]
fn no_content_has_no_length() {
    assert!(!store(204, &[], "").headers().contains_key(CONTENT_LENGTH));
    assert_eq!(store(200, &[], "").headers()[CONTENT_LENGTH], "0");
}

#[test]
fn every_line_and_its_order_survive_compaction() {
    let stored = store(200, &[("via", "1.1 a"), ("x", ""), ("via", "1.1 b")], "");
    let headers = stored.headers();
    let via: Vec<_> = headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.1 a", "1.1 b"]);
    assert_eq!(stored.headers()["x"], "");
}

#[test]
fn an_upstreams_status_is_kept() {
    let stored = store(200, &[("cache-status", "up; hit")], "");
    assert!(stored.has_upstream_status());
    assert_eq!(stored.headers()[CACHE_STATUS], "up; hit");
}

#[test]
fn weight_grows_with_the_content() {
    let body = &*"x".repeat(100_000).leak();
    let small = store(200, &[], &body[..10]).weight();
    assert_eq!(store(200, &[], &body[..42]).weight(), small + 32);
    let large = store(200, &[], &body[..10_000]).weight();
    assert_eq!(store(200, &[], body).weight(), large + 90_000);
    let line = ("x-long", &body[..200]);
    assert!(store(200, &[line], &body[..10]).weight() >= small + 200);
}

/// The values of an answer, for the tests.
struct Values(Option<AnswerKey>, &'static str);

impl AnswerValues for Values {
    fn key(&self) -> Option<AnswerKey> {
        self.0
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert("age", self.1.parse().expect("a field value"));
    }
}

/// Whatever this thread remembers of a response, no answer has the values of another one.
#[test]
fn remembered_heads_are_those_that_would_be_made() {
    let lines = &[
        ("etag", "\"1\""),
        ("via", "1.1 a"),
        ("via", "1.1 b"),
        ("x", "1"),
    ];
    let (first, other) = (store(200, lines, "body"), store(200, lines, "bodY"));
    let key = |number| Some([number, 0, 1]);
    for round in 0..3 {
        for stored in [&first, &other, &first, &first] {
            for values in [
                Values(key(1), "1"),
                Values(key(1), "1"),
                Values(None, "other"),
                Values(key(2), "2"),
            ] {
                let (headers, body) = stored.answer(&values);
                assert_eq!(headers["age"], values.1, "{round}");
                assert_eq!(body, stored.body());
                assert_eq!(headers["etag"], "\"1\"");
                assert_eq!(headers.get_all("via").iter().count(), 2);
                assert_eq!(stored.not_modified_with(&values)["age"], values.1);
                assert_eq!(stored.headers()["age"], "");
                let mut without = headers;
                without.insert("age", "".parse().expect("a field value"));
                assert_eq!(without, stored.headers());
            }
        }
    }
    let mut changed = store(200, lines, "body").headers();
    changed.remove("content-length");
    assert_eq!(first.not_modified(), changed);
}

/// Responses with equal fields share what a thread remembers, wherever they lie: a 304 is none of
/// a whole response, which has more fields.
#[test]
fn the_head_of_a_304_is_no_head_of_a_whole_response() {
    for length in [0, 2000] {
        let text = &*"x".repeat(length).leak();
        let lines = &[("etag", "\"1\""), ("content-type", "text/html")];
        let all: Vec<_> = (0..600).map(|_| store(200, lines, text)).collect();
        let values = Values(Some([1, 1, 1]), "7");
        let not_modified = |stored: &StoredResponse| {
            let headers = stored.not_modified_with(&values);
            assert!(!headers.contains_key("content-type"));
        };
        let whole = |stored: &StoredResponse| {
            let (headers, _) = stored.answer(&values);
            assert_eq!(headers["content-type"], "text/html");
            assert_eq!(stored.headers()["content-type"], "text/html");
        };
        // Twice in a row, so that each is remembered, in places that differ by chance.
        for make in [
            &not_modified as &dyn Fn(&StoredResponse),
            &whole,
            &not_modified,
        ] {
            all.iter()
                .for_each(|stored| (0..3).for_each(|_| make(stored)));
        }
    }
}

/// A small body, a large one, names that have no number, a name too many for a map of the thread.
#[test]
fn responses_of_all_sizes_are_what_was_stored() {
    let text = &*"x".repeat(5000).leak();
    let name = &*format!("x-{}", &text[..600]).leak();
    for length in [0, 1, 1024, 1025, 5000] {
        let lines = &[("x-own", "1"), (name, &text[..200]), ("server", "s")];
        let stored = store(200, lines, &text[..length]);
        for _ in 0..3 {
            let values = Values(Some([1, 1, 1]), "7");
            let (headers, body) = stored.answer(&values);
            assert_eq!(body, text.as_bytes()[..length]);
            assert_eq!(stored.body_bytes(), body);
            for (name, value) in lines {
                assert_eq!(headers[*name], *value);
            }
            assert_eq!(headers["content-length"], length.to_string());
            assert_eq!(headers["age"], "7");
        }
    }
}

/// Dates, sensitive values, numbers, values with a number of their own, long ones: in whichever
/// order the responses are answered from, each has its own.
#[test]
fn responses_with_the_same_names_keep_their_own_values() {
    let long = &*"x".repeat(200).leak();
    let mut all = Vec::new();
    for date in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:38 GMT",
        "0",
    ] {
        for text in ["7", "07", "8", "\"1\"", "text/html", "", long] {
            for is_sensitive in [true, false] {
                let mut value: http::HeaderValue = text.parse().expect("a field value");
                value.set_sensitive(is_sensitive);
                let mut headers = HeaderMap::new();
                headers.insert("last-modified", date.parse().expect("a field value"));
                headers.insert("x-own", value);
                all.push((
                    date,
                    text,
                    is_sensitive,
                    store_fields(200, &headers, "body"),
                ));
            }
        }
    }
    for step in [1, 5, 11, 13, 41] {
        for number in 0..3 * all.len() {
            let (date, text, is_sensitive, stored) = &all[number * step % all.len()];
            let headers = stored.headers();
            assert_eq!(headers["last-modified"], *date);
            assert_eq!(headers["x-own"], *text);
            assert_eq!(headers["x-own"].is_sensitive(), *is_sensitive, "{text}");
        }
    }
}

/// P7: heads of many short lines, of long values, of many names and of common responses.
#[test]
fn a_thread_remembers_a_bounded_number_of_bytes() {
    let text = |number: usize, length: usize| -> &'static str {
        format!("{number:03}{}", "x".repeat(length - 3)).leak()
    };
    let lines = |case: &str, number: usize| match case {
        "lines" => vec![("link", text(number, 3)); 400],
        "values" => vec![("etag", text(number, 3000)), ("link", text(number, 900))],
        "names" => (0..30)
            .map(|name| (text(number % 40 * 30 + name, 16), text(number, 100)))
            .collect(),
        _ => vec![
            ("etag", text(number, 20)),
            ("server", "s"),
            ("x-own", text(number, 9)),
        ],
    };
    for case in ["lines", "values", "names", "common"] {
        let stored = (0..600).map(|number| store(200, &lines(case, number), "body"));
        let all: Vec<_> = stored.collect();
        let answer = |stored: &StoredResponse| (0..4).for_each(|_| drop(stored.headers()));
        let answer_all = || allocation_counter::measure(|| all.iter().for_each(answer));
        let counted = std::thread::scope(|scope| scope.spawn(answer_all).join());
        let held = counted.expect("no panic").bytes_current;
        assert!(held <= 640 * 1024, "{case}: {held}");
        // Common ones are remembered.
        assert!(case != "common" || held > 100 * 1024, "{held}");
    }
}

/// P7: what the allocator holds is counted, and no more than a tenth on top.
#[test]
fn the_weight_is_what_is_allocated() {
    let long = &*"x".repeat(3000).leak();
    let six: &[(&'static str, &'static str)] = &[
        ("content-type", "application/json"),
        ("cache-control", "max-age=3600"),
        ("etag", "W/\"8f14e45fceea167a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-request-id", "6ba7b810"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let vary = &[six, &[("vary", "accept, x-own")]].concat();
    let large_head = &[six, &[("x-long", long)]].concat();
    for (case, lines, trailers) in [
        ("six fields", six, 0),
        ("variants", vary, 0),
        ("a large head", large_head, 0),
        ("trailers", six, 3),
    ] {
        for length in [0, 150, 1024, 1025, 16 * 1024, 900 * 1024] {
            let mut weight = 0;
            let allocated = allocation_counter::measure(|| {
                let stored = whole_response(lines, length, trailers);
                weight = stored.weight() as i64;
                std::mem::forget(Arc::new(stored));
            });
            // In whole steps of the allocator, with its headers.
            let held = allocated.bytes_current + 16 * allocated.count_current;
            let is_counted = weight + 64 >= held && weight <= held + held / 10 + 128;
            assert!(is_counted, "{case}, {length}: {weight} for {held}");
        }
    }
}

/// A response with a key, a window, and the values that selected it, where it varies.
fn whole_response(
    lines: &[(&'static str, &'static str)],
    length: usize,
    trailers: usize,
) -> StoredResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a field value"));
    }
    let selected = match Vary::from_headers(&headers) {
        Vary::Fields(rule) => VarySelection::from_request(rule, &headers),
        _ => None,
    };
    let stale = Staleness {
        validation: Duration::from_secs(3600),
        ..Staleness::default()
    };
    let policy = StoragePolicy {
        freshness: Freshness {
            received: Moment::new(Duration::ZERO, UNIX_EPOCH),
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(3600)),
            stale,
            immutable: false,
        },
        selected,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let trailers = (trailers > 0).then(|| {
        let name = |n| format!("x-{n}").parse::<http::HeaderName>();
        let value = || http::HeaderValue::from_static("a value");
        (0..trailers)
            .map(|n| (name(n).expect("a field name"), value()))
            .collect()
    });
    let identity = Arc::from(*b"\0\x11shop.example:3000\x0e/products/1234\xff\xff");
    let head = StoredHead::new(identity, StatusCode::OK, &headers, policy);
    head.with_body(vec![b'x'; length].into(), trailers, Duration::ZERO)
}
