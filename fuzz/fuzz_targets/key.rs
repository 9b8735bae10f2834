//! Makes keys of arbitrary parts: two are equal exactly when all their parts are, by bytes and by
//! digest; normalizing an authority twice changes nothing.
#![no_main]

use arbitrary::Arbitrary;
use http::Request;
use libfuzzer_sys::fuzz_target;
use tower_response_cache::fuzzing;
use tower_response_cache::key::{CacheKey, DigestSeed, KeyParts};

/// The parts of a key.
#[derive(Arbitrary, Clone, Debug, PartialEq, Eq)]
struct Key<'a> {
    scope: &'a str,
    scheme: Option<Scheme>,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Other,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Other => "ws+x",
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Nothing,
    Scope(&'a str),
    Scheme(Option<Scheme>),
    Path(&'a str),
    Query(Option<&'a str>),
    /// Splits the authority after so many bytes; the rest becomes the path.
    Shift(u8),
    All(Key<'a>),
}

impl<'a> Key<'a> {
    fn changed(&self, change: Change<'a>) -> Self {
        let mut key = self.clone();
        match change {
            Change::Nothing => {}
            Change::Scope(scope) => key.scope = scope,
            Change::Scheme(scheme) => key.scheme = scheme,
            Change::Path(path) => key.path = path,
            Change::Query(query) => key.query = query,
            Change::Shift(by) => {
                let at = usize::from(by);
                if key.authority.is_char_boundary(at) {
                    (key.authority, key.path) = key.authority.split_at(at);
                }
            }
            Change::All(other) => key = other,
        }
        key
    }

    fn with<T>(&self, look: impl FnOnce(KeyParts<'_>) -> T) -> T {
        let uri = match self.scheme {
            Some(scheme) => format!("{}://h/", scheme.name()),
            None => "/".to_owned(),
        };
        let (request, ()) = Request::get(uri).body(()).expect("a request").into_parts();
        let parts = fuzzing::key_parts(&request, self.authority);
        look(parts.with_path(self.path).with_query(self.query))
    }

    fn identity(&self) -> std::sync::Arc<[u8]> {
        self.with(|parts| fuzzing::identity(&parts, self.scope))
    }

    fn digest(&self) -> CacheKey {
        self.with(|parts| fuzzing::cache_key(&DigestSeed::default(), self.scope, &parts))
    }

    fn is(&self, identity: &[u8]) -> bool {
        self.with(|parts| fuzzing::matches(&parts, self.scope, identity))
    }
}

fuzz_target!(|input: (Key<'_>, Change<'_>, &[u8])| {
    let (one, change, bytes) = input;
    let other = one.changed(change);
    let is_same = one == other;
    assert!(one.is(&one.identity()));
    assert_eq!(one.is(&other.identity()), is_same);
    assert_eq!(one.identity() == other.identity(), is_same);
    assert_eq!(one.digest() == other.digest(), is_same);
    assert_eq!(one.is(bytes), *bytes == *one.identity());
    let resource = |key: &Key<'_>| *key.digest().resource();
    let path = |key: &Key<'_>| fuzzing::normal_path(key.path).into_owned();
    // By default a resource is a path, whatever the authority.
    let is_same = (one.scope, path(&one)) == (other.scope, path(&other));
    assert_eq!(resource(&one) == resource(&other), is_same);
    for scheme in [None, Some("http"), Some("https")] {
        check_normalized(one.authority, scheme);
    }
});

fn check_normalized(authority: &str, scheme: Option<&str>) {
    let Some(normal) = fuzzing::normalize_authority(authority, scheme) else {
        return;
    };
    let again = fuzzing::normalize_authority(&normal, scheme);
    assert_eq!(again.as_deref(), Some(&*normal), "{authority}");
    let upper_case = authority.to_ascii_uppercase();
    assert_eq!(
        fuzzing::normalize_authority(&upper_case, scheme),
        Some(normal)
    );
}
