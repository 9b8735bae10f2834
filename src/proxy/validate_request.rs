//! The target, host and framing of a request (RFC 9112 §3.2, §6.3; RFC 9110 §7.2).
//!
//! Decides which requests are forwarded. Knows nothing of upstreams.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, MAX_FORWARDS, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::key;

use super::body::response::ProxyBody;

/// The valid target of a request.
#[derive(Debug)]
pub(super) struct RequestTarget {
    /// `None` for an HTTP/1.0 request without `Host`.
    pub(super) host: Option<Authority>,
    pub(super) path: PathAndQuery,
}

/// The reason why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RejectedRequest {
    /// The host is missing, repeated or invalid.
    Host,
    /// The target is not an absolute path, or its scheme is not HTTP's.
    Target,
    /// Both `Transfer-Encoding` and `Content-Length` are present.
    Framing,
    /// CONNECT is not supported.
    Connect,
    /// `OPTIONS *` concerns the proxy itself.
    Asterisk,
    /// `Max-Forwards` of OPTIONS or TRACE is zero (RFC 9110 §7.6.2).
    LastHop,
}

impl RejectedRequest {
    /// The response to the client.
    pub(super) fn response(self) -> Response<ProxyBody> {
        let (status, text) = match self {
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "the request's host is missing, doubled, or no host\n",
            ),
            Self::Target => (
                StatusCode::BAD_REQUEST,
                "the request's target is no path of a server\n",
            ),
            Self::Framing => (
                StatusCode::BAD_REQUEST,
                "the request's length is given twice\n",
            ),
            Self::Connect => (
                StatusCode::NOT_IMPLEMENTED,
                "this server makes no tunnels\n",
            ),
            Self::Asterisk | Self::LastHop => (StatusCode::NO_CONTENT, ""),
        };
        tracing::debug!(reason = ?self, "request not forwarded");
        let mut response = Response::new(ProxyBody::text(text));
        *response.status_mut() = status;
        if !text.is_empty() {
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
        }
        response
    }
}

/// Checks a request and returns its target. Decrements `Max-Forwards` of OPTIONS and TRACE.
pub(super) fn validate<B>(request: &mut Request<B>) -> Result<RequestTarget, RejectedRequest> {
    if request.method() == Method::CONNECT {
        return Err(RejectedRequest::Connect);
    }
    let headers = request.headers();
    // RFC 9112 §6.3: a sign of request smuggling, which works where two recipients differ in the
    // field they read.
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(RejectedRequest::Framing);
    }
    let host = valid_host(request)?;
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if path == "*" && request.method() == Method::OPTIONS {
        return Err(RejectedRequest::Asterisk);
    }
    let is_http = request.uri().scheme_str().is_none_or(is_http_scheme);
    if !path.as_str().starts_with('/') || !is_http {
        return Err(RejectedRequest::Target);
    }
    if [Method::OPTIONS, Method::TRACE].contains(request.method()) {
        decrement_max_forwards(request.headers_mut())?;
    }
    Ok(RequestTarget { host, path })
}

fn is_http_scheme(scheme: &str) -> bool {
    ["http", "https"].contains(&scheme)
}

/// The host of a request. The authority of the target takes precedence over `Host`
/// (RFC 9112 §3.2.2), which must be valid nevertheless.
fn valid_host<B>(request: &Request<B>) -> Result<Option<Authority>, RejectedRequest> {
    let mut lines = request.headers().get_all(HOST).iter();
    let (line, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(RejectedRequest::Host);
    }
    let host = match line {
        Some(line) => Some(parse_authority(line.as_bytes()).ok_or(RejectedRequest::Host)?),
        None => None,
    };
    match (request.uri().authority(), host) {
        (Some(target), _) => parse_authority(target.as_str().as_bytes())
            .map(Some)
            .ok_or(RejectedRequest::Host),
        (None, Some(host)) => Ok(Some(host)),
        (None, None) if request.version() <= Version::HTTP_10 => Ok(None),
        (None, None) => Err(RejectedRequest::Host),
    }
}

/// Parses an authority by the rules of the cache key, so that both accept the same hosts.
fn parse_authority(text: &[u8]) -> Option<Authority> {
    key::normalize_authority(std::str::from_utf8(text).ok()?, None)?;
    Authority::try_from(text).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, lines: &[(&str, &str)]) -> Result<String, RejectedRequest> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let target = validate(&mut request.body(()).expect("a request"))?;
        let host = target.host.map_or(String::new(), |host| host.to_string());
        Ok(format!("{host}{}", target.path))
    }

    /// RFC 9112 §3.2, §6.3; RFC 9110 §7.6.2.
    #[test]
    fn only_requests_with_a_valid_target_host_and_length_are_forwarded() {
        use RejectedRequest::{Asterisk, Connect, Framing, Host, LastHop, Target};
        let both = &[
            ("host", "a"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
        ];
        for (method, uri, lines, expected) in [
            ("GET", "/p?q", &[("host", "a")][..], Ok("a/p?q")),
            (
                "GET",
                "/%2e%2e//./x?",
                &[("host", "A:81")],
                Ok("A:81/%2e%2e//./x?"),
            ),
            ("GET", "http://b/p", &[("host", "a")], Ok("b/p")),
            ("GET", "http://b", &[("host", "a")], Ok("b/")),
            ("GET", "https://b:444/p", &[], Ok("b:444/p")),
            ("GET", "ftp://b/p", &[("host", "b")], Err(Target)),
            ("GET", "http://u@b/p", &[("host", "b")], Err(Host)),
            ("GET", "/p", &[("host", "u@b")], Err(Host)),
            ("GET", "/p", &[("host", "a b")], Err(Host)),
            ("GET", "/p", &[("host", "")], Err(Host)),
            ("GET", "/p", &[("host", "a"), ("host", "a")], Err(Host)),
            (
                "GET",
                "http://b/p",
                &[("host", "a"), ("host", "a")],
                Err(Host),
            ),
            ("GET", "/p", &[], Err(Host)),
            ("GET", "*", &[("host", "a")], Err(Target)),
            ("OPTIONS", "*", &[("host", "a")], Err(Asterisk)),
            (
                "OPTIONS",
                "/p",
                &[("host", "a"), ("max-forwards", "0")],
                Err(LastHop),
            ),
            (
                "OPTIONS",
                "/p",
                &[("host", "a"), ("max-forwards", "1")],
                Ok("a/p"),
            ),
            (
                "GET",
                "/p",
                &[("host", "a"), ("max-forwards", "0")],
                Ok("a/p"),
            ),
            ("CONNECT", "b:443", &[("host", "b:443")], Err(Connect)),
            ("POST", "/p", both, Err(Framing)),
        ] {
            let got = check(method, uri, lines);
            assert_eq!(
                got.as_deref(),
                expected.as_deref(),
                "{method} {uri} {lines:?}"
            );
        }
    }
}
