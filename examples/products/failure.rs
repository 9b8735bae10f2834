//! Errors as responses.

use std::error::Error;

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::database::DatabaseError;
use crate::envelope::Envelope;
use crate::log::with_causes;

/// A response with `"status":"error"`. The message is for the client.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    /// A 500. The error is logged and not shown to the client, which could do nothing about it.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        tracing::error!(error = with_causes(&*error), "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error; see the server's log",
        )
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        tracing::error!(error = with_causes(&*error), "database call failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the database failed; see the server's log",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let envelope = Envelope {
            status: "error",
            message: &self.message,
            data: (),
        };
        (self.status, Json(envelope)).into_response()
    }
}

pub async fn not_found(uri: Uri) -> Failure {
    let message = format!("nothing found at {}: GET / lists the endpoints", uri.path());
    Failure::new(StatusCode::NOT_FOUND, message)
}

/// axum adds `Allow`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Failure {
    let message = format!("{method} is not allowed on {}", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
