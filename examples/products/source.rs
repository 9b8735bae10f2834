//! A middleware that adds `source` to JSON responses: `cache` or `database`.
//!
//! Belongs around the cache, whose `Cache-Status` says where a response comes from.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, response};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::failure::Failure;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const FROM_CACHE: &[u8] = b",\"source\":\"cache\"}\n";
const FROM_DATABASE: &[u8] = b",\"source\":\"database\"}\n";

/// Adds `source` as the last member of the envelope, and a newline; other responses pass
/// unchanged.
///
/// `Range` is ignored, which RFC 9110 §14.2 allows: the cache stores the envelope without
/// `source`, so a part of the stored bytes is not a part of the sent ones.
pub async fn add_source(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(RANGE);
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    if !is_json(response.headers()) {
        return response;
    }
    let ending = match is_hit(response.headers()) {
        true => FROM_CACHE,
        false => FROM_DATABASE,
    };
    let (mut head, body) = collect(response).await;
    let extended = replace_closing_brace(&body, ending);
    // The response to HEAD has no body, but the length of the body that GET would get.
    let length = match &extended {
        Some(extended) => Some(extended.len() as u64),
        None if is_head => content_length(&head.headers).map(|it| it + ending.len() as u64 - 1),
        None => None,
    };
    if let Some(length) = length {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::from(extended.unwrap_or(body)))
}

/// Collects a response; if its body fails, the response is 500 instead.
async fn collect(response: Response) -> (response::Parts, Bytes) {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => (head, body.to_bytes()),
        Err(error) => {
            let (head, body) = Failure::internal(error).into_response().into_parts();
            let body = body.collect().await.map(|body| body.to_bytes());
            (head, body.unwrap_or_default())
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == "application/json")
}

/// Whether the nearest cache answered. Each cache appends to `Cache-Status` (RFC 9211 §2): the
/// last member is the nearest one's.
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
                .any(|parameter| is_from_store(parameter.trim()))
        })
}

/// Whether a parameter of `Cache-Status` means a hit, or a stale response instead of an error.
fn is_from_store(parameter: &str) -> bool {
    parameter == "hit" || parameter.starts_with("detail=stale-if-")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Works on the text: parsing and serializing would cost a hit many times as much.
fn replace_closing_brace(body: &Bytes, ending: &[u8]) -> Option<Bytes> {
    let open = body.strip_suffix(b"}")?;
    Some([open, ending].concat().into())
}
