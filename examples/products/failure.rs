//! What goes wrong, as answers.

use std::error::Error;

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::database::DatabaseError;
use crate::envelope::Envelope;

/// An answer with `status: error`: the message is for whoever sent the request.
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

    /// What went wrong is for the log: a client could do nothing about it, and need not know.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        tracing::error!(error = &*error as &dyn Error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something went wrong here",
        )
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        tracing::error!(error = &*error as &dyn Error, "a database call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the database failed")
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
    let message = format!("there is nothing at {}", uri.path());
    Failure::new(StatusCode::NOT_FOUND, message)
}

/// axum adds `Allow`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Failure {
    let message = format!("{method} is not allowed on {}", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
