//! The grammar that header fields share (RFC 9110 §5.6).
//!
//! [`list`], [`single`] and [`parameter`] read values, [`date`] reads and writes HTTP dates,
//! [`hop_by_hop`] removes the fields of a connection, [`digest`] those of one message's content.
//! [`spelling`] compares names as services do that make variables of them.
//! [`limits`] bounds how much is read of one field; [`name_filter`] sorts names out by a bit;
//! [`small_number`] has values that need not be made, [`value_slots`] remember those that are;
//! [`slot`] finds a field that has its place.

#[cfg(feature = "proxy")]
pub mod claims;
pub mod date;
pub mod digest;
pub mod hop_by_hop;
pub mod limits;
pub mod name_filter;
pub(crate) mod slot;
pub mod small_number;
pub mod spelling;
mod syntax;
pub(crate) mod value_slots;

pub use syntax::{decimal, has_any, is_quoted_string, is_token, list, parameter, single};
