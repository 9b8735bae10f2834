//! Whether a stored response answers a request, and with what of it (RFC 9111 §4).

mod decision;
mod selection;
mod stale_use;
#[cfg(test)]
mod tests;

pub use decision::{Candidate, ReuseDecision, decide_reuse};
pub use selection::{Selection, StoredRepresentation, is_condition_or_range, select_content};
pub use stale_use::may_use_stale;
