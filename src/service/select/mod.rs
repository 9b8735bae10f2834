//! Answers cut from a stored response: the whole, 304, 206 and 416.
//!
//! Pure: no store, no clock, no inner service. Start reading in `stored`.

pub(crate) mod cut_ranges;
pub(crate) mod stored;
