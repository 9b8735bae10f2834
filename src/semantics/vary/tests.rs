//! Tables of selecting fields (RFC 9111 §4.1).

use http::{HeaderMap, HeaderName};

use super::*;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = value.parse().expect("a field value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn names(lines: &[&'static str]) -> Option<Vec<String>> {
    let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
    match Vary::from_headers(&map(&lines)) {
        Vary::Absent => Some(Vec::new()),
        Vary::Fields(rule) => Some(rule.names().iter().map(ToString::to_string).collect()),
        Vary::NeverMatches => None,
    }
}

/// RFC 9111 §4.1.
#[test]
fn section_4_1_which_fields_select() {
    let fields = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
    for (lines, expected) in [
        (&[][..], fields(&[])),
        (&[""], fields(&[])),
        (&["Accept"], fields(&["accept"])),
        (&["B, a", "A"], fields(&["a", "b"])),
        (&["*"], None),
        (&["accept, *"], None),
        (&["accept", "*"], None),
        (&["not a name"], None),
    ] {
        assert_eq!(names(lines), expected, "{lines:?}");
    }
}

#[test]
fn section_4_1_same_selection() {
    let (a, b) = ("accept", "x-b");
    for (stored, request, same) in [
        (&[][..], &[][..], true),
        (&[(a, "x")], &[(a, "x")], true),
        (&[(a, "x")], &[(a, " x ")], true),
        (&[(a, "x")], &[(a, "y")], false),
        (&[(a, "x")], &[], false),
        (&[], &[(a, "")], false),
        (&[(a, "x"), (a, "y")], &[(a, "x"), (a, "y")], true),
        (&[(a, "x"), (a, "y")], &[(a, "y"), (a, "x")], false),
        (&[(a, "x"), (a, "y")], &[(a, "x,y")], true),
        (&[(b, "x"), (b, "y")], &[(b, "x, y")], true),
        (&[(b, "x,y")], &[(b, "x, y")], false),
        (&[(a, "")], &[], false),
        (&[(a, "x"), (b, "y")], &[(a, "xy"), (b, "")], false),
        (
            &[(a, "x"), ("other", "1")],
            &[(a, "x"), ("other", "2")],
            true,
        ),
    ] {
        let Vary::Fields(rule) = Vary::from_headers(&map(&[("vary", "accept, x-b")])) else {
            panic!("names fields");
        };
        let selected = VarySelection::from_request(rule, &map(stored)).expect("short values");
        assert_eq!(
            selected.matches(&map(request)),
            same,
            "{stored:?} {request:?}"
        );
    }
}

/// RFC 9113 §8.2.3: HTTP/2 may split a cookie into lines, and no server sees a difference.
#[test]
fn a_cookie_selects_the_same_variant_over_every_version() {
    let cookie = "cookie";
    for (stored, request, same) in [
        (
            &[(cookie, "a=1"), (cookie, "b=2")][..],
            &[(cookie, "a=1; b=2")][..],
            true,
        ),
        (
            &[(cookie, "a=1; b=2"), (cookie, "c=3")],
            &[(cookie, "a=1"), (cookie, "b=2; c=3")],
            true,
        ),
        (
            &[(cookie, "a=1"), (cookie, "b=2")],
            &[(cookie, "a=1, b=2")],
            false,
        ),
        (
            &[(cookie, "a=1"), (cookie, "b=2")],
            &[(cookie, "a=1;b=2")],
            false,
        ),
        (
            &[(cookie, "a=1"), (cookie, "b=2")],
            &[(cookie, "a=1")],
            false,
        ),
        (&[(cookie, "a=1"), (cookie, "b=2")], &[], false),
    ] {
        let Vary::Fields(rule) = Vary::from_headers(&map(&[("vary", cookie)])) else {
            panic!("names fields");
        };
        let selected = VarySelection::from_request(rule, &map(stored)).expect("short values");
        assert_eq!(
            selected.matches(&map(request)),
            same,
            "{stored:?} {request:?}"
        );
    }
}
