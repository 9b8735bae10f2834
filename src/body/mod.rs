//! Bodies of responses on their way to clients and into the store.
//!
//! * [`response`]: the body of every response of the cache.
//! * [`origin`]: a body from the inner service, or stored bytes that take its place.
//! * [`missing_range`]: a range from the inner service between stored bytes.
//! * [`capture`]: collects a body for the store while it streams.
//! * [`kept_chunks`]: the copies of small chunks that are kept.
//! * [`pump`]: moves one body to several readers, at their pace.
//!
//! This module knows bytes, lengths and deadlines. It knows no keys, no freshness and no backend.

pub(crate) mod capture;
pub(crate) mod kept_chunks;
pub(crate) mod missing_range;
pub(crate) mod origin;
pub(crate) mod pump;
pub(crate) mod response;
