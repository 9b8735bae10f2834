//! Requests in canonical form: valid, in one spelling, and without fields not meant for upstreams.
//!
//! [`RequestRules`] make a request canonical; [`layer`] does so in front of a cache, so that keys,
//! variants and the forwarded request are made from one form. The rules know nothing of upstreams.
//! Start reading with [`RequestRules::apply`].

pub(super) mod forwarded_fields;
pub(super) mod layer;
pub(super) mod validate_request;

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Version};
use http_body::Body;

use crate::key::canonical::canonicalize;

use self::forwarded_fields::{Forwarding, Peer, add_forwarded, remove_claims};
use self::validate_request::{RejectedRequest, validate};
use super::field_value::DEFAULT_NAME;
use super::headers::add_via;
use super::websocket;

/// Marks a request that is in canonical form, so that it is not changed again.
#[derive(Clone, Copy, Debug)]
struct Canonical;

/// The options of a proxy that shape the requests it forwards.
#[derive(Clone, Debug)]
pub(super) struct RequestRules {
    /// A token.
    pub(super) via_name: String,
    pub(super) forwarding: Forwarding,
    pub(super) trust_forwarded: bool,
}

impl Default for RequestRules {
    fn default() -> Self {
        Self {
            via_name: DEFAULT_NAME.to_owned(),
            forwarding: Forwarding::default(),
            trust_forwarded: false,
        }
    }
}

impl RequestRules {
    /// Puts a request into canonical form, unless it is in it already. An error says why the
    /// request is not forwarded.
    pub(super) fn apply<B: Body>(
        &self,
        request: Request<B>,
    ) -> Result<Request<B>, RejectedRequest> {
        if request.extensions().get::<Canonical>().is_some() {
            return Ok(request);
        }
        let has_content = !request.body().is_end_stream();
        let keeps_upgrade = websocket::is_requested(&request);
        let (mut head, body) = request.into_parts();
        validate(&mut head)?;
        canonicalize(&mut head, keeps_upgrade).map_err(|_| RejectedRequest::Host)?;
        let peer = head.extensions.get::<Peer>().copied();
        let headers = &mut head.headers;
        // A cache recognizes content by these fields, which HTTP/2 does not require.
        match has_content && !headers.contains_key(CONTENT_LENGTH) {
            true => headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
            false => headers.remove(TRANSFER_ENCODING),
        };
        if head.version <= Version::HTTP_10 {
            // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request must be ignored.
            headers.remove(EXPECT);
        }
        if !self.trust_forwarded {
            remove_claims(headers);
        }
        add_forwarded(headers, self.forwarding, peer);
        add_via(headers, head.version, &self.via_name);
        head.extensions.insert(Canonical);
        Ok(Request::from_parts(head, body))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    fn request(method: &str, uri: &str, lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).expect("a request")
    }

    fn check(method: &str, uri: &str, lines: &[(&str, &str)]) -> Result<String, RejectedRequest> {
        let request = RequestRules::default().apply(request(method, uri, lines))?;
        let host = request.headers().get("host");
        let host = host.map_or("", |host| host.to_str().expect("a host"));
        Ok(format!("{host}{}", request.uri()))
    }

    /// RFC 9112 §3.2, §6.3; RFC 9110 §7.6.2.
    #[test]
    fn only_requests_with_a_valid_target_host_and_length_are_forwarded() {
        use RejectedRequest::{Asterisk, Connect, Connection, Framing, Host, LastHop, Target};
        let long = "close,".repeat(2000);
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
                Ok("a:81/%2e%2e//./x?"),
            ),
            ("GET", "http://b/p", &[("host", "a")], Ok("b/p")),
            ("GET", "http://b", &[("host", "a")], Ok("b/")),
            ("GET", "https://b:444/p", &[], Ok("b:444/p")),
            ("GET", "ftp://b/p", &[("host", "b")], Err(Target)),
            ("GET", "http://u@b/p", &[("host", "b")], Err(Host)),
            ("GET", "http://b:080?q", &[("host", "c")], Ok("b/?q")),
            ("GET", "b:80", &[("host", "b")], Err(Target)),
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
            (
                "GET",
                "/p",
                &[("host", "a"), ("connection", &long)],
                Err(Connection),
            ),
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

    /// RFC 9112 §3.2: a request of HTTP/1.0 needs no host.
    #[test]
    fn a_request_without_host_is_canonical_in_http_1_0_alone() {
        for (version, lines, expected) in [
            (Version::HTTP_10, &[][..], Ok("/p")),
            (Version::HTTP_10, &[("host", "")], Ok("/p")),
            (Version::HTTP_11, &[], Err(RejectedRequest::Host)),
            (Version::HTTP_2, &[], Err(RejectedRequest::Host)),
        ] {
            let mut request = request("GET", "/p", lines);
            *request.version_mut() = version;
            let got = RequestRules::default().apply(request);
            let got = got.map(|request| {
                assert!(!request.headers().contains_key("host"));
                request.uri().to_string()
            });
            assert_eq!(got.as_deref(), expected.as_deref(), "{version:?} {lines:?}");
        }
    }

    /// RFC 9112 §6, RFC 9113 §8.1: content without a length, which HTTP/2 has no field for.
    #[test]
    fn content_is_told_by_a_field_in_every_version() {
        for (content, length, expected) in [
            ("x", None, Some("chunked")),
            ("x", Some("1"), None),
            ("", None, None),
            ("", Some("0"), None),
        ] {
            let mut request = Request::get("http://a/").version(Version::HTTP_2);
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let request = request.body(Full::new(Bytes::from(content)));
            let got = RequestRules::default().apply(request.expect("a request"));
            let got = got.expect("a canonical request");
            let told = got.headers().get("transfer-encoding");
            assert_eq!(told.map(HeaderValue::as_bytes), expected.map(str::as_bytes));
        }
    }

    /// A second proxy of this crate in one stack finds nothing left to do.
    #[test]
    fn a_canonical_request_is_not_changed_again() {
        let rules = RequestRules {
            forwarding: Forwarding::Both,
            ..RequestRules::default()
        };
        let lines = [
            ("host", "A.:80"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
        ];
        let once = rules.apply(request("GET", "http://B/p", &lines));
        let once = once.expect("a canonical request");
        let (uri, headers) = (once.uri().clone(), once.headers().clone());
        let twice = rules.apply(once).expect("a canonical request");
        assert_eq!((twice.uri(), twice.headers()), (&uri, &headers));
        assert_eq!(headers["via"], "1.1 tower-response-cache");
    }
}
