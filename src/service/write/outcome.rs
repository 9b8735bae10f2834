//! The outcome of a write, by the status of its response.

use http::{HeaderMap, Response, StatusCode};

use crate::semantics::reason::WriteOutcome;

/// The outcome of a write by its result, and the fields of its response. An error says nothing: the
/// write may have committed.
pub(crate) fn outcome_of<Res, E>(
    result: &Result<Response<Res>, E>,
) -> (WriteOutcome, Option<&HeaderMap>) {
    match result {
        Ok(response) => (
            outcome_of_status(response.status()),
            Some(response.headers()),
        ),
        Err(_) => (WriteOutcome::Unknown, None),
    }
}

/// The outcome of a write by its status: 2xx and 3xx committed, 4xx rejected, 5xx and 408 unknown.
pub(crate) fn outcome_of_status(status: StatusCode) -> WriteOutcome {
    // A timeout layer inside answers 408 for a handler that it drops wherever it is, after its
    // commit too.
    if status == StatusCode::REQUEST_TIMEOUT {
        WriteOutcome::Unknown
    } else if status.is_client_error() {
        WriteOutcome::Rejected
    } else if status.is_server_error() {
        WriteOutcome::Unknown
    } else {
        WriteOutcome::Committed
    }
}
