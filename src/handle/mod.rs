//! The cache from outside the request path, for application code.
//!
//! It knows the shared state below `service`, and neither the layer nor any request. Start with
//! [`CacheHandle`]; an [`Invalidator`] is a handle that does one thing and has no type parameter.

mod cache_handle;
mod error;
mod invalidator;

pub use cache_handle::CacheHandle;
pub use error::InvalidationError;
pub use invalidator::Invalidator;
