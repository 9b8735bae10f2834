//! A request's key, spelled out.

use std::borrow::Cow;

use http::request;

/// The parts of a request that tell its response from others, as received: nothing is decoded, reordered or folded.
///
/// Two requests share a stored response only if all parts are equal, byte for byte. A write invalidates what shares
/// authority and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts<'r> {
    scheme: Option<Cow<'r, str>>,
    authority: Cow<'r, str>,
    path: Cow<'r, str>,
    query: Option<Cow<'r, str>>,
}

impl<'r> KeyParts<'r> {
    /// The parts of a request's target, with the authority it is for.
    pub(crate) fn of(request: &'r request::Parts, authority: Cow<'r, str>) -> Self {
        Self {
            scheme: request.uri.scheme_str().map(Cow::Borrowed),
            authority,
            path: Cow::Borrowed(request.uri.path()),
            query: request.uri.query().map(Cow::Borrowed),
        }
    }

    /// The scheme, when the request's target has one: HTTP/2 and absolute-form targets do, origin-form ones do not.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// The authority, in lower case and without the default port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without `?`; an empty query is `Some("")`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The same with another authority.
    #[must_use]
    pub fn with_authority(self, authority: impl Into<Cow<'r, str>>) -> Self {
        Self {
            authority: authority.into(),
            ..self
        }
    }

    /// The same with another path: that of the whole request, say, where a router has stripped a prefix.
    #[must_use]
    pub fn with_path(self, path: impl Into<Cow<'r, str>>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The same with another query, or none.
    #[must_use]
    pub fn with_query(self, query: Option<impl Into<Cow<'r, str>>>) -> Self {
        Self {
            query: query.map(Into::into),
            ..self
        }
    }

    /// The full key: every part with its length, so that no two keys are the same bytes.
    pub(crate) fn identity(&self, scope: &str) -> Box<[u8]> {
        let mut bytes =
            Vec::with_capacity(40 + scope.len() + self.authority.len() + self.path.len());
        self.visit(scope, |part| bytes.extend_from_slice(part));
        bytes.into_boxed_slice()
    }

    /// Whether `identity` is this key's. Allocates nothing.
    pub(crate) fn is(&self, scope: &str, identity: &[u8]) -> bool {
        let mut rest = Some(identity);
        self.visit(scope, |part| {
            rest = rest.and_then(|rest| rest.strip_prefix(part));
        });
        rest.is_some_and(<[u8]>::is_empty)
    }

    fn visit(&self, scope: &str, mut sink: impl FnMut(&[u8])) {
        const ABSENT: u64 = u64::MAX;
        for part in [
            Some(scope),
            Some(self.authority()),
            Some(self.path()),
            self.scheme(),
            self.query(),
        ] {
            sink(&part.map_or(ABSENT, |part| part.len() as u64).to_le_bytes());
            sink(part.unwrap_or_default().as_bytes());
        }
    }
}

/// Makes a request's key: a hook for what the URI does not tell.
///
/// It is called once per GET, HEAD and write, so that what a write invalidates is named the same way as what a GET
/// stores. It is handed the default key and answers the one to use, or `None` for "past the cache". It must depend on
/// nothing but the request. A panic in it is a panic of the request. A write for which it declines invalidates nothing.
///
/// What a write's answer names (`Location`, `Content-Location`) and what `also_invalidate` adds is taken to be under the
/// authority that it made for the write.
///
/// For a closure of that shape there is [`CacheLayer::key_by`](crate::CacheLayer::key_by).
pub trait MakeCacheKey: Send + Sync + 'static {
    /// The key to use for `request`, given the default one.
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>>;
}

/// A key made by a closure.
pub(crate) struct KeyBy<F>(pub(crate) F);

impl<F> MakeCacheKey for KeyBy<F>
where
    F: for<'r> Fn(&'r request::Parts, KeyParts<'r>) -> Option<KeyParts<'r>> + Send + Sync + 'static,
{
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        (self.0)(request, key)
    }
}

/// The default: the key is the request's target, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct UriKey;

impl MakeCacheKey for UriKey {
    fn make_key<'r>(&self, _: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CacheKey, DigestSeed};
    use http::Request;

    fn parts(uri: &str) -> request::Parts {
        let request = Request::get(uri).body(()).expect("a request");
        request.into_parts().0
    }

    /// P07, P09, P11, P13, P16, P25
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
            "http://h/a",
            "https://h/a",
            "http://h/a?a",
        ];
        let seed = DigestSeed::default();
        for one in targets {
            for other in targets {
                let (a, b) = (parts(one), parts(other));
                let (a, b) = (
                    KeyParts::of(&a, Cow::Borrowed("h")),
                    KeyParts::of(&b, Cow::Borrowed("h")),
                );
                let same = one == other;
                assert_eq!(a.is("", &b.identity("")), same, "{one} {other}");
                let digests = (CacheKey::new(&seed, "", &a), CacheKey::new(&seed, "", &b));
                assert_eq!(digests.0 == digests.1, same, "{one} {other}");
            }
        }
    }

    /// P16: whatever bytes the parts hold, moving a boundary makes another key.
    #[test]
    fn no_component_can_forge_another() {
        let components = [
            "", "a", "b", "ab", "\u{1e}", "\u{1f}a", "\0", "a\0", "\0b", "1:a",
        ];
        let seed = DigestSeed::default();
        let request = parts("/");
        let base = KeyParts::of(&request, Cow::Borrowed(""));
        let mut seen = std::collections::HashMap::new();
        for scope in components {
            for authority in components {
                for path in components {
                    for query in [None, Some(""), Some("a"), Some("\0")] {
                        let key = base
                            .clone()
                            .with_authority(authority)
                            .with_path(path)
                            .with_query(query);
                        let made = (key.identity(scope), CacheKey::new(&seed, scope, &key));
                        let told = (scope, authority, path, query);
                        assert!(key.is(scope, &made.0));
                        assert_eq!(seen.insert(made.0, told), None, "{told:?}");
                        assert!(!seen.contains_key(&made.1.resource().digest().to_le_bytes()[..]));
                    }
                }
            }
        }
    }
}
