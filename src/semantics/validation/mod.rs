//! Validators and conditional requests (RFC 9110 §8.8, §13; RFC 9111 §4.3).
//!
//! Two directions: [`is_not_modified`] evaluates a client's conditions against the stored response;
//! [`origin_conditions`] are those by which the cache validates it at the origin, and
//! [`validation_outcome`] and [`compare_with_head`] judge the answer. Entity tags are read in
//! `entity_tag`, validators in `validators`.

mod client_conditions;
mod confirmation;
mod entity_tag;
mod not_modified;
mod origin_conditions;
#[cfg(test)]
mod tests;
mod validators;

pub use client_conditions::{has_stored_tag, is_not_modified};
pub use confirmation::{HeadComparison, ValidationOutcome, compare_with_head, validation_outcome};
pub use entity_tag::{EntityTag, generated_tag};
pub use not_modified::not_modified_headers;
pub use origin_conditions::origin_conditions;
pub use validators::{is_same_representation, strong_date, strong_validator};
