//! The call to the inner service for a fill: readiness, validators, and what its response means.
//!
//! ```text
//! fetch --> add validators or range --> call --> interpret --> response
//!   ^                                               |
//!   `---- repetition, as the client sent it <-- of no use (once)
//! ```
//!
//! * [`fetch`]: the call itself, and the second one.
//! * [`interpret`]: what a response means, and whether it is of use.
//! * [`repetition`]: the request once more.
//! * [`stale_on_failure`]: a stale response in place of a failure.
//! * [`hidden_failure`]: the log line of such a failure.
//! * [`queue_full`]: a stale response or 503 where too many fills wait already.
//! * [`stored_content`]: whether stored content may be confirmed or completed.
//! * [`validation`]: a 304 to the cache's validators.
//! * [`update_from_head`]: a response to HEAD, which may make the stored response stale.
//!
//! This module knows the fill, and neither its followers nor how its response is stored.

pub(crate) mod fetch;
mod hidden_failure;
pub(crate) mod interpret;
pub(crate) mod queue_full;
pub(crate) mod repetition;
pub(crate) mod stale_on_failure;
pub(crate) mod stored_content;
pub(crate) mod update_from_head;
pub(crate) mod validation;
