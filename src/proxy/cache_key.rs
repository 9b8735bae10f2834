//! Cache keys with all that `Forwarded`, `X-Forwarded-*` and their relatives tell the upstream.
//!
//! Knows the fields that tell it, and the hook of the cache that makes keys. Start with [`claims`].

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, request};

use crate::key::{KeyParts, MakeCacheKey};
use crate::semantics::fields::claims::{is_address, is_claim};

/// A key hook for [`CacheLayer::key`](crate::CacheLayer::key) that adds what `X-Forwarded-*`,
/// `Forwarded` and [similar fields](super::ReverseProxy::trust_forwarded) tell the upstream: the
/// scheme, the host and whatever else, but the addresses of clients.
///
/// An upstream that redirects from `http` to `https` has another response for each, and one that
/// makes URLs of `X-Forwarded-Host` has another one for each host. All of these fields together are
/// the [scheme](KeyParts::with_scheme) of the key. Without any, the key is the default one. A write
/// invalidates the responses of all schemes.
///
/// It belongs behind [`request_layer`](super::ReverseProxy::request_layer), which removes these
/// fields or sets them:
///
/// ```no_run
/// use tower::ServiceBuilder;
/// use tower_response_cache::proxy::{ErrorResponderLayer, ForwardedClaims, Forwarding, ReverseProxy};
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = ReverseProxy::new("http://127.0.0.1:8000")?.forwarding(Forwarding::XForwarded);
/// let cached = ServiceBuilder::new()
///     .layer(ErrorResponderLayer::new())
///     .layer(upstream.request_layer())
///     .layer(CacheLayer::new(MemoryBackend::default()).key(ForwardedClaims))
///     .service(upstream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedClaims;

impl MakeCacheKey for ForwardedClaims {
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        let claims = claims(&request.headers);
        Some(match claims.is_empty() {
            true => key,
            false => key.with_scheme(claims),
        })
    }
}

/// All that a request in canonical form claims before its upstream, a line for each field line: no
/// value has a line feed. Upstreams differ in the field, the line and the element that they read.
fn claims(headers: &HeaderMap) -> String {
    let all = headers.iter().filter(|(name, _)| is_claim(name));
    let mut lines: Vec<_> = all.filter(|(name, _)| !is_address(name)).collect();
    // Requests that differ in the order of fields mean the same. That of lines counts.
    lines.sort_by_key(|(name, _)| name.as_str());
    let (mut claims, mut forwarded, mut tells_more) = (String::new(), String::new(), false);
    for (name, value) in lines {
        match *name == FORWARDED {
            true => tells_more |= add_forwarded(&mut forwarded, value.as_bytes()),
            false => add_line(&mut claims, name, value.as_bytes()),
        }
    }
    if tells_more {
        claims.push_str(&forwarded);
    }
    claims
}

/// Adds a line of `Forwarded` (RFC 7239 §4) without the addresses of clients. Returns whether it
/// has anything else.
fn add_forwarded(claims: &mut String, line: &[u8]) -> bool {
    let (mut told, mut is_told) = (Vec::new(), false);
    for piece in pieces(line) {
        let (pair, separator) = match piece.split_last() {
            Some((b';' | b',', pair)) => (pair, &piece[pair.len()..]),
            _ => (piece, &[][..]),
        };
        let pair = pair.trim_ascii();
        if !is_node(pair) {
            told.extend_from_slice(pair);
            is_told |= !pair.is_empty();
        }
        // An upstream may read the last element, with or without a pair.
        told.extend_from_slice(separator);
    }
    add_line(claims, &FORWARDED, &told);
    is_told
}

/// Each byte is a character of its own: values that differ stay different, in any encoding.
fn add_line(claims: &mut String, name: &HeaderName, value: &[u8]) {
    claims.push_str(name.as_str());
    claims.push(':');
    match std::str::from_utf8(value) {
        Ok(value) if value.is_ascii() => claims.push_str(value),
        _ => claims.extend(value.iter().copied().map(char::from)),
    }
    claims.push('\n');
}

/// The pairs of a line, each with the separator behind it. One within quotes does not separate.
fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split_inclusive(move |byte| {
        let is_end = matches!(byte, b';' | b',') && !is_quoted;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_end
    })
}

/// Whether a pair of `Forwarded` names a client and nothing else (RFC 7239 §6): no upstream can
/// find another pair in it.
fn is_node(pair: &[u8]) -> bool {
    let node = pair.split_at_checked(4);
    let node = node.filter(|(name, _)| name.eq_ignore_ascii_case(b"for="));
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"\"[]:._-".contains(byte);
    node.is_some_and(|(_, node)| node.iter().all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims_of(lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a field value"));
        }
        claims(&headers)
    }

    #[test]
    fn the_claims_are_those_that_the_upstream_is_told() {
        for (lines, expected) in [
            (&[][..], ""),
            (&[("x-a", "1"), ("host", "a")][..], ""),
            (
                &[("x-forwarded-proto", "https")],
                "x-forwarded-proto:https\n",
            ),
            (
                &[("x-forwarded-proto", "b"), ("x-forwarded-host", "a")],
                "x-forwarded-host:a\nx-forwarded-proto:b\n",
            ),
            (
                &[("x-forwarded-port", "1"), ("x-forwarded-port", "2")],
                "x-forwarded-port:1\nx-forwarded-port:2\n",
            ),
            (&[("x_forwarded_prefix", "/a")], "x_forwarded_prefix:/a\n"),
            (&[("x-host", "\u{e4}")], "x-host:\u{c3}\u{a4}\n"),
            // Each client has an address of its own.
            (&[("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "1")], ""),
            (
                &[("forwarded", "for=192.0.2.1, for=\"[2001:db8::1]:80\"")],
                "",
            ),
            (
                &[("forwarded", "for=a;proto=http, For=b; Proto=\"HTTPS\"")],
                "forwarded:;proto=http,;Proto=\"HTTPS\"\n",
            ),
            (
                &[("forwarded", "host=a;for=_b"), ("forwarded", "for=c")],
                "forwarded:host=a;\nforwarded:\n",
            ),
        ] {
            assert_eq!(claims_of(lines), expected, "{lines:?}");
        }
    }

    /// Upstreams differ in the quotes and separators that they obey.
    #[test]
    fn no_claim_hides_behind_an_address() {
        for (one, other) in [
            ("for=\"a;host=b\"", "for=\"a;host=c\""),
            ("host=\"a;for=b\"", "host=\"a;for=c\""),
            ("for=a host=b", "for=a host=c"),
            ("for=\"a, host=b", "for=\"a, host=c"),
            ("host=a;proto=b", "host=a,proto=b"),
            ("host=a, for=x", "for=x, host=a"),
        ] {
            let [one, other] = [one, other].map(|value| claims_of(&[("forwarded", value)]));
            assert_ne!(one, other);
        }
    }
}
