//! The shape of every answer with content.

use std::hash::{DefaultHasher, Hasher};

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::failure::Failure;

/// Without its last member, `source`: where an answer comes from is not for the service to know.
#[derive(Serialize)]
pub struct Envelope<'a, T> {
    pub status: &'static str,
    pub message: &'a str,
    pub data: T,
}

pub fn success(message: &str, data: impl Serialize) -> Result<Response, Failure> {
    let envelope = Envelope {
        status: "success",
        message,
        data,
    };
    let body = serde_json::to_vec(&envelope).map_err(Failure::internal)?;
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, weak_tag(&body)),
    ];
    Ok((headers, body).into_response())
}

/// Weak, because these bytes are not yet those that are sent: `source` is to come and differs for one and the same product.
fn weak_tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:016x}\"", hasher.finish())
}
