//! `Forwarded` (RFC 7239), `X-Forwarded-*` and their relatives: the removal of untrusted ones and
//! the addition of the proxy's own.
//!
//! Knows nothing of the other fields of a request.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::field_value::header_value;
use crate::semantics::fields::claims::is_claim;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a connection. A server inserts it into the extensions of each request, so that
/// [`Forwarding`] can pass it on.
///
/// ```
/// use tower_response_cache::proxy::Peer;
///
/// # let address = std::net::IpAddr::from([192, 0, 2, 1]);
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer::new(address).secure(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The client's IP address.
    pub address: IpAddr,
    /// `true` if the client's connection uses TLS.
    pub is_secure: bool,
}

impl Peer {
    /// Creates the client of a connection without TLS.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            is_secure: false,
        }
    }

    /// Sets whether the client's connection uses TLS. Default: `false`.
    #[must_use]
    pub fn secure(self, is_secure: bool) -> Self {
        Self { is_secure, ..self }
    }

    /// Returns the client's address, or its network of 64 bits in IPv6, of which a client has all 2^64
    /// addresses: that tells one client from another, as for
    /// [`client_by`](crate::CacheLayer::client_by).
    ///
    /// ```
    /// use tower_response_cache::proxy::Peer;
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .client_by(|request| request.extensions.get::<Peer>().map(Peer::network));
    /// ```
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match self.address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        }
    }

    fn scheme(self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// The fields that tell an upstream the client's address, the requested host and the scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarding {
    /// Adds no field.
    #[default]
    None,
    /// Adds `Forwarded` (RFC 7239).
    Forwarded,
    /// Adds `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    XForwarded,
    /// Adds all of them.
    Both,
}

/// Adds the selected fields, with the canonical `Host`. A list grows by one member; an existing
/// single value is kept.
pub(super) fn add_forwarded(headers: &mut HeaderMap, forwarding: Forwarding, peer: Option<Peer>) {
    let (standard, legacy) = match forwarding {
        Forwarding::None => return,
        Forwarding::Forwarded => (true, false),
        Forwarding::XForwarded => (false, true),
        Forwarding::Both => (true, true),
    };
    let host = headers.get(HOST).cloned();
    if standard {
        let host = host.as_ref().and_then(|host| host.to_str().ok());
        if let Some(element) = header_value(forwarded_element(host, peer)) {
            headers.append(FORWARDED, element);
        }
    }
    if !legacy {
        return;
    }
    if let Some(peer) = peer {
        if let Some(address) = header_value(peer.address) {
            headers.append(X_FORWARDED_FOR, address);
        }
        let scheme = HeaderValue::from_static(peer.scheme());
        headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    }
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// An element of `Forwarded` (RFC 7239 §4, §6).
fn forwarded_element(host: Option<&str>, peer: Option<Peer>) -> String {
    let mut element = match peer.map(|peer| peer.address) {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".to_owned(),
    };
    if let Some(host) = host {
        // A valid host contains no character that needs an escape.
        let _ = write!(element, ";host=\"{host}\"");
    }
    if let Some(peer) = peer {
        let _ = write!(element, ";proto={}", peer.scheme());
    }
    element
}

/// Removes every field by which a request claims to be for another host, scheme, path or client.
pub(super) fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_many_addresses_of_one_ipv6_network() {
        let network = |text: &str| Peer::new(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }

    /// RFC 7239 §4, §6.
    #[test]
    fn a_forwarded_element_has_for_host_and_proto() {
        let peer = |address: &str, is_secure| {
            let address = address.parse().expect("an address");
            Some(Peer::new(address).secure(is_secure))
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
            assert_eq!(forwarded_element(host, peer), expected);
        }
    }
}
