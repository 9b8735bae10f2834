//! Fixed-length keys.

use std::fmt;

use http::HeaderMap;

use super::digest::{DigestSeed, NONE, RECORD};
use super::key_parts::KeyParts;
use crate::semantics::groups::Group;
use crate::semantics::vary::VaryRule;

/// What a write invalidates: scope, authority and path, with all queries and variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(u128);

impl Resource {
    pub(crate) fn new(seed: &DigestSeed, scope: &str, authority: &str, path: &str) -> Self {
        let mut digester = seed.hasher();
        digester.parts([scope, authority, path]);
        Self(digester.finish())
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.0
    }
}

/// A group of one authority's responses, within a scope (RFC 9875 §2: only of one origin).
pub(crate) fn group_digest(seed: &DigestSeed, scope: &str, authority: &str, name: &str) -> Group {
    let mut digester = seed.hasher();
    digester.parts(["group", scope, authority, name]);
    Group::from_digest(digester.finish())
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:032x})", self.0)
    }
}

/// What one response is stored under: a resource, which of its representations by scheme and query, and which variant
/// of that by `Vary`. 128 bits each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    resource: Resource,
    selector: u128,
    variant: u128,
}

impl CacheKey {
    pub(crate) fn new(seed: &DigestSeed, scope: &str, parts: &KeyParts<'_>) -> Self {
        let resource = Resource::new(seed, scope, parts.authority(), parts.path());
        let selector = match (parts.scheme(), parts.query()) {
            (None, None) => NONE,
            (scheme, query) => {
                let mut digester = seed.hasher();
                for part in [scheme, query] {
                    digester.part(&[u8::from(part.is_some())]);
                    digester.part(part.unwrap_or_default().as_bytes());
                }
                digester.finish()
            }
        };
        Self {
            resource,
            selector,
            variant: NONE,
        }
    }

    /// The key of a resource's response without scheme, query and variant.
    #[must_use]
    pub const fn plain(resource: Resource) -> Self {
        Self {
            resource,
            selector: NONE,
            variant: NONE,
        }
    }

    /// A key that no request has: for what a backend keeps about a whole resource.
    #[must_use]
    pub const fn record(resource: Resource) -> Self {
        Self {
            resource,
            selector: RECORD,
            variant: NONE,
        }
    }

    /// The key of what is stored of the response while it is not whole (RFC 9111 §3.3).
    #[must_use]
    pub(crate) fn for_partial_content(self, seed: &DigestSeed) -> Self {
        let mut digester = seed.hasher();
        digester.part(b"parts");
        digester.part(&self.selector.to_le_bytes());
        Self {
            selector: digester.finish(),
            variant: NONE,
            ..self
        }
    }

    /// The key of the variant that a request with these header fields selects.
    #[must_use]
    pub fn variant_for(self, seed: &DigestSeed, rule: &VaryRule, request: &HeaderMap) -> Self {
        let mut digester = seed.hasher();
        for name in rule.names() {
            digester.part(name.as_str().as_bytes());
        }
        rule.write_selecting_values(request, |bytes| digester.part(bytes));
        Self {
            variant: digester.finish(),
            ..self
        }
    }

    /// The variant with this digest.
    pub(crate) const fn with_variant(self, variant: u128) -> Self {
        Self { variant, ..self }
    }

    /// The same without variant: where the rule that selects one is kept.
    #[must_use]
    pub const fn primary(self) -> Self {
        Self {
            variant: NONE,
            ..self
        }
    }

    /// The resource it belongs to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The digest of scheme and query; 0 where there is neither.
    #[must_use]
    pub const fn selector(&self) -> u128 {
        self.selector
    }

    /// The digest of the selecting fields; 0 for a response that does not vary.
    #[must_use]
    pub const fn variant(&self) -> u128 {
        self.variant
    }

    /// Whether it has neither selector nor variant: the one key of a resource that can be told from the resource alone.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.selector == NONE && self.variant == NONE
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({:032x}", self.resource.0)?;
        for (sign, digest) in [('?', self.selector), ('~', self.variant)] {
            if digest != NONE {
                write!(f, "{sign}{digest:032x}")?;
            }
        }
        f.write_str(")")
    }
}
