//! What a response is stored under, and what a write invalidates.
//!
//! A [`KeyParts`] is a request's key spelled out, borrowed from the request. A [`CacheKey`] is its fixed-length digest,
//! all that a backend needs; a [`Resource`] is the part of it that a write invalidates. Knows requests and bytes,
//! nothing of backends.

mod authority;
mod cache_key;
mod digest;
mod identity;
mod key_parts;
mod make_key;
mod query;
#[cfg(test)]
mod tests;

pub use authority::Authority;
pub(crate) use authority::normalize_authority;
pub(crate) use cache_key::group_digest;
pub use cache_key::{CacheKey, Resource};
pub use digest::DigestSeed;
pub(crate) use identity::authority_of_identity;
pub use key_parts::KeyParts;
pub(crate) use make_key::KeyBy;
pub use make_key::{MakeCacheKey, UriKey};
pub use query::QueryRules;
