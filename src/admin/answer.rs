//! The answers of the service: none is stored by a cache, or taken for something else.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::access::Denial;
use super::route::NoRoute;

pub(super) type Answer = Response<Full<Bytes>>;

/// What a client gets if its request is refused or fails.
#[derive(Serialize)]
struct ErrorContent<'e> {
    error: &'e str,
}

/// An answer with content of a media type.
pub(super) fn content(
    status: StatusCode,
    media_type: &'static str,
    text: impl Into<Bytes>,
) -> Answer {
    let text = text.into();
    let length = HeaderValue::from(text.len());
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CONTENT_LENGTH, length),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ] {
        answer.headers_mut().insert(name, value);
    }
    answer
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => content(status, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "admin answer cannot be written");
            content(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

pub(super) fn error(status: StatusCode, error: &str) -> Answer {
    json(status, &ErrorContent { error })
}

/// An answer with one more field.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}

/// The answer to a request that was not done and may be repeated.
pub(super) fn unavailable(text: &str) -> Answer {
    with(
        error(StatusCode::SERVICE_UNAVAILABLE, text),
        RETRY_AFTER,
        "1",
    )
}

impl From<NoRoute> for Answer {
    fn from(reason: NoRoute) -> Self {
        match reason {
            NoRoute::NotFound => error(
                StatusCode::NOT_FOUND,
                "nothing here: GET / has the page, see also /stats, /metrics, /explain, /invalidate",
            ),
            NoRoute::NotAllowed(methods) => with(
                error(StatusCode::METHOD_NOT_ALLOWED, "the path has other methods"),
                ALLOW,
                methods,
            ),
        }
    }
}

impl From<Denial> for Answer {
    fn from(denial: Denial) -> Self {
        let forbidden = |text| error(StatusCode::FORBIDDEN, text);
        let unauthorized = |text, challenge| {
            with(
                error(StatusCode::UNAUTHORIZED, text),
                WWW_AUTHENTICATE,
                challenge,
            )
        };
        match denial {
            Denial::ForeignOrigin => forbidden("requests from other sites are refused"),
            Denial::NoTokenSet => forbidden("no token is configured, so this is not allowed"),
            Denial::ForeignHost => {
                forbidden("without a token, use an IP address, localhost or a configured host")
            }
            Denial::TokenMissing => unauthorized(
                "present the token as Authorization: Bearer TOKEN",
                "Bearer realm=\"cache\"",
            ),
            Denial::WrongToken => unauthorized(
                "wrong token",
                "Bearer realm=\"cache\", error=\"invalid_token\"",
            ),
        }
    }
}
