//! `Range`, `If-Range` and `Content-Range` (RFC 9110 §13.1.5, §14).

mod content_range;
mod if_range;
mod multipart;
mod partial_content;
mod request;
#[cfg(test)]
mod tests;

pub use content_range::{
    content_range, parse_content_range, range_header, unsatisfied_content_range,
};
pub use if_range::if_range_allows;
pub use multipart::multipart_part_head;
pub use partial_content::PartialContent;
#[cfg(any(test, fuzzing))]
pub use request::MAX_RANGES;
pub use request::{RequestedRanges, requested_ranges};
