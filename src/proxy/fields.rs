//! What of a message's head is passed on (RFC 9110 §7.6).

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, EXPECT, FORWARDED, TE, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, response};

use crate::semantics::{fields, hop_by_hop};

use super::target::Target;
use super::{is_token, text};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields by which a request could say that it was for another host, scheme or path than it is cached for. None is in any
/// key.
const CLAIMS: [&str; 6] = [
    "forwarded",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Whom a request came from: a server puts it into the request's extensions, for [`Forwarding`] to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether by TLS.
    pub is_secure: bool,
}

/// In which fields an upstream is told who asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarding {
    /// In none.
    #[default]
    None,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    XForwarded,
    /// All of them.
    Both,
}

#[derive(Clone, Debug)]
pub(super) struct Fields {
    name: String,
    pub(super) forwarding: Forwarding,
    pub(super) trusts: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            name: super::NAME.to_owned(),
            forwarding: Forwarding::default(),
            trusts: false,
        }
    }
}

impl Fields {
    pub(super) fn name(&mut self, name: &str) {
        assert!(is_token(name), "{name:?} is no token");
        name.clone_into(&mut self.name);
    }

    pub(super) fn of_request<B>(&self, request: &mut Request<B>, target: &Target, upgrades: bool) {
        let (version, peer) = (request.version(), request.extensions().get().copied());
        let headers = request.headers_mut();
        let takes_trailers = fields::list(headers, &TE).any(is_trailers);
        let protocol = headers.get(UPGRADE).cloned();
        hop_by_hop::remove(headers);
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(protocol) = protocol.filter(|_| upgrades) {
            keep_upgrade(headers, protocol);
        }
        if version <= Version::HTTP_10 {
            // RFC 9110 §10.1.1: such a client does not mean it.
            headers.remove(EXPECT);
        }
        if !self.trusts {
            remove_claims(headers);
        }
        join_cookies(headers);
        self.forward(headers, target, peer);
        self.add_via(headers, version);
    }

    pub(super) fn of_answer(&self, answer: &mut response::Parts, upgrades: bool) {
        let (version, headers) = (answer.version, &mut answer.headers);
        let protocol = headers.get(UPGRADE).cloned();
        hop_by_hop::remove(headers);
        if let Some(protocol) = protocol.filter(|_| upgrades) {
            keep_upgrade(headers, protocol);
        }
        self.add_via(headers, version);
    }

    /// §7.6.3
    fn add_via(&self, headers: &mut HeaderMap, version: Version) {
        let protocol = match version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2.0",
            Version::HTTP_3 => "3.0",
            _ => "1.1",
        };
        if let Some(via) = text(format_args!("{protocol} {}", self.name)) {
            headers.append(VIA, via);
        }
    }

    fn forward(&self, headers: &mut HeaderMap, target: &Target, peer: Option<Peer>) {
        let (standard, other) = match self.forwarding {
            Forwarding::None => (false, false),
            Forwarding::Forwarded => (true, false),
            Forwarding::XForwarded => (false, true),
            Forwarding::Both => (true, true),
        };
        let host = target.host.as_ref().map(|host| host.as_str());
        if standard && let Some(element) = text(forwarded(host, peer)) {
            headers.append(FORWARDED, element);
        }
        if !other {
            return;
        }
        if let Some(peer) = peer {
            if let Some(address) = text(peer.address) {
                headers.append(X_FORWARDED_FOR, address);
            }
            let scheme = HeaderValue::from_static(scheme_of(peer));
            headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
        }
        if let Some(host) = host.and_then(text) {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
    }
}

/// An element of `Forwarded` (RFC 7239 §4, §6).
fn forwarded(host: Option<&str>, peer: Option<Peer>) -> String {
    let mut element = match peer.map(|peer| peer.address) {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".to_owned(),
    };
    if let Some(host) = host {
        // Nothing that may be in a host needs an escape.
        let _ = write!(element, ";host=\"{host}\"");
    }
    if let Some(peer) = peer {
        let _ = write!(element, ";proto={}", scheme_of(peer));
    }
    element
}

fn scheme_of(peer: Peer) -> &'static str {
    if peer.is_secure { "https" } else { "http" }
}

fn is_trailers(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn keep_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// HTTP/2 may send a cookie a line; in HTTP/1.1 there is one for all (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE).iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Also by the names that look the same to who turns them into variables, as CGI and WSGI do.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    let plain = match name.contains('_') {
        true => name.replace('_', "-").into(),
        false => std::borrow::Cow::Borrowed(name),
    };
    plain.starts_with("x-forwarded-") || CLAIMS.contains(&&*plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7239_section_4_elements() {
        let peer = |address: &str, is_secure| {
            let address = address.parse().expect("an address");
            Some(Peer { address, is_secure })
        };
        for (host, peer, expected) in [
            (None, None, "for=unknown"),
            (Some("a:80"), None, "for=unknown;host=\"a:80\""),
            (
                Some("a"),
                peer("192.0.2.1", false),
                "for=192.0.2.1;host=\"a\";proto=http",
            ),
            (
                None,
                peer("2001:db8::1", true),
                "for=\"[2001:db8::1]\";proto=https",
            ),
        ] {
            assert_eq!(forwarded(host, peer), expected);
        }
    }

    /// P01
    #[test]
    fn what_claims_another_origin() {
        for (name, is_one) in [
            ("forwarded", true),
            ("x-forwarded-for", true),
            ("x-forwarded-anything", true),
            ("x_forwarded_host", true),
            ("x-real-ip", true),
            ("x_real-ip", true),
            ("x-original-url", true),
            ("x-forwarded", false),
            ("x-request-id", false),
            ("host", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(is_claim(&name), is_one, "{name}");
        }
    }
}
