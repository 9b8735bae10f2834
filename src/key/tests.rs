//! Keys of different requests.

use std::borrow::Cow;

use http::{Request, request};

use super::*;

fn parts(uri: &str) -> request::Parts {
    let request = Request::get(uri).body(()).expect("a request");
    request.into_parts().0
}

/// Requests that differ in one part never share a stored response.
#[test]
fn different_targets_are_different_keys() {
    let targets = [
        "/a",
        "/A",
        "/a/",
        "//a",
        "/./a",
        "/b/../a",
        "/%61",
        "/a?",
        "/a?a",
        "/a?a=",
        "/a?a=1&a=2",
        "/a?a=2&a=1",
        "/a?a=1;a=2",
        "/a%3fa",
        "/a%00",
        "/a%0a",
        "/a%23x",
        "/static/..%2faccount",
        "/a%zz",
    ];
    let seed = DigestSeed::default();
    for sites in [Sites::One, Sites::ByAuthority] {
        for one in targets {
            for other in targets {
                let (a, b) = (parts(one), parts(other));
                let (a, b) = (
                    KeyParts::from_request(&a, Cow::Borrowed("h")),
                    KeyParts::from_request(&b, Cow::Borrowed("h")),
                );
                let same = one == other;
                assert_eq!(a.matches("", &b.identity("")), same, "{one} {other}");
                let digests = (
                    CacheKey::new(&seed, "", sites, &a),
                    CacheKey::new(&seed, "", sites, &b),
                );
                assert_eq!(digests.0 == digests.1, same, "{one} {other}");
            }
        }
    }
}

/// Moving a byte from one part to the next makes another key, whatever the bytes are.
#[test]
fn no_component_can_forge_another() {
    let components = [
        "", "a", "b", "ab", "\u{1e}", "\u{1f}a", "\0", "a\0", "\0b", "1:a",
    ];
    let seed = DigestSeed::default();
    let request = parts("/");
    let base = KeyParts::from_request(&request, Cow::Borrowed(""));
    let mut seen = std::collections::HashMap::new();
    let mut digests = std::collections::HashSet::new();
    for scope in components {
        for authority in components {
            for path in components {
                for query in [None, Some(""), Some("a"), Some("\0")] {
                    let key = base
                        .clone()
                        .with_authority(authority)
                        .with_path(path)
                        .with_query(query);
                    let made = (
                        key.identity(scope),
                        CacheKey::new(&seed, scope, Sites::One, &key),
                    );
                    assert_eq!(authority_of_identity(&made.0), Some(authority), "{scope:?}");
                    let parts = (scope, authority, path, query);
                    assert!(key.matches(scope, &made.0));
                    assert!(digests.insert(made.1), "{parts:?}");
                    assert_eq!(seen.insert(made.0, parts), None, "{parts:?}");
                    assert!(!seen.contains_key(&made.1.resource().digest().to_le_bytes()[..]));
                }
            }
        }
    }
}

/// Keys differ in all their parts; resources in scope, site and normal path alone.
#[test]
fn a_resource_is_coarser_than_a_key() {
    let seed = DigestSeed::default();
    let request = parts("/");
    let key = |sites, scope, authority: &str, path: &str, query: Option<&str>, scheme: &str| {
        let parts = KeyParts::from_request(&request, Cow::Borrowed(""))
            .with_authority(authority.to_owned())
            .with_path(path.to_owned())
            .with_query(query.map(str::to_owned))
            .with_scheme(scheme.to_owned());
        CacheKey::new(&seed, scope, sites, &parts)
    };
    for (sites, hosts_are_sites) in [(Sites::One, false), (Sites::ByAuthority, true)] {
        let base = key(sites, "", "a", "/x", None, "http");
        for (other, is_same_resource) in [
            (key(sites, "", "a", "/x", Some("q"), "http"), true),
            (key(sites, "", "a", "/x", None, "https"), true),
            (key(sites, "", "a", "/%78", None, "http"), true),
            (key(sites, "", "a", "//x", None, "http"), true),
            (key(sites, "", "b", "/x", None, "http"), !hosts_are_sites),
            (key(sites, "", "", "/x", None, "http"), !hosts_are_sites),
            (key(sites, "", "a", "/y", None, "http"), false),
            (key(sites, "s", "a", "/x", None, "http"), false),
        ] {
            assert_ne!(base, other);
            assert_eq!(
                base.resource() == other.resource(),
                is_same_resource,
                "{sites:?}"
            );
        }
    }
}
