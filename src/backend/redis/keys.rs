//! Names of keys: a namespace, then digests of fixed length. Nothing of a request is in them.
//!
//! All keys of one resource share a hash tag, so that a cluster keeps them in one slot.

use std::sync::Arc;

use crate::key::{CacheKey, Resource};
use crate::semantics::groups::Group;

/// The longest namespace.
pub(super) const LONGEST: usize = 64;

/// What all keys begin with: 1 to 64 letters, digits, `.`, `_` and `-`, so that no namespace is the beginning of another's
/// keys.
#[derive(Clone, Debug)]
pub(super) struct Namespace(Arc<str>);

impl Namespace {
    pub(super) fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_valid = (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain);
        is_valid.then(|| Self(name.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the token of the whole namespace is.
    pub(super) fn epoch(&self) -> String {
        format!("{}:n", self.0)
    }

    /// Where the token of a resource is.
    pub(super) fn lease(&self, resource: &Resource) -> String {
        let mut name = self.begin('l', resource, 0);
        name.push('}');
        name
    }

    /// Where the token of all groups is.
    pub(super) fn groups(&self) -> String {
        format!("{}:q", self.0)
    }

    /// Where the token of a group is.
    pub(super) fn group(&self, group: &Group) -> String {
        let mut name = format!("{}:g:{{", self.0);
        push(&mut name, group.digest());
        name.push('}');
        name
    }

    /// Where the token of a stripe is.
    pub(super) fn stripe(&self, number: usize) -> String {
        format!("{}:w:{number:02x}", self.0)
    }

    /// Where a response is, or the rule of those that vary.
    pub(super) fn entry(&self, key: &CacheKey) -> String {
        let mut name = self.begin('e', key.resource(), 64);
        name.push('}');
        if !key.is_plain() {
            push(&mut name, key.selector());
            push(&mut name, key.variant());
        }
        name
    }

    /// Where the names of a response's variants are, the latest first.
    pub(super) fn variants(&self, key: &CacheKey) -> String {
        let mut name = self.begin('v', key.resource(), 32);
        name.push('}');
        push(&mut name, key.selector());
        name
    }

    fn begin(&self, kind: char, resource: &Resource, more: usize) -> String {
        let mut name = String::with_capacity(self.0.len() + 5 + 32 + more);
        name.push_str(&self.0);
        name.push(':');
        name.push(kind);
        name.push_str(":{");
        push(&mut name, resource.digest());
        name
    }
}

/// By hand, because formatting takes several times as long, which every lookup would pay for twice.
fn push(name: &mut String, digest: u128) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in digest.to_be_bytes() {
        name.push(DIGITS[usize::from(byte >> 4)]);
        name.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http::Request;

    use super::*;
    use crate::key::{DigestSeed, KeyParts};

    /// P15: whatever a request holds, a key is the namespace and hexadecimal digits of one length.
    #[test]
    fn nothing_of_a_request_is_in_a_key() {
        let namespace = Namespace::new("shop-1.test").expect("a namespace");
        let (request, ()) = Request::new(()).into_parts();
        let hostile = ["/", "/a\r\nFLUSHALL\r\n", "/}{", "/a:b*?[", "/\0 ", "/é"];
        let long = "/x".repeat(500_000);
        let mut lengths = std::collections::BTreeSet::new();
        for path in hostile.into_iter().chain([&*long]) {
            for query in [None, Some("a}b\r\n{")] {
                let parts = KeyParts::from_request(&request, Cow::Borrowed("h:{}\n"))
                    .with_path(path)
                    .with_query(query);
                let key = CacheKey::new(&DigestSeed::default(), "\u{1f}", &parts);
                let entry = namespace.entry(&key);
                let rest = entry.strip_prefix("shop-1.test:e:{").expect("the prefix");
                let (tag, rest) = rest.split_once('}').expect("a tag");
                assert_eq!(tag, format!("{:032x}", key.resource().digest()));
                let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(tag.len() == 32 && is_hex(tag) && is_hex(rest), "{entry}");
                assert_eq!(
                    namespace.lease(key.resource()),
                    format!("shop-1.test:l:{{{tag}}}")
                );
                lengths.insert((query.is_some(), entry.len()));
            }
        }
        assert_eq!(lengths.len(), 2, "{lengths:?}");
    }

    /// P15
    #[test]
    fn a_namespace_is_no_beginning_of_anothers_keys() {
        for name in ["", "a:b", "a{b", "a b", "a\n", "a*", "é", &"a".repeat(65)] {
            assert!(Namespace::new(name).is_none(), "{name:?}");
        }
        let (a, ab) = (Namespace::new("a"), Namespace::new("ab"));
        let (a, ab) = (a.expect("valid").epoch(), ab.expect("valid").epoch());
        assert!(!ab.starts_with(a.trim_end_matches('n')));
    }
}
