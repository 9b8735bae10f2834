//! The grammar that header fields share (RFC 9110 §5.6).
//!
//! [`list`], [`single`] and [`parameter`] read values, [`date`] reads and writes HTTP dates,
//! [`hop_by_hop`] removes the fields of a connection. Nothing in here knows what a field means.

pub mod date;
pub mod hop_by_hop;
mod syntax;

pub use syntax::{decimal, list, parameter, single};
