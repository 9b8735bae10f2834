//! The cache from outside the request path, for application code.
//!
//! It knows the shared state and, to explain requests, `service`; it does not know the layer. Start
//! with [`CacheHandle`]; an [`Invalidator`] is a handle that does one thing and has no type
//! parameter.

mod cache_handle;
mod error;
mod invalidator;

pub use cache_handle::CacheHandle;
pub use error::InvalidationError;
pub use invalidator::Invalidator;
