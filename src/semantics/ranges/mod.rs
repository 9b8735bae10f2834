//! Requests for parts and stored parts (RFC 9110 §13.1.5, §14; RFC 9111 §3.3, §3.4).
//!
//! [`requested_ranges`] reads `Range`, [`if_range_allows`] evaluates `If-Range`, `content_range`
//! and `multipart` read and write the fields of a 206. [`PartialContent`] says which parts of a
//! representation are stored.

mod content_range;
mod if_range;
mod multipart;
mod partial_content;
mod representation;
mod requested_ranges;
#[cfg(test)]
mod tests;
mod whole_head;

pub use content_range::{
    content_range, parse_content_range, range_header, unsatisfied_content_range,
};
pub use if_range::if_range_allows;
pub use multipart::{multipart_boundary, multipart_part_head};
pub use partial_content::PartialContent;
pub use representation::remove_representation;
#[cfg(any(test, fuzzing))]
pub use requested_ranges::MAX_RANGES;
pub use requested_ranges::{RequestedRanges, requested_ranges};
pub use whole_head::whole_head;
