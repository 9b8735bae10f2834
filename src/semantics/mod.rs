//! RFC 9111 and its neighbours as pure functions.
//!
//! Nothing in here waits, locks, reads a clock or does I/O: `now` is an argument, and every decision is an enum that
//! carries its reason. What the rest of the crate does with a decision is not known here.

pub mod accept;
pub mod cache_control;
pub mod conditional;
pub mod date;
pub mod early;
pub mod fields;
pub mod freshening;
pub mod freshness;
pub mod groups;
pub mod hop_by_hop;
pub mod invalidation;
pub mod moment;
pub mod parts;
pub mod range;
pub mod reason;
pub mod selection;
pub mod staleness;
pub mod status;
pub mod stored;
pub mod storing;
pub mod targeted;
pub mod vary;
pub mod verdict;
