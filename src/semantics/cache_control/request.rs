//! Directives of a request (RFC 9111 §5.2.1).

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::delta_seconds::{MAX_DELTA_SECONDS, delta_seconds, lifetime, smallest};
use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_REQUEST_FIELD, is_longer_than};

/// The directives of a request's `Cache-Control` (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `max-age` (RFC 9111 §5.2.1.1): the largest age of an acceptable response.
    pub max_age: Option<Duration>,
    /// `max-stale` (§5.2.1.2): how stale an acceptable response may be. Without an argument:
    /// [`Duration::MAX`].
    pub max_stale: Option<Duration>,
    /// `min-fresh` (§5.2.1.3): how long an acceptable response stays fresh.
    pub min_fresh: Option<Duration>,
    /// `no-cache` (§5.2.1.4), or `Pragma: no-cache` without `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// `no-store` (§5.2.1.5).
    pub no_store: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `stale-if-error` (RFC 5861 §4): how stale a response may be that is served in the place of
    /// an error.
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads the directives of a request, except for the `ignored` ones.
    ///
    /// A field beyond [`MAX_REQUEST_FIELD`] may have any directive: it counts as `no-cache` and
    /// `no-store`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, ignored: IgnoredDirectives) -> Self {
        let mut directives = Self::default();
        // Most requests have neither, and every fill comes here.
        if !fields::has_any(headers, &[CACHE_CONTROL, PRAGMA]) {
            return directives;
        }
        let is_too_long = |name| is_longer_than(MAX_REQUEST_FIELD, headers, name);
        if is_too_long(&CACHE_CONTROL) || is_too_long(&PRAGMA) {
            (directives.no_cache, directives.no_store) = (true, true);
            return directives.without(ignored);
        }
        if !headers.contains_key(CACHE_CONTROL) {
            directives.no_cache = !ignored.has(RequestDirective::Pragma)
                && fields::list(headers, &PRAGMA)
                    .any(|member| member.eq_ignore_ascii_case(b"no-cache"));
            return directives;
        }
        for member in fields::list(headers, &CACHE_CONTROL) {
            let (name, value) = fields::parameter(member);
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("max-age") {
                smallest(&mut directives.max_age, lifetime(value.as_deref()));
            } else if is("min-fresh") {
                let seconds = value
                    .as_deref()
                    .and_then(delta_seconds)
                    .unwrap_or(Duration::from_secs(MAX_DELTA_SECONDS));
                directives.min_fresh = Some(directives.min_fresh.unwrap_or_default().max(seconds));
            } else if is("max-stale") {
                // An argument that cannot be read accepts nothing stale; none at all accepts
                // everything.
                let accepted = match value.as_deref() {
                    None => Duration::MAX,
                    Some(value) => delta_seconds(value).unwrap_or_default(),
                };
                smallest(&mut directives.max_stale, accepted);
            } else if is("no-cache") {
                directives.no_cache = true;
            } else if is("no-store") {
                directives.no_store = true;
            } else if is("only-if-cached") {
                directives.only_if_cached = true;
            } else if is("stale-if-error") {
                smallest(&mut directives.stale_if_error, lifetime(value.as_deref()));
            }
        }
        directives.without(ignored)
    }

    /// Returns whether a stale response is accepted at all.
    ///
    /// `max-age`, `min-fresh` and `no-cache` refuse it (RFC 9111 §5.2.1.1, §5.2.1.3, §5.2.1.4):
    /// they force a call to the origin that a request without directives would not cause.
    #[must_use]
    pub fn accept_stale(&self) -> bool {
        !self.no_cache && self.max_age.is_none() && self.min_fresh.is_none()
    }

    /// Returns the directives without the ignored ones.
    fn without(self, ignored: IgnoredDirectives) -> Self {
        use RequestDirective as D;
        let is_obeyed = |directive: D| !ignored.has(directive);
        Self {
            max_age: self.max_age.filter(|_| is_obeyed(D::MaxAge)),
            max_stale: self.max_stale.filter(|_| is_obeyed(D::MaxStale)),
            min_fresh: self.min_fresh.filter(|_| is_obeyed(D::MinFresh)),
            no_cache: self.no_cache && is_obeyed(D::NoCache),
            no_store: self.no_store && is_obeyed(D::NoStore),
            only_if_cached: self.only_if_cached && is_obeyed(D::OnlyIfCached),
            stale_if_error: self.stale_if_error.filter(|_| is_obeyed(D::StaleIfError)),
        }
    }
}

/// A directive by which a request restricts or widens what a cache may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum RequestDirective {
    /// `max-age` (RFC 9111 §5.2.1.1).
    MaxAge,
    /// `max-stale` (§5.2.1.2).
    MaxStale,
    /// `min-fresh` (§5.2.1.3).
    MinFresh,
    /// `no-cache` (§5.2.1.4).
    NoCache,
    /// `no-store` (§5.2.1.5).
    NoStore,
    /// `only-if-cached` (§5.2.1.7).
    OnlyIfCached,
    /// `Pragma: no-cache` (§5.4).
    Pragma,
    /// `stale-if-error` (RFC 5861 §4).
    StaleIfError,
}

/// The set of request directives that the configuration ignores. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IgnoredDirectives(u8);

impl IgnoredDirectives {
    /// Returns whether a directive is ignored.
    fn has(self, directive: RequestDirective) -> bool {
        self.0 & (1 << directive as u8) != 0
    }
}

impl FromIterator<RequestDirective> for IgnoredDirectives {
    fn from_iter<I: IntoIterator<Item = RequestDirective>>(directives: I) -> Self {
        let bits = directives.into_iter().map(|directive| 1 << directive as u8);
        Self(bits.fold(0, |all, bit| all | bit))
    }
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

    /// RFC 9111 §5.2.1.
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
                &["max-stale=9", "max-stale=3"],
                RequestDirectives {
                    max_stale: seconds(3),
                    ..none
                },
            ),
            (
                &["max-stale"],
                RequestDirectives {
                    max_stale: Some(Duration::MAX),
                    ..none
                },
            ),
            (
                &["max-stale=x"],
                RequestDirectives {
                    max_stale: seconds(0),
                    ..none
                },
            ),
            (
                &["min-fresh=x"],
                RequestDirectives {
                    min_fresh: seconds(MAX_DELTA_SECONDS),
                    ..none
                },
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                RequestDirectives::from_headers(&headers(lines), IgnoredDirectives::default()),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "No-Cache".parse().expect("a field value"));
        assert!(RequestDirectives::from_headers(&headers, IgnoredDirectives::default()).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().expect("a field value"));
        assert!(!RequestDirectives::from_headers(&headers, IgnoredDirectives::default()).no_cache);
    }

    /// RFC 9111 §5.2.1.
    #[test]
    fn section_5_2_1_each_can_be_ignored() {
        use RequestDirective as D;
        let all = "max-age=1, max-stale=2, min-fresh=3, no-cache, no-store, only-if-cached, stale-if-error=4";
        let headers = headers(&[all]);
        let none = IgnoredDirectives::default();
        let all_obeyed = RequestDirectives::from_headers(&headers, none);
        let without = |ignored| {
            RequestDirectives::from_headers(&headers, IgnoredDirectives::from_iter([ignored]))
        };
        #[rustfmt::skip]
        let rows = [
            (D::MaxAge, RequestDirectives { max_age: None, ..all_obeyed }),
            (D::MaxStale, RequestDirectives { max_stale: None, ..all_obeyed }),
            (D::MinFresh, RequestDirectives { min_fresh: None, ..all_obeyed }),
            (D::NoCache, RequestDirectives { no_cache: false, ..all_obeyed }),
            (D::NoStore, RequestDirectives { no_store: false, ..all_obeyed }),
            (D::OnlyIfCached, RequestDirectives { only_if_cached: false, ..all_obeyed }),
            (D::StaleIfError, RequestDirectives { stale_if_error: None, ..all_obeyed }),
            (D::Pragma, all_obeyed),
        ];
        for (ignored, expected) in rows {
            assert_eq!(without(ignored), expected, "{ignored:?}");
        }
        let mut pragma = HeaderMap::new();
        pragma.insert(PRAGMA, "no-cache".parse().expect("a field value"));
        for (ignored, is_obeyed) in [(D::Pragma, false), (D::NoCache, true)] {
            let ignored = IgnoredDirectives::from_iter([ignored]);
            assert_eq!(
                RequestDirectives::from_headers(&pragma, ignored).no_cache,
                is_obeyed
            );
        }
    }
}
