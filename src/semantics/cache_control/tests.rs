//! Tables of response directives (RFC 9111 §5.2.2, RFC 9213).

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

use super::delta_seconds::MAX_DELTA_SECONDS;
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

/// RFC 9111 §5.2.2.
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
                max_age: seconds(MAX_DELTA_SECONDS),
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
                withholds_fields: true,
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
                withholds_fields: true,
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
                withholds_fields: true,
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
            &[r#"private="content-encoding""#],
            ResponseDirectives {
                private: true,
                ..none
            },
        ),
        (
            &[r#"no-cache="x"; y"#],
            ResponseDirectives {
                no_cache: true,
                ..none
            },
        ),
        (
            &[r#"private="x", private"#],
            ResponseDirectives {
                private: true,
                withholds_fields: true,
                ..none
            },
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(
            meaning(&headers(lines), &TargetedFields::default()),
            *expected,
            "{lines:?}"
        );
    }
}

/// What the directives of a response mean, readable or not: `readable` has a table of that.
fn meaning(headers: &HeaderMap, targeted: &TargetedFields) -> ResponseDirectives {
    ResponseDirectives {
        has_unreadable: false,
        ..ResponseDirectives::from_headers(headers, targeted)
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7.
#[test]
fn section_5_2_2_4_and_7_withheld_fields() {
    let of = |lines: &[&'static str]| withheld_fields(&headers(lines), &TargetedFields::default());
    let names = of(&[r#"no-cache="X-A, x-b""#, "private=set-cookie"]);
    assert_eq!(names, ["x-a", "x-b", "set-cookie"]);
    assert!(of(&["no-cache, private=\"\", max-age=1"]).is_empty());
}

/// RFC 9213 §2.1.
#[test]
fn rfc_9213_section_2_1_a_targeted_field_replaces_cache_control() {
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
        (&["no-cache=\"x-a\""], ResponseDirectives { withholds_fields: true, ..targeted }),
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
        let got = meaning(&headers, &TargetedFields::default());
        assert_eq!(got, *expected, "{lines:?}");
        let off = meaning(&headers, &TargetedFields::new([]));
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
    let targets = TargetedFields::new(names.map(HeaderName::from_static));
    assert_eq!(meaning(&headers, &targets).max_age, seconds(7));
}
