//! Whether a directive of a response can be read. If all can, a response clearly states no lifetime
//! and forbids no storing.
//!
//! `Cache-Control: no-cache; no-store` is one member, which is no directive, and `nostore` is an
//! unknown one, which is ignored (RFC 9111 §5.2.3). Both mean something to their author. A response
//! like that gets no lifetime but one that it states.

use http::HeaderMap;
use http::header::PRAGMA;
use sfv::{BareItem, ListEntry};

use super::delta_seconds::delta_seconds;
use crate::semantics::fields;

/// The directives of a response (RFC 9111 §5.2.2, RFC 5861, RFC 8246), each with whether its
/// argument is a number of seconds.
const KNOWN: [(&str, bool); 13] = [
    ("immutable", false),
    ("max-age", true),
    ("must-revalidate", false),
    ("must-understand", false),
    ("no-cache", false),
    ("no-store", false),
    ("no-transform", false),
    ("private", false),
    ("proxy-revalidate", false),
    ("public", false),
    ("s-maxage", true),
    ("stale-if-error", true),
    ("stale-while-revalidate", true),
];

/// Returns whether `Pragma` says `no-cache`, which no RFC defines for responses, but which means
/// the same to those who send it. It counts without `Cache-Control`.
pub(super) fn has_pragma_no_cache(headers: &HeaderMap) -> bool {
    fields::list(headers, &PRAGMA).any(|member| is_spelt_like(member, "no-cache"))
}

/// Returns whether a member of `Cache-Control` is a directive by its grammar, and none that is
/// misspelt. A lifetime has to be a number of seconds.
pub(super) fn is_directive(member: &[u8]) -> bool {
    let (name, argument) = match member.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&member[..equals], Some(&member[equals + 1..])),
        None => (member, None),
    };
    let name = name.trim_ascii_end();
    let is_argument = |value: &[u8]| fields::is_token(value) || fields::is_quoted_string(value);
    let is_sound = || argument.is_none_or(|value| is_argument(value.trim_ascii_start()));
    let seconds = || {
        let (_, value) = fields::parameter(member);
        value.and_then(|value| delta_seconds(&value))
    };
    let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    match takes_seconds(name) {
        Some(true) => argument.is_some_and(is_number) || (is_sound() && seconds().is_some()),
        Some(false) => is_sound(),
        None => fields::is_token(name) && is_sound() && !is_misspelt(name),
    }
}

/// Returns whether a member of a targeted field is a directive, and none that is misspelt.
pub(super) fn is_structured_directive(name: &str, member: &ListEntry) -> bool {
    let is_number = || matches!(member, ListEntry::Item(item) if matches!(item.bare_item, BareItem::Integer(_)));
    match takes_seconds(name.as_bytes()) {
        Some(takes_seconds) => !takes_seconds || is_number(),
        None => !is_misspelt(name.as_bytes()),
    }
}

/// Returns whether the argument of a directive is a number of seconds; `None` for an unknown name.
fn takes_seconds(name: &[u8]) -> Option<bool> {
    // Comparing the lengths first spares most calls.
    let is_it = |known: &&(&str, bool)| {
        known.0.len() == name.len() && name.eq_ignore_ascii_case(known.0.as_bytes())
    };
    KNOWN.iter().find(is_it).map(|known| known.1)
}

/// Returns whether an unknown name is spelt like a known one.
fn is_misspelt(name: &[u8]) -> bool {
    KNOWN.iter().any(|(known, _)| is_spelt_like(name, known))
}

/// Returns whether two names differ, apart from case, hyphens and underscores, in one letter at
/// most: one more, one less, another one, or two that changed places.
fn is_spelt_like(name: &[u8], known: &str) -> bool {
    // A much longer name is not copied: it is another one.
    if name.len() > 2 * known.len() {
        return false;
    }
    let (one, other) = (letters(name), letters(known.as_bytes()));
    let equal = |(one, other): &(&u8, &u8)| one == other;
    let start = one.iter().zip(&other).take_while(equal).count();
    let (one, other) = (&one[start..], &other[start..]);
    let ends = one.iter().rev().zip(other.iter().rev());
    let end = ends.take_while(equal).count();
    match (&one[..one.len() - end], &other[..other.len() - end]) {
        ([a, b], [c, d]) => a == d && b == c,
        (one, other) => one.len() <= 1 && other.len() <= 1,
    }
}

/// Returns a name in lower case, without hyphens and underscores.
fn letters(name: &[u8]) -> Vec<u8> {
    let kept = name.iter().filter(|byte| !matches!(byte, b'-' | b'_'));
    kept.map(u8::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ResponseDirectives, TargetedFields};
    use super::*;

    fn is_read_whole(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        !ResponseDirectives::from_headers(&headers, &TargetedFields::default()).has_unreadable
    }

    /// RFC 9111 §5.2, §5.2.3.
    #[test]
    fn section_5_2_3_directives_and_extensions_are_read() {
        for line in [
            "",
            "public",
            "Public, IMMUTABLE",
            "no-cache=\"Set-Cookie, x\"",
            "private=x-user",
            "max-age=60",
            "max-age=\"60\"",
            "max-age = 60",
            "s-maxage=1, stale-while-revalidate=59",
            "no-transform, must-revalidate, proxy-revalidate, must-understand",
            "foo=bar, baz, community=\"UCI, no-store\"",
            "pre-check=0, post-check=0",
            "max-stale, min-fresh=1, only-if-cached",
            "no-site-cache, no-vary, semi-private, republic",
            "x-no-store-please, a",
        ] {
            assert!(is_read_whole(&[("cache-control", line)]), "{line}");
        }
        assert!(is_read_whole(&[]));
    }

    /// buildbot #5220.
    #[test]
    fn section_5_2_a_broken_or_misspelt_directive_is_noticed() {
        for line in [
            "no-cache; no-store",
            "private; max-age=0",
            "public; private",
            "max-age: 30",
            "max-age 30",
            "no store",
            "no-store.",
            "\"no-store\"",
            "(private)",
            "no-cache=\"set-cookie",
            "private=\"x\" y",
            "=1",
            "foo=",
            "foo=a b",
            "public, foo=a/b",
            "nostore",
            "no_store",
            "NOCACHE",
            "No_Cache",
            "maxage=30",
            "max_age=30",
            "smaxage=30",
            "s-max-age=30",
            "mustrevalidate",
            "proxy_revalidate",
            "no-chache",
            "no-cach",
            "no-sotre",
            "privat",
            "pirvate",
            "pubilc",
            "max-age=soon",
            "max-age=",
            "max-age",
            "max-age=-1",
            "stale-while-revalidate=60s",
            "caf\u{e9}",
        ] {
            assert!(!is_read_whole(&[("cache-control", line)]), "{line}");
            let beside = [("cache-control", "public"), ("cache-control", line)];
            assert!(!is_read_whole(&beside), "{line} on a second line");
        }
    }

    #[test]
    fn section_5_4_pragma_of_a_response_counts_without_cache_control() {
        for (lines, expected) in [
            (&[("pragma", "no-cache")][..], false),
            (&[("pragma", "x, No-Cache")], false),
            (&[("pragma", "nocache")], false),
            (&[("pragma", "x-other")], true),
            (&[("pragma", "")], true),
            (&[("pragma", "no-cache"), ("cache-control", "public")], true),
            (
                &[("pragma", "no-cache"), ("cdn-cache-control", "public")],
                true,
            ),
        ] {
            assert_eq!(is_read_whole(lines), expected, "{lines:?}");
        }
    }

    /// RFC 9213 §2.1: a malformed field is ignored, and yet was meant to say something.
    #[test]
    fn rfc_9213_section_2_1_a_broken_targeted_field_is_noticed() {
        for (line, expected) in [
            ("public, foo=1, bar=(1 2)", true),
            ("no-store=?0", true),
            ("max-age=60", true),
            ("", true),
            ("no-store,", false),
            ("No-Store", false),
            ("no-cache; no-store=", false),
            ("nostore", false),
            ("no_store", false),
            ("max-age=\"60\"", false),
            ("max-age=1.5", false),
            ("max-age", false),
        ] {
            let lines = [("cdn-cache-control", line), ("cache-control", "public")];
            assert_eq!(is_read_whole(&lines), expected, "{line}");
        }
    }

    /// A name costs no more than its place in the list.
    #[test]
    fn a_long_name_is_like_none() {
        assert!(!is_misspelt(&b"no-store".repeat(10_000)));
        assert!(!is_misspelt(&b"-".repeat(100_000)));
    }
}
