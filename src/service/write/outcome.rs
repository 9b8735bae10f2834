//! The outcome of a write, by the head of its response.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Response, response};

use crate::config::Config;
use crate::semantics::reason::WriteOutcome;

/// The outcome of a write by the head of its response: what the hook says, else the status.
///
/// It may be asked while values are dropped, so a panic of the hook ends here.
pub(crate) fn outcome_of(config: &Config, head: &response::Parts) -> WriteOutcome {
    let Some(classify) = &config.classify_writes else {
        return WriteOutcome::from_status(head.status);
    };
    catch_unwind(AssertUnwindSafe(|| classify(head))).unwrap_or_else(|_| {
        tracing::error!(
            status = head.status.as_u16(),
            "classify_writes panicked; the outcome of the write counts as unknown"
        );
        WriteOutcome::Unknown
    })
}

/// The head of the response to a write; `None` if the inner service failed. The body is dropped.
pub(crate) fn head_of<Res, E>(result: Result<Response<Res>, E>) -> Option<response::Parts> {
    result.ok().map(|response| response.into_parts().0)
}
