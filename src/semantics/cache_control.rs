//! `Cache-Control` of requests and responses (RFC 9111 §5.2), and `Pragma` (§5.4).
//!
//! Names are compared without case, several lines are one list, both forms of an argument are read (§5.2), an unknown
//! directive is ignored (§5.2.3). Where a directive stands twice the more restrictive one counts; a lifetime that cannot
//! be read is taken for zero (§4.2.1).

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA, VARY};
use http::{HeaderMap, HeaderName};

use super::fields;
use super::targeted::Targets;

/// Seconds beyond which a number says nothing more (RFC 9111 §1.2.2).
const LARGEST_DELTA: u64 = 1 << 31;

/// What a response's `Cache-Control` says to a shared cache (RFC 9111 §5.2.2), or a field in its place (RFC 9213).
///
/// `no-cache` and `private` that name fields are about these alone, see [`withheld`]; where what they name cannot be read,
/// or is needed to reuse the response, they are about all of it, which both sections allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// RFC 8246: it does not change while it is fresh.
    pub immutable: bool,
    /// Whether a targeted field said all this: then `Expires` says nothing (RFC 9213 §2.1).
    pub is_targeted: bool,
    /// §5.2.2.1: explicit lifetime.
    pub max_age: Option<Duration>,
    /// §5.2.2.2: stale is never reused unvalidated; also lets answers to `Authorization` be stored (§3.5).
    pub must_revalidate: bool,
    /// §5.2.2.3: stored only by who understands its status, and then in spite of `no-store`.
    pub must_understand: bool,
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
    /// Whether some fields are [`withheld`].
    pub withholds: bool,
}

impl ResponseDirectives {
    /// Reads them from a response's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap, targets: &Targets) -> Self {
        let mut said = Self::default();
        said.is_targeted = each(headers, targets, |name, value| said.hear(name, value));
        said
    }

    fn hear(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("max-age") {
            smallest(&mut self.max_age, lifetime(value));
        } else if is("s-maxage") {
            smallest(&mut self.s_maxage, lifetime(value));
        } else if is("stale-if-error") {
            smallest(&mut self.stale_if_error, lifetime(value));
        } else if is("stale-while-revalidate") {
            smallest(&mut self.stale_while_revalidate, lifetime(value));
        } else if is("no-cache") {
            self.qualify(value, |said| &mut said.no_cache);
        } else if is("private") {
            self.qualify(value, |said| &mut said.private);
        } else if let Some(flag) = self.flag(name) {
            *flag = true;
        }
    }

    fn flag(&mut self, name: &[u8]) -> Option<&mut bool> {
        let flags = [
            ("immutable", &mut self.immutable),
            ("must-revalidate", &mut self.must_revalidate),
            ("must-understand", &mut self.must_understand),
            ("no-store", &mut self.no_store),
            ("proxy-revalidate", &mut self.proxy_revalidate),
            ("public", &mut self.public),
        ];
        let mut flags = flags.into_iter();
        let flag = flags.find(|(flag, _)| name.eq_ignore_ascii_case(flag.as_bytes()));
        flag.map(|(_, flag)| flag)
    }

    fn qualify(&mut self, value: Option<&[u8]>, all: impl FnOnce(&mut Self) -> &mut bool) {
        match value.and_then(named) {
            Some(_) => self.withholds = true,
            None => *all(self) = true,
        }
    }
}

/// Hands over each directive of a response; whether a targeted field holds them.
fn each(
    headers: &HeaderMap,
    targets: &Targets,
    mut take: impl FnMut(&[u8], Option<&[u8]>),
) -> bool {
    if targets.each(headers, &mut take) {
        return true;
    }
    for member in fields::list(headers, &CACHE_CONTROL) {
        let (name, value) = fields::parameter(member);
        take(name, value.as_deref());
    }
    false
}

/// The fields that `no-cache` and `private` name (§5.2.2.4, §5.2.2.7): not reused, though the response is.
#[must_use]
pub fn withheld(headers: &HeaderMap, targets: &Targets) -> Vec<HeaderName> {
    let mut names = Vec::new();
    each(headers, targets, |name, value| {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("no-cache") || is("private") {
            names.extend(value.and_then(named).into_iter().flatten());
        }
    });
    names
}

/// The names of a list; `None` where there are none, where one is no name, and where one is of a field without which the
/// response must not be reused.
fn named(list: &[u8]) -> Option<Vec<HeaderName>> {
    let members = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let names: Option<Vec<_>> = members
        .filter(|member| !member.is_empty())
        .map(|member| HeaderName::from_bytes(member).ok())
        .collect();
    names.filter(|names| {
        let is_needed = |name: &HeaderName| [CACHE_CONTROL, VARY].contains(name);
        !names.is_empty() && !names.iter().any(is_needed)
    })
}

/// What a request's `Cache-Control` asks of a cache (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// §5.2.1.1: nothing older than this.
    pub max_age: Option<Duration>,
    /// §5.2.1.2: what is stale by no more than this will do; without a number whatever is stale.
    pub max_stale: Option<Duration>,
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
    /// Reads them from a request's headers, but for those that are not obeyed.
    #[must_use]
    pub fn of(headers: &HeaderMap, ignored: Ignored) -> Self {
        let mut said = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            said.no_cache = !ignored.has(RequestDirective::Pragma)
                && fields::list(headers, &PRAGMA)
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
            } else if is("max-stale") {
                // One that cannot be read takes nothing stale; one without a number takes all.
                let taken = match value.as_deref() {
                    None => Duration::MAX,
                    Some(value) => delta_seconds(value).unwrap_or_default(),
                };
                smallest(&mut said.max_stale, taken);
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
        said.without(ignored)
    }

    fn without(self, ignored: Ignored) -> Self {
        use RequestDirective as D;
        let obeyed = |directive: D| !ignored.has(directive);
        Self {
            max_age: self.max_age.filter(|_| obeyed(D::MaxAge)),
            max_stale: self.max_stale.filter(|_| obeyed(D::MaxStale)),
            min_fresh: self.min_fresh.filter(|_| obeyed(D::MinFresh)),
            no_cache: self.no_cache && obeyed(D::NoCache),
            no_store: self.no_store && obeyed(D::NoStore),
            only_if_cached: self.only_if_cached && obeyed(D::OnlyIfCached),
            stale_if_error: self.stale_if_error.filter(|_| obeyed(D::StaleIfError)),
        }
    }
}

/// What a request can ask of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Those that are not obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored(u8);

impl Ignored {
    fn has(self, directive: RequestDirective) -> bool {
        self.0 & (1 << directive as u8) != 0
    }
}

impl FromIterator<RequestDirective> for Ignored {
    fn from_iter<I: IntoIterator<Item = RequestDirective>>(directives: I) -> Self {
        let bits = directives.into_iter().map(|directive| 1 << directive as u8);
        Self(bits.fold(0, |all, bit| all | bit))
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
                    withholds: true,
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
                    withholds: true,
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
            (
                &["immutable, must-understand"],
                ResponseDirectives {
                    immutable: true,
                    must_understand: true,
                    ..none
                },
            ),
            (
                &[r#"no-cache="x-a, x-b", private=x-c"#],
                ResponseDirectives {
                    withholds: true,
                    ..none
                },
            ),
            (
                &[r#"no-cache="""#],
                ResponseDirectives {
                    no_cache: true,
                    ..none
                },
            ),
            (
                &[r#"private="not a name""#],
                ResponseDirectives {
                    private: true,
                    ..none
                },
            ),
            (
                &[r#"no-cache="x, Vary""#],
                ResponseDirectives {
                    no_cache: true,
                    ..none
                },
            ),
            (
                &[r#"private="x", private"#],
                ResponseDirectives {
                    private: true,
                    withholds: true,
                    ..none
                },
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                ResponseDirectives::of(&headers(lines), &Targets::default()),
                *expected,
                "{lines:?}"
            );
        }
    }

    /// H01
    #[test]
    fn section_5_2_2_4_and_7_fields_that_are_withheld() {
        let of = |lines: &[&'static str]| withheld(&headers(lines), &Targets::default());
        let names = of(&[r#"no-cache="X-A, x-b""#, "private=set-cookie"]);
        assert_eq!(names, ["x-a", "x-b", "set-cookie"]);
        assert!(of(&["no-cache, private=\"\", max-age=1"]).is_empty());
    }

    /// RFC 9213
    #[test]
    fn rfc_9213_section_2_1_a_targeted_field_takes_the_place_of_all() {
        let none = ResponseDirectives::default();
        let targeted = ResponseDirectives {
            is_targeted: true,
            ..none
        };
        let untargeted = ResponseDirectives {
            max_age: seconds(5),
            private: true,
            ..none
        };
        #[rustfmt::skip]
        let rows: &[(&[&'static str], ResponseDirectives)] = &[
            (&["max-age=60"], ResponseDirectives { max_age: seconds(60), ..targeted }),
            (&["max-age=60", "no-store"], ResponseDirectives { max_age: seconds(60), no_store: true, ..targeted }),
            (&["max-age=60, max-age=90"], ResponseDirectives { max_age: seconds(90), ..targeted }),
            (&["max-age=60;x=1, other, more=(1 2)"], ResponseDirectives { max_age: seconds(60), ..targeted }),
            (&["no-store=?0, public"], ResponseDirectives { public: true, ..targeted }),
            (&["no-store=1"], ResponseDirectives { no_store: true, ..targeted }),
            (&["no-cache=\"x-a\""], ResponseDirectives { withholds: true, ..targeted }),
            (&["max-age=-1"], ResponseDirectives { max_age: seconds(0), ..targeted }),
            (&["max-age=\"60\", public"], ResponseDirectives { public: true, ..targeted }),
            (&["max-age=1.5, public"], ResponseDirectives { public: true, ..targeted }),
            (&[""], untargeted),
            (&["max-age=60,"], untargeted),
            (&["Max-Age=60"], untargeted),
            (&["max-age = 60"], untargeted),
            (&["max-age=99999999999999999999"], untargeted),
            (&[], untargeted),
        ];
        for (lines, expected) in rows {
            let mut headers = headers(&["max-age=5, private"]);
            for line in *lines {
                headers.append("cdn-cache-control", line.parse().expect("a field value"));
            }
            let got = ResponseDirectives::of(&headers, &Targets::default());
            assert_eq!(got, *expected, "{lines:?}");
            let off = ResponseDirectives::of(&headers, &Targets::of([]));
            assert_eq!(off, untargeted, "{lines:?}, off");
        }
        let mut headers = headers(&["max-age=5"]);
        headers.insert("a-cache-control", "(".parse().expect("a field value"));
        headers.insert(
            "b-cache-control",
            "max-age=7".parse().expect("a field value"),
        );
        headers.insert(
            "c-cache-control",
            "max-age=9".parse().expect("a field value"),
        );
        let names = ["a-cache-control", "b-cache-control", "c-cache-control"];
        let targets = Targets::of(names.map(HeaderName::from_static));
        assert_eq!(
            ResponseDirectives::of(&headers, &targets).max_age,
            seconds(7)
        );
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
                    min_fresh: seconds(LARGEST_DELTA),
                    ..none
                },
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                RequestDirectives::of(&headers(lines), Ignored::default()),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "No-Cache".parse().expect("a field value"));
        assert!(RequestDirectives::of(&headers, Ignored::default()).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().expect("a field value"));
        assert!(!RequestDirectives::of(&headers, Ignored::default()).no_cache);
    }

    /// H21
    #[test]
    fn section_5_2_1_each_can_be_ignored() {
        use RequestDirective as D;
        let all = "max-age=1, max-stale=2, min-fresh=3, no-cache, no-store, only-if-cached, stale-if-error=4";
        let asked = headers(&[all]);
        let none = Ignored::default();
        let told = RequestDirectives::of(&asked, none);
        let without = |ignored| RequestDirectives::of(&asked, Ignored::from_iter([ignored]));
        #[rustfmt::skip]
        let rows = [
            (D::MaxAge, RequestDirectives { max_age: None, ..told }),
            (D::MaxStale, RequestDirectives { max_stale: None, ..told }),
            (D::MinFresh, RequestDirectives { min_fresh: None, ..told }),
            (D::NoCache, RequestDirectives { no_cache: false, ..told }),
            (D::NoStore, RequestDirectives { no_store: false, ..told }),
            (D::OnlyIfCached, RequestDirectives { only_if_cached: false, ..told }),
            (D::StaleIfError, RequestDirectives { stale_if_error: None, ..told }),
            (D::Pragma, told),
        ];
        for (ignored, expected) in rows {
            assert_eq!(without(ignored), expected, "{ignored:?}");
        }
        let mut pragma = HeaderMap::new();
        pragma.insert(PRAGMA, "no-cache".parse().expect("a field value"));
        for (ignored, obeyed) in [(D::Pragma, false), (D::NoCache, true)] {
            let ignored = Ignored::from_iter([ignored]);
            assert_eq!(RequestDirectives::of(&pragma, ignored).no_cache, obeyed);
        }
    }
}
