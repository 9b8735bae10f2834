//! The outcome of a write, by the head of its response.

use http::{request, response};

use crate::config::Config;
use crate::config::hook::subject;
use crate::semantics::marks::{IncompleteRequest, RepeatedRequest};
use crate::semantics::reason::WriteOutcome;

/// The outcome of a write by the head of its response: what the hook says, else the status. It is
/// unknown if the hook panics. An incomplete request is rejected, and no hook is asked.
pub(crate) fn outcome_of(
    config: &Config,
    write: &request::Parts,
    head: &response::Parts,
) -> WriteOutcome {
    if head.extensions.get::<IncompleteRequest>().is_some() {
        return WriteOutcome::Rejected;
    }
    let outcome = match &config.classify_writes {
        Some(classify) => classify(subject(write), head).unwrap_or(WriteOutcome::Unknown),
        None => WriteOutcome::from_status(head.status),
    };
    match outcome {
        WriteOutcome::Rejected if head.extensions.get::<RepeatedRequest>().is_some() => {
            WriteOutcome::Unknown
        }
        outcome => outcome,
    }
}
