//! Tables of methods and references.

use http::Method;

use super::*;

#[test]
fn a_query_is_kept_and_a_fragment_is_not() {
    for (reference, query) in [
        ("/a?b#c?d", Some("b")),
        ("/a#c?d", None),
        ("?b", Some("b")),
        ("//h?b/..", Some("b/..")),
        ("a?", Some("")),
    ] {
        let got = resolve("/x", reference).expect("a reference");
        assert_eq!(got.query, query, "{reference}");
    }
}

/// RFC 9111 §4.4, RFC 9110 §9.2.1.
#[test]
fn section_4_4_unsafe_and_unknown_methods_invalidate() {
    for (method, safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("QUERY", true),
        ("PUT", false),
        ("POST", false),
        ("PATCH", false),
        ("DELETE", false),
        ("PURGE", false),
        ("BREW", false),
        ("get", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        assert_eq!(is_safe(&method), safe, "{method}");
    }
}

#[test]
fn rfc_3986_section_5_2_references() {
    let base = "/b/c/d";
    for (reference, expected) in [
        ("/products/1", Some((None, "/products/1"))),
        ("g", Some((None, "/b/c/g"))),
        ("./g", Some((None, "/b/c/g"))),
        ("g/", Some((None, "/b/c/g/"))),
        ("../g", Some((None, "/b/g"))),
        ("../../../g", Some((None, "/g"))),
        ("..", Some((None, "/b/"))),
        ("/./g/../h", Some((None, "/h"))),
        ("?y=1", Some((None, "/b/c/d"))),
        ("g?y/./x", Some((None, "/b/c/g"))),
        ("g#s/../x", Some((None, "/b/c/g"))),
        ("//h/g", Some((Some("h"), "/g"))),
        ("http://h:80/g", Some((Some("h:80"), "/g"))),
        ("HTTPS://H", Some((Some("H"), "/"))),
        ("http://h?q", Some((Some("h"), "/"))),
        ("mailto:x@y", None),
        ("ftp://h/g", None),
        ("http:g", None),
        ("http:///g", None),
        ("//", None),
        ("#top", None),
        ("", None),
    ] {
        let got = resolve(base, reference);
        let got = got.as_ref().map(|r| (r.authority, r.path.as_ref()));
        assert_eq!(got, expected, "{reference}");
    }
}
