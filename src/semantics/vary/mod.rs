//! `Vary`: the request fields that selected a response, and whether another request selects it too
//! (RFC 9111 §4.1).
//!
//! [`Vary`] reads the field, [`VarySelection`] keeps the values that selected a stored response.
//! Values are compared in the normal form of `normalize`; `preference` knows which language a
//! request prefers.

mod normalize;
mod preference;
mod rule;
mod selecting_values;
#[cfg(test)]
mod tests;

pub(crate) use normalize::members_with_weight;
pub use normalize::normalized_value;
pub use preference::{content_language, preferred_language};
pub use rule::{Vary, VaryRule};
pub use selecting_values::VarySelection;
