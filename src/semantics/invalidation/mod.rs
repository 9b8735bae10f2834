//! Which methods invalidate, and which resources a response names (RFC 9111 §4.4).

mod method;
mod reference;
#[cfg(test)]
mod tests;

pub use method::is_safe;
pub use reference::{Reference, resolve};
