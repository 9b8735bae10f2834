//! Validators and the conditions made of them (RFC 9110 §8.8, §13; RFC 9111 §4.3).

mod client_conditions;
mod entity_tag;
mod not_modified;
mod origin_conditions;
mod outcome;
#[cfg(test)]
mod tests;
mod validators;

pub use client_conditions::is_not_modified;
pub use entity_tag::{EntityTag, generated_tag};
pub use not_modified::not_modified_headers;
pub use origin_conditions::origin_conditions;
pub use outcome::{HeadComparison, ValidationOutcome, compare_with_head, validation_outcome};
pub use validators::{has_validator, is_same_representation, strong_date, strong_validator};
