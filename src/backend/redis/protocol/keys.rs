//! Key names: a namespace, a letter for the kind, and digests of fixed length.
//!
//! Nothing of a request is readable in a name. All keys of one resource share a hash tag, so that a
//! cluster keeps them in one slot. Start with [`Namespace`].

use std::sync::Arc;

use crate::key::{CacheKey, Resource};
use crate::semantics::groups::Group;

/// The length of the longest namespace.
pub(crate) const MAX_NAMESPACE_LENGTH: usize = 64;

/// The number of stripes.
///
/// A write that does not know its resource yet is fenced by stripes. An invalidation of another
/// resource of the same stripe breaks such a fence; then the write's response is not stored.
pub(crate) const STRIPES: usize = 64;

/// The prefix of all keys.
///
/// The allowed characters exclude `:`, so that the keys of one namespace never begin with the name
/// of another one.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(Arc<str>);

impl Namespace {
    /// Checks the name: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_valid =
            (1..=MAX_NAMESPACE_LENGTH).contains(&name.len()) && name.bytes().all(is_plain);
        is_valid.then(|| Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the namespace token.
    pub(crate) fn namespace_token(&self) -> String {
        format!("{}:n", self.0)
    }

    /// The key on which a new connection tries the commands that it needs.
    pub(crate) fn probe(&self) -> String {
        format!("{}:p", self.0)
    }

    /// The key of the record of the configuration that last used the namespace.
    pub(crate) fn owner(&self) -> String {
        format!("{}:o", self.0)
    }

    /// The key of a resource's lease token.
    pub(crate) fn lease(&self, resource: &Resource) -> String {
        let mut name = self.empty_name();
        self.push_lease(&mut name, resource);
        name
    }

    /// Appends the key of a resource's lease token.
    pub(crate) fn push_lease(&self, name: &mut String, resource: &Resource) {
        self.push_resource(name, 'l', resource);
    }

    /// The key of the token of all groups.
    pub(crate) fn all_groups(&self) -> String {
        format!("{}:q", self.0)
    }

    /// The key of a group's token.
    pub(crate) fn group(&self, group: &Group) -> String {
        let mut name = format!("{}:g:{{", self.0);
        push_digest(&mut name, group.digest());
        name.push('}');
        name
    }

    /// The key of a stripe's token.
    pub(crate) fn stripe(&self, stripe: usize) -> String {
        format!("{}:w:{stripe:02x}", self.0)
    }

    /// The keys of the tokens that an invalidation of a resource removes: its lease and its stripe.
    pub(crate) fn fence_keys(&self, resource: &Resource) -> [String; 2] {
        [self.lease(resource), self.stripe(stripe_of(resource))]
    }

    /// The key of an entry: a response, or the rule that selects among its variants.
    pub(crate) fn entry(&self, key: &CacheKey) -> String {
        self.entry_key('e', key)
    }

    /// Appends the key of an entry.
    pub(crate) fn push_entry(&self, name: &mut String, key: &CacheKey) {
        self.push_entry_key(name, 'e', key);
    }

    /// The key of the body of a response whose entry has no body.
    pub(crate) fn body(&self, key: &CacheKey) -> String {
        self.entry_key('b', key)
    }

    /// The key of a body whose entry is not stored yet. Each has a suffix of its own, so that no
    /// store touches the body of an entry that is not its own.
    pub(crate) fn temporary_body(&self, key: &CacheKey, suffix: &str) -> String {
        let mut name = self.body(key);
        name.push(':');
        name.push_str(suffix);
        name
    }

    fn entry_key(&self, kind: char, key: &CacheKey) -> String {
        let mut name = self.empty_name();
        self.push_entry_key(&mut name, kind, key);
        name
    }

    fn push_entry_key(&self, name: &mut String, kind: char, key: &CacheKey) {
        self.push_resource(name, kind, key.resource());
        push_digest(name, key.selector());
        if key.variant() != 0 {
            push_digest(name, key.variant());
        }
    }

    /// The key of the list of a response's variants: names of their entries, the latest first.
    pub(crate) fn variants(&self, key: &CacheKey) -> String {
        let mut name = self.empty_name();
        self.push_resource(&mut name, 'v', key.resource());
        push_digest(&mut name, key.selector());
        name
    }

    /// An empty name with room for the longest one.
    pub(crate) fn empty_name(&self) -> String {
        String::with_capacity(self.0.len() + 5 + 4 * 32 + 1)
    }

    /// Appends the start of a name: its kind, and the hash tag of a resource.
    fn push_resource(&self, name: &mut String, kind: char, resource: &Resource) {
        name.push_str(&self.0);
        name.push(':');
        name.push(kind);
        name.push_str(":{");
        push_digest(name, resource.digest());
        name.push('}');
    }
}

/// The length of a [`listed_entry`].
const LISTED_LENGTH: usize = 17;

/// Returns what stands for an entry in the list behind its lease, from which an invalidation makes
/// the keys to remove: a letter, and the selector. `e` is an entry without variants, `l` one whose
/// body has a key of its own. `v` is a rule, with all of its variants and their bodies.
pub(crate) fn listed_entry(
    key: &CacheKey,
    (has_variants, has_body): (bool, bool),
) -> [u8; LISTED_LENGTH] {
    let letter = match (has_variants, has_body) {
        (true, _) => b'v',
        (false, true) => b'l',
        (false, false) => b'e',
    };
    let mut listed = [letter; LISTED_LENGTH];
    listed[1..].copy_from_slice(&key.selector().to_be_bytes());
    listed
}

/// Returns the key of the entry that a body belongs to.
pub(crate) fn entry_of_body(body: &str) -> String {
    // A namespace has no colon.
    body.replacen(":b:", ":e:", 1)
}

/// Returns the stripe of a resource.
pub(crate) fn stripe_of(resource: &Resource) -> usize {
    // Other bits than the stripes of a memory backend use.
    (resource.digest() >> 32) as usize % STRIPES
}

/// Appends a digest in hexadecimal.
///
/// `write!` takes several times as long, twice per lookup.
fn push_digest(name: &mut String, digest: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    name.push_str(str::from_utf8(&digits).expect("digits"));
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http::Request;

    use super::*;
    use crate::key::{DigestSeed, KeyParts, Sites};

    /// A key is the namespace and hexadecimal digits of one length, whatever the request contains.
    #[test]
    fn nothing_of_a_request_is_readable_in_a_key() {
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
                let key = CacheKey::new(&DigestSeed::default(), "\u{1f}", Sites::One, &parts);
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
                lengths.insert(entry.len());
            }
        }
        assert_eq!(lengths.len(), 1, "{lengths:?}");
    }

    /// `KEYS a:*` or `SCAN` in one namespace never matches keys of another.
    #[test]
    fn the_keys_of_a_namespace_never_begin_with_another_one() {
        for name in ["", "a:b", "a{b", "a b", "a\n", "a*", "é", &"a".repeat(65)] {
            assert!(Namespace::new(name).is_none(), "{name:?}");
        }
        let (a, ab) = (Namespace::new("a"), Namespace::new("ab"));
        let (a, ab) = (
            a.expect("valid").namespace_token(),
            ab.expect("valid").namespace_token(),
        );
        assert!(!ab.starts_with(a.trim_end_matches('n')));
    }
}
