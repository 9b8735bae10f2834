//! `Cache-Control` of requests and responses (RFC 9111 §5.2), and `Pragma` (§5.4).
//!
//! Names are compared without case, several lines are one list, both forms of an argument are read (§5.2), an unknown
//! directive is ignored (§5.2.3). Where a directive stands twice the more restrictive one counts; a lifetime that cannot
//! be read is taken for zero (§4.2.1).

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::fields;

/// Seconds beyond which a number says nothing more (RFC 9111 §1.2.2).
const LARGEST_DELTA: u64 = 1 << 31;

/// What a response's `Cache-Control` says to a shared cache (RFC 9111 §5.2.2).
///
/// The qualified forms `no-cache="field"` and `private="field"` are read as the unqualified ones, which both sections
/// allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// §5.2.2.1: explicit lifetime.
    pub max_age: Option<Duration>,
    /// §5.2.2.2: stale is never reused unvalidated; also lets answers to `Authorization` be stored (§3.5).
    pub must_revalidate: bool,
    /// §5.2.2.4: never reused unvalidated.
    pub no_cache: bool,
    /// §5.2.2.5
    pub no_store: bool,
    /// §5.2.2.7
    pub private: bool,
    /// §5.2.2.8: the same for shared caches, but for what is said of `Authorization`.
    pub proxy_revalidate: bool,
    /// §5.2.2.9
    pub public: bool,
    /// §5.2.2.10: explicit lifetime for shared caches; wins over `max-age` and `Expires`.
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §4: for how long it may be used, stale, in the place of an error.
    pub stale_if_error: Option<Duration>,
    /// RFC 5861 §3: for how long it may be used, stale, while it is fetched anew.
    pub stale_while_revalidate: Option<Duration>,
}

impl ResponseDirectives {
    /// Reads them from a response's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for member in fields::list(headers, &CACHE_CONTROL) {
            let (name, value) = fields::parameter(member);
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("max-age") {
                smallest(&mut said.max_age, lifetime(value.as_deref()));
            } else if is("s-maxage") {
                smallest(&mut said.s_maxage, lifetime(value.as_deref()));
            } else if is("must-revalidate") {
                said.must_revalidate = true;
            } else if is("proxy-revalidate") {
                said.proxy_revalidate = true;
            } else if is("stale-if-error") {
                smallest(&mut said.stale_if_error, lifetime(value.as_deref()));
            } else if is("stale-while-revalidate") {
                smallest(&mut said.stale_while_revalidate, lifetime(value.as_deref()));
            } else if is("no-cache") {
                said.no_cache = true;
            } else if is("no-store") {
                said.no_store = true;
            } else if is("private") {
                said.private = true;
            } else if is("public") {
                said.public = true;
            }
        }
        said
    }
}

/// What a request's `Cache-Control` asks of a cache (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// §5.2.1.1: nothing older than this.
    pub max_age: Option<Duration>,
    /// §5.2.1.3: nothing that does not stay fresh for this long.
    pub min_fresh: Option<Duration>,
    /// §5.2.1.4, or `Pragma: no-cache` where there is no `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// §5.2.1.5
    pub no_store: bool,
    /// §5.2.1.7
    pub only_if_cached: bool,
    /// RFC 5861 §4: what is stale by less than this will do in the place of an error.
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads them from a request's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            said.no_cache = fields::list(headers, &PRAGMA)
                .any(|member| member.eq_ignore_ascii_case(b"no-cache"));
            return said;
        }
        for member in fields::list(headers, &CACHE_CONTROL) {
            let (name, value) = fields::parameter(member);
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("max-age") {
                smallest(&mut said.max_age, lifetime(value.as_deref()));
            } else if is("min-fresh") {
                let asked = value
                    .as_deref()
                    .and_then(delta_seconds)
                    .unwrap_or(Duration::from_secs(LARGEST_DELTA));
                said.min_fresh = Some(said.min_fresh.unwrap_or_default().max(asked));
            } else if is("no-cache") {
                said.no_cache = true;
            } else if is("no-store") {
                said.no_store = true;
            } else if is("only-if-cached") {
                said.only_if_cached = true;
            } else if is("stale-if-error") {
                smallest(&mut said.stale_if_error, lifetime(value.as_deref()));
            }
        }
        said
    }
}

fn smallest(kept: &mut Option<Duration>, new: Duration) {
    *kept = Some(kept.map_or(new, |old| old.min(new)));
}

fn lifetime(value: Option<&[u8]>) -> Duration {
    value.and_then(delta_seconds).unwrap_or_default()
}

/// A non-negative number of seconds (RFC 9111 §1.2.2); one too large to count saturates.
#[must_use]
pub fn delta_seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = value.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_secs(seconds.min(LARGEST_DELTA)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().expect("a field value"));
        }
        headers
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    /// H01, H23
    #[test]
    fn section_5_2_2_response_directives() {
        let none = ResponseDirectives::default();
        let rows: &[(&[&'static str], ResponseDirectives)] = &[
            (&[], none),
            (
                &["max-age=60"],
                ResponseDirectives {
                    max_age: seconds(60),
                    ..none
                },
            ),
            (
                &["MAX-AGE=60"],
                ResponseDirectives {
                    max_age: seconds(60),
                    ..none
                },
            ),
            (
                &[r#"max-age="60""#],
                ResponseDirectives {
                    max_age: seconds(60),
                    ..none
                },
            ),
            (
                &["max-age=60, max-age=5"],
                ResponseDirectives {
                    max_age: seconds(5),
                    ..none
                },
            ),
            (
                &["max-age=5", "max-age=60"],
                ResponseDirectives {
                    max_age: seconds(5),
                    ..none
                },
            ),
            (
                &["max-age=-1"],
                ResponseDirectives {
                    max_age: seconds(0),
                    ..none
                },
            ),
            (
                &["max-age=1.5"],
                ResponseDirectives {
                    max_age: seconds(0),
                    ..none
                },
            ),
            (
                &["max-age"],
                ResponseDirectives {
                    max_age: seconds(0),
                    ..none
                },
            ),
            (
                &["max-age=99999999999999999999999"],
                ResponseDirectives {
                    max_age: seconds(LARGEST_DELTA),
                    ..none
                },
            ),
            (
                &["s-maxage=7"],
                ResponseDirectives {
                    s_maxage: seconds(7),
                    ..none
                },
            ),
            (
                &["no-store"],
                ResponseDirectives {
                    no_store: true,
                    ..none
                },
            ),
            (
                &["No-Store , public"],
                ResponseDirectives {
                    no_store: true,
                    public: true,
                    ..none
                },
            ),
            (
                &["private"],
                ResponseDirectives {
                    private: true,
                    ..none
                },
            ),
            (
                &[r#"private="x-user""#],
                ResponseDirectives {
                    private: true,
                    ..none
                },
            ),
            (
                &["no-cache"],
                ResponseDirectives {
                    no_cache: true,
                    ..none
                },
            ),
            (
                &[r#"no-cache="set-cookie, x""#],
                ResponseDirectives {
                    no_cache: true,
                    ..none
                },
            ),
            (
                &["must-revalidate"],
                ResponseDirectives {
                    must_revalidate: true,
                    ..none
                },
            ),
            (
                &[r#"ext="a, no-store", public"#],
                ResponseDirectives {
                    public: true,
                    ..none
                },
            ),
            (
                &[r#"ext="open, no-store"#],
                ResponseDirectives {
                    no_store: true,
                    ..none
                },
            ),
            (&["no-storex, xpublic"], none),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                ResponseDirectives::of(&headers(lines)),
                *expected,
                "{lines:?}"
            );
        }
    }

    /// H21
    #[test]
    fn section_5_2_1_request_directives() {
        let none = RequestDirectives::default();
        let rows: &[(&[&'static str], RequestDirectives)] = &[
            (&[], none),
            (
                &["no-cache"],
                RequestDirectives {
                    no_cache: true,
                    ..none
                },
            ),
            (
                &["no-store"],
                RequestDirectives {
                    no_store: true,
                    ..none
                },
            ),
            (
                &["only-if-cached"],
                RequestDirectives {
                    only_if_cached: true,
                    ..none
                },
            ),
            (
                &["max-age=0"],
                RequestDirectives {
                    max_age: seconds(0),
                    ..none
                },
            ),
            (
                &["max-age=9, max-age=3"],
                RequestDirectives {
                    max_age: seconds(3),
                    ..none
                },
            ),
            (
                &["min-fresh=3", "min-fresh=9"],
                RequestDirectives {
                    min_fresh: seconds(9),
                    ..none
                },
            ),
            (
                &["min-fresh=x"],
                RequestDirectives {
                    min_fresh: seconds(LARGEST_DELTA),
                    ..none
                },
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                RequestDirectives::of(&headers(lines)),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "No-Cache".parse().expect("a field value"));
        assert!(RequestDirectives::of(&headers).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().expect("a field value"));
        assert!(!RequestDirectives::of(&headers).no_cache);
    }
}
