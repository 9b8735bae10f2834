//! The content of a request, bounded in size and time, as JSON.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{StatusCode, request};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::answer::{Answer, error};
use crate::error::BoxError;
use crate::timeout::with_timeout;

/// The longest time for the content of a request to arrive.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the content of a request as JSON. Members that the type does not have are an error.
///
/// # Errors
/// The answer, if the content is something else, too large or too slow.
pub(super) async fn read_json<T, B>(
    request: &request::Parts,
    body: B,
    max_content: usize,
) -> Result<T, Answer>
where
    T: DeserializeOwned,
    B: Body,
    B::Error: Into<BoxError>,
{
    // A form of another site cannot have this type.
    if !is_json(request) {
        return Err(error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json",
        ));
    }
    let content = read(body, max_content).await?;
    let parsed = match content.trim_ascii_start().first() {
        // Its members would be taken for those of an object, by their order.
        Some(b'[') => Err("expected an object, not an array".to_owned()),
        _ => serde_json::from_slice(&content).map_err(|wrong| wrong.to_string()),
    };
    parsed.map_err(|wrong| {
        let text = format!("invalid content: {wrong}");
        error(StatusCode::BAD_REQUEST, &text)
    })
}

fn is_json(request: &request::Parts) -> bool {
    let value = request.headers.get(CONTENT_TYPE);
    let value = value.map_or(&b""[..], |value| value.as_bytes());
    let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

async fn read<B>(body: B, max_content: usize) -> Result<Bytes, Answer>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_large = || {
        let text = format!("the content is larger than {max_content} bytes");
        error(StatusCode::PAYLOAD_TOO_LARGE, &text)
    };
    if body.size_hint().lower() > max_content as u64 {
        return Err(too_large());
    }
    let collected = Box::pin(Limited::new(body, max_content).collect());
    match with_timeout(CONTENT_TIMEOUT, collected).await {
        Some(Ok(content)) => Ok(content.to_bytes()),
        Some(Err(failure)) if failure.is::<LengthLimitError>() => Err(too_large()),
        Some(Err(_)) => Err(error(
            StatusCode::BAD_REQUEST,
            "the content ended with an error",
        )),
        None => Err(error(
            StatusCode::REQUEST_TIMEOUT,
            "the content took too long to arrive",
        )),
    }
}
