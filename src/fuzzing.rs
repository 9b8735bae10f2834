//! Internals that `fuzz/` tests. Compiled with `--cfg fuzzing` only, and no part of the public API.

use std::borrow::Cow;
use std::sync::Arc;

use http::request;

use crate::backend::StoredResponse;
pub use crate::backend::codec;
use crate::key::{self, CacheKey, DigestSeed, KeyParts, Sites};
pub use crate::semantics::{
    cache_control, freshness, groups, moment, ranges, request_kind, storing, validation, vary,
};

/// The parts of a request's target.
#[must_use]
pub fn key_parts<'r>(request: &'r request::Parts, authority: &'r str) -> KeyParts<'r> {
    KeyParts::from_request(request, Cow::Borrowed(authority))
}

/// The full key.
#[must_use]
pub fn identity(key: &KeyParts<'_>, scope: &str) -> Arc<[u8]> {
    key.identity(scope)
}

/// Whether `identity` is the full key of `key`.
#[must_use]
pub fn matches(key: &KeyParts<'_>, scope: &str, identity: &[u8]) -> bool {
    key.matches(scope, identity)
}

/// The fields of a stored response that have no public accessor: the full key, the values that
/// selected it, and whether its `Cache-Status` is an upstream cache's.
#[must_use]
pub fn hidden_fields(response: &StoredResponse) -> (&[u8], Option<&vary::VarySelection>, bool) {
    (
        response.identity(),
        response.vary_selection(),
        response.has_upstream_status(),
    )
}

/// The digest of a key.
#[must_use]
pub fn cache_key(seed: &DigestSeed, scope: &str, key: &KeyParts<'_>) -> CacheKey {
    CacheKey::new(seed, scope, Sites::default(), key)
}

/// An authority as keys hold it.
#[must_use]
pub fn normalize_authority<'a>(authority: &'a str, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    key::normalize_authority(authority, scheme)
}

/// A path as resources have it.
#[must_use]
pub fn normal_path(path: &str) -> Cow<'_, str> {
    key::normal_path::normal_path(path)
}

/// Puts a request into canonical form; `false` if its authority is invalid.
pub fn canonicalize(request: &mut request::Parts, keeps_upgrade: bool) -> bool {
    key::canonical::canonicalize(request, keeps_upgrade).is_ok()
}
