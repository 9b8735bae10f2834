//! Fields of one connection, which are never stored or forwarded (RFC 9110 §7.6.1, RFC 9111 §3.1).

use http::header::{self, HeaderMap, HeaderName};

use super::syntax;

/// The fields that `Connection` cannot remove: without them a response could be reused wrongly (RFC
/// 9110 §7.6.1).
const NEVER: [HeaderName; 2] = [header::CACHE_CONTROL, header::VARY];

/// The fields of one message that concern its connection: those that always do, and those that
/// `Connection` names.
pub struct ConnectionFields {
    named: Vec<HeaderName>,
}

impl ConnectionFields {
    /// Returns those of a message; `None` if it has none.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        // Almost no response has any of them.
        if !headers.keys().any(is_of_connection) {
            return None;
        }
        let named = syntax::list(headers, &header::CONNECTION)
            // Most servers say this alone, which is one of them anyway.
            .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .filter(|name| !NEVER.contains(name));
        Some(Self {
            named: named.collect(),
        })
    }

    /// Returns whether a field is one of them.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        is_of_connection(name) || self.named.contains(name)
    }
}

/// Removes the fields of the connection, and those that `Connection` names.
pub fn remove(headers: &mut HeaderMap) {
    let Some(fields) = ConnectionFields::from_headers(headers) else {
        return;
    };
    let names = headers.keys().filter(|name| fields.contains(name));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Returns whether a field always concerns one connection only.
#[must_use]
pub fn is_of_connection(name: &HeaderName) -> bool {
    // Their lengths tell most names apart.
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9111 §3.1, RFC 9110 §7.6.1.
    #[test]
    fn section_3_1_fields_of_the_connection_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Hop, close"),
            ("connection", "x-other, Cache-Control, vary"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authentication-info", "x"),
            ("proxy-connection", "close"),
            ("content-type", "text/plain"),
            ("x-end-to-end", "1"),
            ("cache-control", "private"),
            ("vary", "accept"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                value.parse().expect("a field value"),
            );
        }
        remove(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let kept = [
            "cache-control",
            "content-type",
            "trailer",
            "vary",
            "x-end-to-end",
        ];
        assert_eq!(left, kept);
    }
}
