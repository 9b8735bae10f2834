//! Requests in canonical form: valid, in one spelling, and without fields not meant for upstreams.
//!
//! [`RequestRules`] make a request canonical; [`layer`] does so in front of a cache, so that keys,
//! variants and the forwarded request are made from one form. The rules know nothing of upstreams.
//! Start reading with [`RequestRules::apply`].

pub(super) mod forwarded_fields;
pub(super) mod layer;
pub(super) mod validate_request;

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body::Body;

use crate::key::canonical::canonicalize;
use crate::random::unpredictable_u128;
use crate::semantics::fields;

use self::forwarded_fields::{Forwarding, Peer, add_forwarded, remove_claims};
use self::validate_request::{RejectedRequest, validate};
use super::field_value::DEFAULT_NAME;
use super::headers::Via;
use super::upstream::options::DEFAULT_MAX_FIELDS;
use super::websocket;

/// Marks a request that is in canonical form, so that it is not changed again.
#[derive(Clone, Copy, Debug)]
struct Canonical;

/// The options of a proxy that shape the requests it forwards.
#[derive(Clone, Debug)]
pub(super) struct RequestRules {
    /// A token.
    pub(super) via_name: String,
    request_via: Via,
    pub(super) response_via: Via,
    pub(super) forwarding: Forwarding,
    pub(super) trust_forwarded: bool,
    /// Whether there are WebSockets.
    pub(super) has_tunnels: bool,
    /// The largest number of fields of a request, whatever its version.
    pub(super) max_fields: usize,
    /// Tells this proxy from others of the same name in `Via`.
    instance: String,
}

/// The largest number of proxies of one name that a request may have passed. It ends loops through
/// proxies that remove comments from `Via`, and with them the instances.
const MAX_PASSES: usize = 8;

impl Default for RequestRules {
    fn default() -> Self {
        let instance = format!("({:08x})", unpredictable_u128() as u32);
        Self {
            via_name: DEFAULT_NAME.to_owned(),
            request_via: Via::new(format!("{DEFAULT_NAME} {instance}")),
            response_via: Via::new(DEFAULT_NAME),
            forwarding: Forwarding::default(),
            trust_forwarded: false,
            has_tunnels: true,
            max_fields: DEFAULT_MAX_FIELDS,
            instance,
        }
    }
}

impl RequestRules {
    /// Sets the name of the proxy in `Via`.
    pub(super) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.via_name);
        self.request_via = Via::new(format!("{name} {}", self.instance));
        self.response_via = Via::new(name);
    }

    /// Whether a request has passed this proxy before (RFC 9110 §7.6.3).
    fn is_loop(&self, headers: &HeaderMap) -> bool {
        let mut passes = 0;
        fields::list(headers, &VIA).any(|member| {
            let mut words = member.split(u8::is_ascii_whitespace);
            let is_ours = words.nth(1) == Some(self.via_name.as_bytes());
            passes += usize::from(is_ours);
            let is_same = is_ours && words.next() == Some(self.instance.as_bytes());
            is_same || passes > MAX_PASSES
        })
    }

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
        let keeps_upgrade = self.has_tunnels && websocket::is_requested(&request);
        let (mut head, body) = request.into_parts();
        validate(&mut head, self.max_fields)?;
        if self.is_loop(&head.headers) {
            return Err(RejectedRequest::Loop);
        }
        canonicalize(&mut head, keeps_upgrade).map_err(|_| RejectedRequest::Host)?;
        let peer = head.extensions.get::<Peer>().copied();
        let headers = &mut head.headers;
        // A cache recognizes content by these fields, which HTTP/2 does not require.
        if has_content && !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else if fields::has_any(headers, &[TRANSFER_ENCODING]) {
            headers.remove(TRANSFER_ENCODING);
        }
        if head.version <= Version::HTTP_10 {
            // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request must be ignored.
            headers.remove(EXPECT);
        }
        if !self.trust_forwarded {
            remove_claims(headers);
        }
        add_forwarded(headers, self.forwarding, peer);
        self.request_via.append_to(headers, head.version);
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

    /// RFC 9112 §6.1: content with other codings would be forwarded as if it had none.
    #[test]
    fn content_is_chunked_alone_or_not_forwarded() {
        for (lines, is_forwarded) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["identity", "chunked"], false),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["chunked;q=1"], false),
            (&["chunked, identity"], false),
            (&[""], false),
        ] {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| ("transfer-encoding", *line))
                .chain([("host", "a")])
                .collect();
            let expected = match is_forwarded {
                true => Ok("a/p".to_owned()),
                false => Err(RejectedRequest::TransferCoding),
            };
            assert_eq!(check("POST", "/p", &lines), expected, "{lines:?}");
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
        let via = format!("1.1 tower-response-cache {}", rules.instance);
        assert_eq!(headers["via"], via);
    }

    /// RFC 9110 §7.6.3, RFC 5842 §7.2.
    #[test]
    fn a_request_that_has_passed_this_proxy_before_is_a_loop() {
        let rules = RequestRules::default();
        let via = format!("1.1 {DEFAULT_NAME} {}", rules.instance);
        let renamed = via.replace(DEFAULT_NAME, "edge");
        let another = format!("1.1 {DEFAULT_NAME} (00)");
        let many = [&*another; MAX_PASSES + 1].join(", ");
        for (lines, is_loop) in [
            (&[("via", &*via)][..], true),
            (&[("via", "1.0 a, 1.1 b (c)"), ("via", &via)], true),
            (&[("via", &format!("1.0 a ,{via},2.0 b"))], true),
            (&[("via", &many)], true),
            (&[("via", &many[..many.len() - another.len() - 2])], false),
            (&[("via", &another)], false),
            (&[("via", &renamed)], false),
            (&[("via", "1.1"), ("via", "")], false),
            (&[], false),
        ] {
            let mut all = vec![("host", "a")];
            all.extend(lines);
            let got = rules.apply(request("GET", "/p", &all)).err();
            assert_eq!(got, is_loop.then_some(RejectedRequest::Loop), "{lines:?}");
        }
    }
}
