//! The target, host and framing of a request (RFC 9112 §3.2, §6.3; RFC 9110 §7.2).
//!
//! Decides which requests are forwarded. Knows nothing of upstreams.

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, MAX_FORWARDS, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, request};

use crate::clock::throttle::Throttle;
use crate::clock::{Clock, SystemClock};
use crate::proxy::headers::{is_chunked_alone, unify_length};
use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_REQUEST_FIELD, is_longer_than};

/// Admits one warning of a loop per second.
static LOOP_LOG: Throttle = Throttle::new();

/// The most cookies of a request. Browsers keep up to 180 for a site.
const MAX_COOKIES: usize = 256;

/// The reason why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum RejectedRequest {
    /// The host is missing, repeated or invalid.
    Host,
    /// The target is not an absolute path, or its scheme is not HTTP's.
    Target,
    /// Both `Transfer-Encoding` and `Content-Length` are present, or that is no number.
    Framing,
    /// `Transfer-Encoding` is not `chunked` alone.
    TransferCoding,
    /// The path may lead out of the upstream's.
    Path,
    /// `Connection` is too long to be read.
    Connection,
    /// There are too many fields.
    Fields,
    /// CONNECT is not supported.
    Connect,
    /// PURGE asks a cache to remove a response: operators do that elsewhere.
    Purge,
    /// `OPTIONS *` concerns the proxy itself.
    Asterisk,
    /// `Max-Forwards` of OPTIONS or TRACE is zero (RFC 9110 §7.6.2).
    LastHop,
    /// The request has passed this proxy before.
    Loop,
}

impl RejectedRequest {
    /// The response to the client.
    pub(in crate::proxy) fn response<Res: From<Bytes>>(self) -> Response<Res> {
        self.log();
        let (status, text) = self.said();
        let mut response = Response::new(Res::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        if matches!(self, Self::Framing | Self::TransferCoding) {
            // Where this request ends is not certain.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if self == Self::Purge {
            // RFC 9110 §15.5.6: what a resource may allow.
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(methods));
        }
        if !text.is_empty() {
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
        }
        response
    }

    /// The status of the response, and its text.
    fn said(self) -> (StatusCode, &'static str) {
        match self {
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "the request's host is missing, doubled, or no host\n",
            ),
            Self::Target => (
                StatusCode::BAD_REQUEST,
                "the request's target is no path of a server\n",
            ),
            Self::Path => (
                StatusCode::BAD_REQUEST,
                "the request's path leads elsewhere\n",
            ),
            Self::Framing => (
                StatusCode::BAD_REQUEST,
                "the request's length is given twice, or is no number\n",
            ),
            Self::TransferCoding => (
                StatusCode::NOT_IMPLEMENTED,
                "the request's transfer coding is not chunked\n",
            ),
            Self::Connection => (
                StatusCode::BAD_REQUEST,
                "the request names too many fields of its connection\n",
            ),
            Self::Fields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request has too many header fields\n",
            ),
            Self::Connect => (
                StatusCode::NOT_IMPLEMENTED,
                "this server makes no tunnels\n",
            ),
            Self::Purge => (
                StatusCode::METHOD_NOT_ALLOWED,
                "responses are not purged here\n",
            ),
            Self::Asterisk | Self::LastHop => (StatusCode::NO_CONTENT, ""),
            Self::Loop => (
                StatusCode::LOOP_DETECTED,
                "the request has passed this server before\n",
            ),
        }
    }

    fn log(self) {
        match self {
            // Any client can send one.
            Self::Loop => {
                if let Some(suppressed) = LOOP_LOG.admit(SystemClock.now().monotonic()) {
                    let message = "request not forwarded: it has passed this proxy before";
                    tracing::warn!(suppressed, message);
                }
            }
            _ => tracing::debug!(reason = ?self, "request not forwarded"),
        }
    }
}

/// Checks a request of at most `max_fields`, all but the spelling of its host. Decrements
/// `Max-Forwards` of OPTIONS and TRACE.
pub(super) fn validate(
    request: &mut request::Parts,
    max_fields: usize,
) -> Result<(), RejectedRequest> {
    if request.method == Method::CONNECT {
        return Err(RejectedRequest::Connect);
    }
    if request.method.as_str() == "PURGE" {
        return Err(RejectedRequest::Purge);
    }
    let headers = &request.headers;
    if headers.len() > max_fields && has_too_many_fields(headers, max_fields) {
        return Err(RejectedRequest::Fields);
    }
    if fields::has_any(headers, &[CONTENT_LENGTH, TRANSFER_ENCODING]) {
        check_framing(&mut request.headers)?;
    }
    let headers = &request.headers;
    // Each name costs a search among the fields.
    if is_longer_than(MAX_REQUEST_FIELD, headers, &CONNECTION) {
        return Err(RejectedRequest::Connection);
    }
    // RFC 9112 §3.2: HTTP/1.0 alone does without.
    let has_host = headers.get(HOST).is_some_and(|host| !host.is_empty());
    let has_host = has_host || request.uri.authority().is_some();
    if !has_host && request.version > Version::HTTP_10 {
        return Err(RejectedRequest::Host);
    }
    let path = request.uri.path();
    if path == "*" && request.method == Method::OPTIONS {
        return Err(RejectedRequest::Asterisk);
    }
    let is_http = request.uri.scheme_str().is_none_or(is_http_scheme);
    if !path.starts_with('/') || !is_http {
        return Err(RejectedRequest::Target);
    }
    if [Method::OPTIONS, Method::TRACE].contains(&request.method) {
        decrement_max_forwards(&mut request.headers)?;
    }
    Ok(())
}

/// Checks how the end of the content is told.
fn check_framing(headers: &mut HeaderMap) -> Result<(), RejectedRequest> {
    let has_coding = headers.contains_key(TRANSFER_ENCODING);
    // RFC 9112 §6.3: a sign of request smuggling, which works where two recipients differ in the
    // field they read.
    if has_coding && headers.contains_key(CONTENT_LENGTH) {
        return Err(RejectedRequest::Framing);
    }
    // RFC 9112 §6.1: the content would be forwarded without its other codings.
    if has_coding && !is_chunked_alone(headers) {
        return Err(RejectedRequest::TransferCoding);
    }
    match unify_length(headers) {
        true => Ok(()),
        false => Err(RejectedRequest::Framing),
    }
}

/// Whether there are more fields than allowed, or more cookies than browsers send: these are fields
/// of their own in HTTP/2 (RFC 9113 §8.2.3), and count as one.
///
/// Servers bound fields for HTTP/1.1 alone. In HTTP/2 a field that takes 200 bytes here, and work
/// in each step, costs its client a single byte.
fn has_too_many_fields(headers: &HeaderMap, max: usize) -> bool {
    let cookies = headers.get_all(COOKIE).iter().count();
    cookies > MAX_COOKIES || headers.len() - cookies + usize::from(cookies > 0) > max
}

fn is_http_scheme(scheme: &str) -> bool {
    ["http", "https"].contains(&scheme)
}

/// Decrements `Max-Forwards`; rejects the request if it is zero (RFC 9110 §7.6.2).
fn decrement_max_forwards(headers: &mut HeaderMap) -> Result<(), RejectedRequest> {
    let Some(value) = headers.get(MAX_FORWARDS) else {
        return Ok(());
    };
    // An invalid value is forwarded as it is.
    let Some(value) = value
        .to_str()
        .ok()
        .and_then(|value| value.parse::<u64>().ok())
    else {
        return Ok(());
    };
    let value = value.checked_sub(1).ok_or(RejectedRequest::LastHop)?;
    headers.insert(MAX_FORWARDS, HeaderValue::from(value));
    Ok(())
}
