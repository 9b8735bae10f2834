//! RFC 9111 and its neighbours as pure functions.
//!
//! Nothing in here waits, locks, reads a clock or does I/O: `now` is an argument, and every decision is an enum that
//! carries its reason. What the rest of the crate does with a decision is not known here.

pub mod cache_control;
pub mod cache_status;
pub mod fields;
pub mod freshness;
pub mod groups;
pub mod invalidation;
pub mod moment;
pub mod ranges;
pub mod reason;
pub mod reuse;
pub mod stored;
pub mod storing;
pub mod validation;
pub mod vary;
