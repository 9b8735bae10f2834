//! The methods that invalidate, and the resources that a response names (RFC 9111 §4.4).
//!
//! Which of these belong to the site of the request is decided in `key` and `service`.

mod reference;
mod safe_methods;
#[cfg(test)]
mod tests;

#[cfg(feature = "proxy")]
pub use reference::without_dot_segments;
pub use reference::{Reference, encode, resolve};
pub use safe_methods::is_safe;
