//! The JSON envelope of every response with content.

use std::hash::{DefaultHasher, Hasher};

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::failure::Failure;

/// The envelope without its last member, `source`: the service does not know of the cache, so the
/// middleware around the cache adds it.
#[derive(Serialize)]
pub struct Envelope<'a, T> {
    pub status: &'static str,
    pub message: &'a str,
    pub data: T,
}

/// A 200 with `"status":"success"` and an entity tag.
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

/// An entity tag by the hash of a body. It is weak because the client gets other bytes: `source`,
/// which is added later, can differ for an unchanged product.
fn weak_tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:016x}\"", hasher.finish())
}
