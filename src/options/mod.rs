//! Options as data: rules of routes, and the options of a layer that configuration has.
//!
//! This folder may name `semantics` and `key`. Start with `cache_options`.

#[cfg(feature = "serde")]
mod cache_options;
#[cfg(feature = "serde")]
mod deserialize;
#[cfg(feature = "serde")]
mod read_routes;
mod rules;
#[cfg(all(test, feature = "serde"))]
mod tests;

#[cfg(feature = "serde")]
pub use self::cache_options::CacheOptions;
pub use self::rules::Rules;
