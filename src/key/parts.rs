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

    /// The same whatever the scheme: for where nothing that is stored depends on it, as behind a proxy that passes none on.
    #[must_use]
    pub fn without_scheme(self) -> Self {
        Self {
            scheme: None,
            ..self
        }
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

    /// The full key: the lengths of all parts, then the parts, so that no two keys are the same bytes.
    pub(crate) fn identity(&self, scope: &str) -> Box<[u8]> {
        let parts = self.all(scope);
        let text: usize = parts.iter().flatten().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(LENGTHS + text);
        for part in parts {
            bytes.extend_from_slice(&length(part).to_le_bytes());
        }
        for part in parts.into_iter().flatten() {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.into_boxed_slice()
    }

    /// Whether `identity` is this key's. Allocates nothing.
    pub(crate) fn is(&self, scope: &str, identity: &[u8]) -> bool {
        let Some((lengths, mut rest)) = identity.split_first_chunk::<LENGTHS>() else {
            return false;
        };
        let (lengths, _) = lengths.as_chunks::<8>();
        for (part, stored) in self.all(scope).into_iter().zip(lengths) {
            if length(part) != u64::from_le_bytes(*stored) {
                return false;
            }
            // Most parts are absent or empty most of the time: those are not worth a comparison.
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                match rest.strip_prefix(part.as_bytes()) {
                    Some(behind) => rest = behind,
                    None => return false,
                }
            }
        }
        rest.is_empty()
    }

    fn all<'a>(&'a self, scope: &'a str) -> [Option<&'a str>; PARTS] {
        [
            Some(scope),
            Some(self.authority()),
            Some(self.path()),
            self.scheme(),
            self.query(),
        ]
    }
}

const PARTS: usize = 5;
/// Bytes that the lengths of all parts take.
const LENGTHS: usize = PARTS * size_of::<u64>();

/// The authority of the full key that `identity` is.
pub(crate) fn authority_in(identity: &[u8]) -> Option<&str> {
    let (lengths, text) = identity.split_first_chunk::<LENGTHS>()?;
    let (lengths, _) = lengths.as_chunks::<8>();
    let length = |at: usize| usize::try_from(u64::from_le_bytes(lengths[at])).ok();
    let behind_scope = text.get(length(0)?..)?;
    std::str::from_utf8(behind_scope.get(..length(1)?)?).ok()
}

/// A part's length as keys hold it; that of an absent one is no part's.
fn length(part: Option<&str>) -> u64 {
    part.map_or(u64::MAX, |part| part.len() as u64)
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
                        assert_eq!(authority_in(&made.0), Some(authority), "{scope:?}");
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
