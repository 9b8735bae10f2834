//! Says where an answer comes from. Belongs outside of the cache, which alone knows.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::failure::Failure;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const HIT: &[u8] = br#","source":"cache"}"#;
const NO_HIT: &[u8] = br#","source":"database"}"#;

/// Adds `source` to the envelope as its last member; what is no envelope passes as it is.
///
/// What the cache has is not what is sent, so that no part of it is either: `Range` is ignored, as it may be (RFC 9110 §14.2).
pub async fn stamp(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(RANGE);
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    if !is_json(response.headers()) {
        return response;
    }
    let member = if is_hit(response.headers()) {
        HIT
    } else {
        NO_HIT
    };
    let (mut head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Failure::internal(error).into_response(),
    };
    let stamped = stamped(&body, member);
    // An answer to HEAD may have lost its body already, but has the length that it would have had.
    let length = match &stamped {
        Some(stamped) => Some(stamped.len() as u64),
        None if is_head => length(&head.headers).map(|length| length + member.len() as u64 - 1),
        None => None,
    };
    if let Some(length) = length {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::from(stamped.unwrap_or(body)))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == "application/json")
}

/// Caches append to `Cache-Status` (RFC 9211 §2): the last word is that of the nearest, ours.
fn is_hit(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_STATUS)
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .skip(1)
                .any(|param| is_stored(param.trim()))
        })
}

/// A hit, or something stale in the place of an error.
fn is_stored(param: &str) -> bool {
    param == "hit" || param.starts_with("detail=stale-if-")
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Written into the text: reading it and writing it again would cost a hit many times as much.
fn stamped(body: &Bytes, member: &[u8]) -> Option<Bytes> {
    let open = body.strip_suffix(b"}")?;
    Some([open, member].concat().into())
}
