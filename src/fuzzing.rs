//! What `fuzz/` needs and nobody else may see.

use std::borrow::Cow;

use http::request;

pub use crate::backend::codec;
use crate::key::{self, CacheKey, DigestSeed, KeyParts};
pub use crate::semantics::{
    cache_control, freshness, groups, moment, ranges, storing, validation, vary,
};

/// The parts of a request's target.
#[must_use]
pub fn key_parts<'r>(request: &'r request::Parts, authority: &'r str) -> KeyParts<'r> {
    KeyParts::from_request(request, Cow::Borrowed(authority))
}

/// The full key.
#[must_use]
pub fn identity(key: &KeyParts<'_>, scope: &str) -> Box<[u8]> {
    key.identity(scope)
}

/// Whether that is a full key's.
#[must_use]
pub fn is(key: &KeyParts<'_>, scope: &str, identity: &[u8]) -> bool {
    key.is(scope, identity)
}

/// The digest of a key.
#[must_use]
pub fn cache_key(seed: &DigestSeed, scope: &str, key: &KeyParts<'_>) -> CacheKey {
    CacheKey::new(seed, scope, key)
}

/// An authority as keys hold it.
#[must_use]
pub fn normalize<'a>(authority: &'a str, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    key::normalize(authority, scheme)
}
