//! Bodies on their way through the proxy, and the timers and signals that belong to them.
//!
//! Knows nothing of connections, header fields or errors of the proxy. Start reading at `upload`
//! for requests and at `response` for responses.

pub(super) mod bounded_waits;
pub(super) mod broken_upload;
mod expect_continue;
pub(super) mod in_flight;
pub(super) mod pace;
pub(super) mod places;
pub(super) mod replay;
pub(super) mod response;
mod response_progress;
mod stall_watch;
pub(super) mod timers;
mod trailers;
pub(super) mod upload;
