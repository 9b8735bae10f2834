//! The fixed-length keys that backends see.

use std::fmt;

use http::HeaderMap;

use super::digest_seed::{DigestSeed, NONE, RECORD};
use super::key_parts::KeyParts;
use crate::semantics::groups::Group;
use crate::semantics::vary::VaryRule;

/// All responses of one scope, authority and path, with every query and variant: a write
/// invalidates them together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(u128);

impl Resource {
    /// Creates the resource of a path.
    pub(crate) fn new(seed: &DigestSeed, scope: &str, authority: &str, path: &str) -> Self {
        let mut digester = seed.hasher();
        digester.write_parts([scope, authority, path]);
        Self(digester.finish())
    }

    /// Returns the digest.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.0
    }
}

/// Returns the group of one authority's responses within a scope: a group belongs to one origin
/// (RFC 9875 §2).
pub(crate) fn group_digest(seed: &DigestSeed, scope: &str, authority: &str, name: &str) -> Group {
    let mut digester = seed.hasher();
    digester.write_parts(["group", scope, authority, name]);
    Group::from_digest(digester.finish())
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:032x})", self.0)
    }
}

/// The key that one response is stored under, of three digests with 128 bits each.
///
/// The resource comes first, then the selector (scheme and query), then the variant (`Vary`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    resource: Resource,
    selector: u128,
    variant: u128,
}

impl CacheKey {
    /// Creates the key of a request within a scope, without variant.
    pub(crate) fn new(seed: &DigestSeed, scope: &str, parts: &KeyParts<'_>) -> Self {
        let resource = Resource::new(seed, scope, parts.authority(), parts.path());
        let selector = match (parts.scheme(), parts.query()) {
            (None, None) => NONE,
            (scheme, query) => {
                let mut digester = seed.hasher();
                for part in [scheme, query] {
                    digester.write_part(&[u8::from(part.is_some())]);
                    digester.write_part(part.unwrap_or_default().as_bytes());
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

    /// Creates the key of a resource's response without scheme, query and variant.
    #[must_use]
    pub const fn plain(resource: Resource) -> Self {
        Self {
            resource,
            selector: NONE,
            variant: NONE,
        }
    }

    /// Creates a key that no request has, for data that a backend keeps about a whole resource.
    #[must_use]
    pub const fn record(resource: Resource) -> Self {
        Self {
            resource,
            selector: RECORD,
            variant: NONE,
        }
    }

    /// Returns the key of the partial content of this response (RFC 9111 §3.3).
    #[must_use]
    pub(crate) fn for_partial_content(self, seed: &DigestSeed) -> Self {
        let mut digester = seed.hasher();
        digester.write_part(b"parts");
        digester.write_part(&self.selector.to_le_bytes());
        Self {
            selector: digester.finish(),
            variant: NONE,
            ..self
        }
    }

    /// Returns the key of the variant that a request with these header fields selects.
    #[must_use]
    pub fn variant_for(self, seed: &DigestSeed, rule: &VaryRule, request: &HeaderMap) -> Self {
        let mut digester = seed.hasher();
        for name in rule.names() {
            digester.write_part(name.as_str().as_bytes());
        }
        rule.write_selecting_values(request, |bytes| digester.write_part(bytes));
        Self {
            variant: digester.finish(),
            ..self
        }
    }

    /// Returns the key of the variant with this digest.
    pub(crate) const fn with_variant(self, variant: u128) -> Self {
        Self { variant, ..self }
    }

    /// Returns the key without variant. The rule that selects the variants is kept under it.
    #[must_use]
    pub const fn primary(self) -> Self {
        Self {
            variant: NONE,
            ..self
        }
    }

    /// Returns the resource that the key belongs to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Returns the digest of scheme and query; 0 if there is neither.
    #[must_use]
    pub const fn selector(&self) -> u128 {
        self.selector
    }

    /// Returns the digest of the selecting fields; 0 if the response does not vary.
    #[must_use]
    pub const fn variant(&self) -> u128 {
        self.variant
    }

    /// Returns whether the key has neither selector nor variant: it can be computed from the
    /// resource alone.
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
