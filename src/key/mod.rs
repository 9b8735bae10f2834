//! What a response is stored under, and what a write invalidates.
//!
//! A [`KeyParts`] is a request's key spelled out, borrowed from the request. A [`CacheKey`] is its fixed-length digest,
//! all that a backend needs; a [`Resource`] is the part of it that a write invalidates. Knows requests and bytes,
//! nothing of backends.

mod authority;
mod digest;
mod parts;
mod query;

pub use authority::Authority;
pub(crate) use authority::normalize;
pub(crate) use digest::group;
pub use digest::{CacheKey, DigestSeed, Resource};
pub(crate) use parts::{KeyBy, authority_in};
pub use parts::{KeyParts, MakeCacheKey, UriKey};
pub use query::QueryRules;
