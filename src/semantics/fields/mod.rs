//! The grammar that header fields share (RFC 9110 §5.6).
//!
//! [`list`], [`single`] and [`parameter`] read values, [`date`] reads and writes HTTP dates,
//! [`hop_by_hop`] removes the fields of a connection, [`digest`] those of one message's content.
//! [`limits`] bounds how much is read of one field; [`name_filter`] sorts names out by a bit;
//! [`small_number`] has values that need not be made, [`value_slots`] remember those that are.

pub mod date;
pub mod digest;
pub mod hop_by_hop;
pub mod limits;
pub mod name_filter;
pub mod small_number;
mod syntax;
pub(crate) mod value_slots;

pub use syntax::{decimal, has_any, is_quoted_string, is_token, list, parameter, single};
