//! The fixed-length keys that backends see.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;

use super::digest_seed::{DigestSeed, NONE, RECORD, UNSELECTED};
use super::key_parts::KeyParts;
use super::normal_path::normal_path;
use super::sites::Sites;
use crate::semantics::groups::Group;
use crate::semantics::vary::VaryRule;

/// Everything that a write invalidates together: all stored responses of a path, with every query
/// and variant.
///
/// A resource is a path within a [scope](crate::CacheLayer::scope) and a site. [`Sites`] decides
/// which hosts are one site: by default all of them, so that a write invalidates under every name.
///
/// It is coarser than the cache key, which is safe: it only invalidates more. The path is in normal
/// form (RFC 3986 §6.2.2), so that a write is about the responses its origin takes it to be about,
/// however it is spelled: percent-encoded characters that may stand unencoded are decoded, all
/// others are encoded with upper-case digits, repeated slashes are merged and dot segments removed.
/// `/x`, `/%78`, `/a/../x` and `//x` are four cache keys of one resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(u128);

impl Resource {
    /// Creates the resource of a path, as received.
    pub(crate) fn new(seed: &DigestSeed, scope: &str, site: &str, path: &str) -> Self {
        Self::of_normal_path(seed, scope, site, &normal_path(path))
    }

    fn of_normal_path(seed: &DigestSeed, scope: &str, site: &str, path: &str) -> Self {
        let mut digester = seed.hasher();
        digester.write_and_end([scope, site], path);
        Self(digester.finish())
    }

    /// Returns the digest.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.0
    }
}

/// Returns the group of one site's responses within a scope: a group belongs to one origin (RFC
/// 9875 §2).
pub(crate) fn group_digest(seed: &DigestSeed, scope: &str, site: &str, name: &str) -> Group {
    let mut digester = seed.hasher();
    digester.write_parts(["group", scope, site, name]);
    Group::from_digest(digester.finish())
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:032x})", self.0)
    }
}

/// The key that one response is stored under, of three digests: resource and variant have 128 bits,
/// the selector has 64.
///
/// The resource comes first, then the selector (the parts of the key that the resource leaves out,
/// such as the query), then the variant (`Vary`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    resource: Resource,
    selector: u128,
    variant: u128,
}

impl CacheKey {
    /// Creates the key of a request within a scope, without variant.
    pub(crate) fn new(seed: &DigestSeed, scope: &str, sites: Sites, parts: &KeyParts<'_>) -> Self {
        let path = normal_path(parts.path());
        let site = sites.site_of(parts.authority());
        let left_out = LeftOut {
            authority: match site == parts.authority() {
                true => "",
                false => parts.authority(),
            },
            scheme: parts.scheme(),
            query: parts.query(),
            path: matches!(path, Cow::Owned(_)).then_some(parts.path()),
        };
        Self {
            resource: Resource::of_normal_path(seed, scope, site, &path),
            selector: left_out.digest(seed),
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

    /// Creates the key of a path without host and query.
    #[cfg(test)]
    pub(crate) fn for_path(path: &str) -> Self {
        Self {
            resource: Resource::new(&DigestSeed::default(), "", "", path),
            selector: NONE,
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

    /// Returns the key of the variant that a request with these header fields selects. A request
    /// whose selecting fields are longer than 16 KiB together selects none: nothing is stored under
    /// the key that it has then.
    #[must_use]
    pub fn variant_for(self, seed: &DigestSeed, rule: &VaryRule, request: &HeaderMap) -> Self {
        let mut digester = seed.hasher();
        for name in rule.names() {
            digester.write_part(name.as_str().as_bytes());
        }
        match rule.write_selecting_values(request, |bytes| digester.write_part(bytes)) {
            true => self.with_variant(digester.finish()),
            false => self.unselected(),
        }
    }

    /// Returns the key of no variant, for a request that selects none whatever is stored.
    pub(crate) const fn unselected(self) -> Self {
        self.with_variant(UNSELECTED)
    }

    /// Returns whether the key is that of a request that selects no variant.
    pub(crate) const fn is_unselected(&self) -> bool {
        self.variant == UNSELECTED
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

    /// Returns the digest of the parts of the key that the resource leaves out; 0 if there are
    /// none.
    #[must_use]
    pub const fn selector(&self) -> u128 {
        self.selector
    }

    /// Returns the key with another selector.
    pub(crate) const fn with_selector(self, selector: u128) -> Self {
        Self { selector, ..self }
    }

    /// Returns the digest of the selecting fields; 0 if the response does not vary.
    #[must_use]
    pub const fn variant(&self) -> u128 {
        self.variant
    }

    /// A digest of the whole key, for tables that need not tell all keys apart. Each of its bits
    /// depends on each part of the key: a selector may have no upper half.
    pub(crate) const fn short_digest(&self) -> u64 {
        let whole = self.resource.digest() ^ self.selector ^ self.variant.rotate_left(32);
        (whole >> 64) as u64 ^ whole as u64
    }
}

/// The parts of a key that its resource leaves out.
struct LeftOut<'k> {
    authority: &'k str,
    scheme: Option<&'k str>,
    query: Option<&'k str>,
    /// The path as received, if it may differ from its normal form.
    path: Option<&'k str>,
}

impl LeftOut<'_> {
    /// Returns the digest of these parts; [`NONE`] if there are none.
    fn digest(&self, seed: &DigestSeed) -> u128 {
        let others = [self.scheme, self.query, self.path];
        if others == [None; 3] {
            return match self.authority.is_empty() {
                true => NONE,
                false => seed.short_digest_of(self.authority),
            };
        }
        let mut digester = seed.short_hasher();
        digester.write_text(self.authority);
        for (number, part) in (1..).zip(others) {
            if let Some(part) = part {
                digester.write_mark(number);
                digester.write_text(part);
            }
        }
        digester.finish()
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
