//! Bodies of responses on their way to clients and into the store.
//!
//! * [`response`]: the body of every response of the cache.
//! * [`origin`]: a body from the inner service, or stored bytes that take its place.
//! * [`missing_range`]: a range from the inner service between stored bytes.
//! * [`resumed`]: the rest of a body behind chunks that were collected.
//! * [`watched`]: a body from the inner service, whose failure counts.
//! * [`capture`]: collects a body for the store while it streams.
//! * [`ending`]: a body whose end waits for some work.
//! * [`first_frames`]: what of a body is there at once.
//! * [`kept_chunks`]: the copies of small chunks that are kept.
//! * [`byte_meter`]: counts the bytes of a body of unknown length.
//! * [`pump`]: moves one body to its readers, and into the store.
//!
//! This module knows bytes, lengths and deadlines. It knows no keys, no freshness and no backend.

pub(crate) mod byte_meter;
pub(crate) mod capture;
pub(crate) mod ending;
pub(crate) mod first_frames;
pub(crate) mod kept_chunks;
pub(crate) mod missing_range;
pub(crate) mod origin;
pub(crate) mod pump;
pub(crate) mod response;
pub(crate) mod resumed;
pub(crate) mod watched;
