//! What a request is for, and whether that is sound (RFC 9112 §3.2, RFC 9110 §7.2).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, MAX_FORWARDS, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::key;

use super::body::ProxyBody;

/// Which `Host` an upstream is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostPolicy {
    /// The one that the client asked for, as it is part of the cache key.
    #[default]
    Preserve,
    /// The upstream's own. Then all hosts are one site: see [`Authority::fixed`](crate::key::Authority::fixed).
    Upstream,
}

/// A sound target.
#[derive(Debug)]
pub(super) struct Target {
    /// `None` for HTTP/1.0 without.
    pub(super) host: Option<Authority>,
    pub(super) path: PathAndQuery,
}

/// Why a request is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotForwarded {
    Host,
    Target,
    Framing,
    Connect,
    Asterisk,
    /// RFC 9110 §7.6.2
    LastHop,
}

impl NotForwarded {
    pub(super) fn answer(self) -> Response<ProxyBody> {
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
        tracing::debug!(reason = ?self, "not forwarded");
        let mut answer = Response::new(ProxyBody::text(text));
        *answer.status_mut() = status;
        if !text.is_empty() {
            let plain = HeaderValue::from_static("text/plain");
            answer.headers_mut().insert(CONTENT_TYPE, plain);
        }
        answer
    }
}

/// Checks a request; takes one off its `Max-Forwards`.
pub(super) fn checked<B>(request: &mut Request<B>) -> Result<Target, NotForwarded> {
    if request.method() == Method::CONNECT {
        return Err(NotForwarded::Connect);
    }
    let headers = request.headers();
    // RFC 9112 §6.3: whoever sends both may be about to smuggle a request past one who reads the other.
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(NotForwarded::Framing);
    }
    let host = host_of(request)?;
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if path == "*" && request.method() == Method::OPTIONS {
        return Err(NotForwarded::Asterisk);
    }
    if !path.as_str().starts_with('/') || request.uri().scheme_str().is_some_and(is_another) {
        return Err(NotForwarded::Target);
    }
    if [Method::OPTIONS, Method::TRACE].contains(request.method()) {
        count_hop(request.headers_mut())?;
    }
    Ok(Target { host, path })
}

fn is_another(scheme: &str) -> bool {
    !["http", "https"].contains(&scheme)
}

/// The target's own authority counts more than `Host` (RFC 9112 §3.2.2), which must be a sound one all the same.
fn host_of<B>(request: &Request<B>) -> Result<Option<Authority>, NotForwarded> {
    let mut lines = request.headers().get_all(HOST).iter();
    let (line, another) = (lines.next(), lines.next());
    if another.is_some() {
        return Err(NotForwarded::Host);
    }
    let named = match line {
        Some(line) => Some(sound(line.as_bytes()).ok_or(NotForwarded::Host)?),
        None => None,
    };
    match (request.uri().authority(), named) {
        (Some(target), _) => sound(target.as_str().as_bytes())
            .map(Some)
            .ok_or(NotForwarded::Host),
        (None, Some(named)) => Ok(Some(named)),
        (None, None) if request.version() <= Version::HTTP_10 => Ok(None),
        (None, None) => Err(NotForwarded::Host),
    }
}

/// An authority that could be part of a cache key, too.
fn sound(text: &[u8]) -> Option<Authority> {
    key::normalize(std::str::from_utf8(text).ok()?, None)?;
    Authority::try_from(text).ok()
}

/// RFC 9110 §7.6.2
fn count_hop(headers: &mut HeaderMap) -> Result<(), NotForwarded> {
    let Some(left) = headers.get(MAX_FORWARDS) else {
        return Ok(());
    };
    // What is no number is nobody's to count.
    let Some(left) = left.to_str().ok().and_then(|left| left.parse::<u64>().ok()) else {
        return Ok(());
    };
    let left = left.checked_sub(1).ok_or(NotForwarded::LastHop)?;
    headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, lines: &[(&str, &str)]) -> Result<String, NotForwarded> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let target = checked(&mut request.body(()).expect("a request"))?;
        let host = target.host.map_or(String::new(), |host| host.to_string());
        Ok(format!("{host}{}", target.path))
    }

    /// P13, P18
    #[test]
    fn rfc_9112_section_3_2_targets() {
        use NotForwarded::{Asterisk, Connect, Framing, Host, LastHop, Target};
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
