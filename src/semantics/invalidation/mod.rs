//! The methods that invalidate, and the resources that a response names (RFC 9111 §4.4).
//!
//! Which of these belong to the site of the request is decided in `key` and `service`.

mod method;
mod reference;
#[cfg(test)]
mod tests;

pub use method::is_safe;
pub use reference::{Reference, resolve};
