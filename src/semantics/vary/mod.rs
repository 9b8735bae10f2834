//! `Vary`: which request fields selected a response, and whether another request selects the same (RFC 9111 §4.1).

mod normalize;
mod rule;
mod selection;
#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub use normalize::normalized_value;
pub use rule::{Vary, VaryRule};
pub use selection::VarySelection;
