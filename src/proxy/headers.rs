//! Header fields on their way through the proxy (RFC 9110 §7.6).
//!
//! Knows nothing of `Host`, which depends on the upstream, nor of bodies.

use http::header::{CONNECTION, COOKIE, EXPECT, TE, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, Request, Version, response};

use crate::semantics::fields::{self, hop_by_hop};

use super::field_value::{DEFAULT_NAME, header_value};
use super::forwarded_fields::{Forwarding, Peer, add_forwarded, remove_claims};
use super::validate_request::RequestTarget;

/// Rewrites the header fields of requests and responses by the options of a proxy.
#[derive(Clone, Debug)]
pub(super) struct HeaderRewriter {
    /// A token.
    pub(super) via_name: String,
    pub(super) forwarding: Forwarding,
    pub(super) trust_forwarded: bool,
}

impl Default for HeaderRewriter {
    fn default() -> Self {
        Self {
            via_name: DEFAULT_NAME.to_owned(),
            forwarding: Forwarding::default(),
            trust_forwarded: false,
        }
    }
}

impl HeaderRewriter {
    /// Prepares a request's fields for the upstream. `Upgrade` is kept if `upgrades` says so.
    pub(super) fn rewrite_request<B>(
        &self,
        request: &mut Request<B>,
        target: &RequestTarget,
        upgrades: bool,
    ) {
        let version = request.version();
        let peer = request.extensions().get::<Peer>().copied();
        let headers = request.headers_mut();
        let accepts_trailers = fields::list(headers, &TE).any(is_trailers);
        let protocol = headers.get(UPGRADE).cloned();
        hop_by_hop::remove(headers);
        if accepts_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(protocol) = protocol.filter(|_| upgrades) {
            restore_upgrade(headers, protocol);
        }
        if version <= Version::HTTP_10 {
            // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request must be ignored.
            headers.remove(EXPECT);
        }
        if !self.trust_forwarded {
            remove_claims(headers);
        }
        join_cookies(headers);
        add_forwarded(headers, self.forwarding, target.host.as_ref(), peer);
        self.add_via(headers, version);
    }

    /// Prepares a response's fields for the client. `Upgrade` is kept if `upgrades` says so.
    pub(super) fn rewrite_response(&self, response: &mut response::Parts, upgrades: bool) {
        let (version, headers) = (response.version, &mut response.headers);
        let protocol = headers.get(UPGRADE).cloned();
        hop_by_hop::remove(headers);
        if let Some(protocol) = protocol.filter(|_| upgrades) {
            restore_upgrade(headers, protocol);
        }
        self.add_via(headers, version);
    }

    /// Appends to `Via` the version by which the message was received (RFC 9110 §7.6.3).
    fn add_via(&self, headers: &mut HeaderMap, version: Version) {
        let protocol = match version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2.0",
            Version::HTTP_3 => "3.0",
            _ => "1.1",
        };
        if let Some(via) = header_value(format_args!("{protocol} {}", self.via_name)) {
            headers.append(VIA, via);
        }
    }
}

/// Whether a member of `TE` is `trailers`, with or without parameters.
fn is_trailers(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn restore_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Joins several `Cookie` lines, which HTTP/2 allows, into the one that HTTP/1.1 requires
/// (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE).iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}
