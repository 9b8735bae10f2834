//! Grammar that header fields share, and fields that are not stored.

pub mod date;
pub mod hop_by_hop;
mod syntax;

pub use syntax::{decimal, list, parameter, single};
