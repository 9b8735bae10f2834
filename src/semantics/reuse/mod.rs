//! Whether a stored response answers a request, and with what of it (RFC 9111 §4).
//!
//! [`decide_reuse`] says whether the stored response may be used at all, [`may_use_stale`] whether
//! it may be used stale, [`refuses_other_credentials`] whether it is about those of other clients,
//! and [`select_content`] whether the client gets all of it, a 304, a part or a 416. The freshness
//! lifetime is computed in `freshness`.

mod credentials;
mod decision;
mod precondition_order;
mod stale_use;
#[cfg(test)]
mod tests;

pub use credentials::refuses_other_credentials;
pub use decision::{Candidate, ReuseDecision, decide_reuse};
pub use precondition_order::{
    Selection, StoredRepresentation, is_condition_or_range, select_content,
};
pub use stale_use::may_use_stale;
