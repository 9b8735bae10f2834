//! The key that a response is stored under, and the resource that a write invalidates.
//!
//! [`KeyParts`] is a request's key spelled out and borrowed from the request; [`MakeCacheKey`] may
//! change it. Its fixed-length digest is a [`CacheKey`], which is all that a backend needs; a
//! [`Resource`] is the part of it that a write invalidates. The full key ("identity") is stored
//! with the response and compared on every hit, so that a digest collision is harmless.
//!
//! Knows requests and bytes; nothing of backends. Start with [`KeyParts`].

mod authority;
mod cache_key;
pub(crate) mod canonical;
mod digest_seed;
mod identity;
mod key_parts;
mod make_key;
mod name_pattern;
pub(crate) mod normal_path;
mod query;
mod sites;
#[cfg(test)]
mod tests;

pub use authority::Authority;
pub(crate) use authority::{HostLines, InvalidAuthority, normalize_authority};
pub(crate) use cache_key::group_digest;
pub use cache_key::{CacheKey, Resource};
pub(crate) use digest_seed::DigestHash;
pub use digest_seed::DigestSeed;
pub(crate) use identity::{KeyExtension, authority_of_identity, path_of_identity};
pub use key_parts::KeyParts;
pub(crate) use make_key::KeyBy;
pub use make_key::{MakeCacheKey, UriKey};
pub use query::QueryRules;
pub use sites::Sites;
