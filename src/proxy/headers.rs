//! Header fields of the connections to upstreams, and of responses (RFC 9110 §7.6).
//!
//! Knows nothing of `Host`, which depends on the upstream, nor of bodies.

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, StatusCode, Version, response};

use crate::semantics::fields::{self, hop_by_hop};

use super::error::{ProxyError, ProxyErrorKind};
use super::field_value::header_value;

/// Prepares the fields of a request in canonical form for an HTTP/1.1 connection. `Upgrade` is kept
/// if `upgrades` says so, and `Transfer-Encoding` if the length of the content `is_unknown`.
pub(super) fn prepare_request(headers: &mut HeaderMap, upgrades: bool, is_unknown: bool) {
    // To look at all names once takes less time than to search for each, and few requests have any.
    if !headers.keys().any(hop_by_hop::is_of_connection) {
        return;
    }
    if upgrades || !is_unknown {
        // hyper's client frames the content. But it sends none of a GET whose length is not known,
        // unless it finds the field; over HTTP/2 it leaves that out.
        headers.remove(TRANSFER_ENCODING);
    }
    if upgrades {
        return;
    }
    headers.remove(UPGRADE);
    match headers.contains_key(TE) {
        true => headers.insert(CONNECTION, HeaderValue::from_static("te")),
        false => headers.remove(CONNECTION),
    };
}

/// Makes `Content-Length` one number, without leading zeros. Returns whether it is one: not if there
/// are different ones (RFC 9110 §8.6).
///
/// Recipients differ in what they make of a list, or of two lines.
pub(super) fn unify_length(headers: &mut HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (None, _) => return true,
        (Some(line), None) if is_shortest(line.as_bytes()) => return true,
        _ => {}
    }
    let length = length_of(headers);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    length.is_some()
}

/// The one number that all of `Content-Length` is.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    let mut members = fields::list(headers, &CONTENT_LENGTH).map(number);
    let length = members.next()??;
    members.all(|other| other == Some(length)).then_some(length)
}

/// Whether it is a number in digits alone, and no more of them than it needs.
fn is_shortest(text: &[u8]) -> bool {
    (text.len() == 1 || !text.starts_with(b"0")) && number(text).is_some()
}

/// The number that is written in digits alone: no sign.
fn number(text: &[u8]) -> Option<u64> {
    let digits = Some(text).filter(|text| text.iter().all(u8::is_ascii_digit))?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Checks the framing and the size of a response's head.
pub(super) fn check_response(headers: &mut HeaderMap, max_head: usize) -> Result<(), ProxyError> {
    if fields::has_any(headers, &[CONTENT_LENGTH, TRANSFER_ENCODING]) {
        check_framing(headers)?;
    }
    let head_size = head_size(headers);
    if head_size > max_head {
        let cause = format!("the response head has {head_size} bytes; max_head is {max_head}");
        return Err(ProxyErrorKind::Protocol.caused_by(cause));
    }
    Ok(())
}

/// Checks how the end of a response's content is told.
fn check_framing(headers: &mut HeaderMap) -> Result<(), ProxyError> {
    if !unify_length(headers) {
        let cause = "the response's Content-Length is no number";
        return Err(ProxyErrorKind::Protocol.caused_by(cause));
    }
    if !fields::has_any(headers, &[TRANSFER_ENCODING]) {
        return Ok(());
    }
    if headers.contains_key(CONTENT_LENGTH) {
        // RFC 9112 §6.3: a sign of response splitting.
        let cause = "the response has both Transfer-Encoding and Content-Length";
        return Err(ProxyErrorKind::Protocol.caused_by(cause));
    }
    if !is_chunked_alone(headers) {
        // RFC 9112 §7: the content would be passed on as if it had no other coding.
        let cause = "the response has a transfer coding other than chunked";
        return Err(ProxyErrorKind::Protocol.caused_by(cause));
    }
    Ok(())
}

/// Whether `Transfer-Encoding` is `chunked` and nothing else (RFC 9112 §6.1).
pub(super) fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut codings = fields::list(headers, &TRANSFER_ENCODING);
    let first = codings.next();
    first.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Prepares a response's fields for the client. `Upgrade` is kept if `upgrades` says so.
pub(super) fn rewrite_response(response: &mut response::Parts, via: &Via, upgrades: bool) {
    let (version, headers) = (response.version, &mut response.headers);
    if response.status == StatusCode::RESET_CONTENT {
        // RFC 9110 §15.3.6: whatever length is announced, its body has no content.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    let protocol = headers.get(UPGRADE).cloned();
    hop_by_hop::remove(headers);
    if let Some(protocol) = protocol.filter(|_| upgrades) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    via.append_to(headers, version);
}

/// What a proxy appends to `Via` (RFC 9110 §7.6.3): the version by which a message was received, and
/// its own name.
#[derive(Clone, Debug)]
pub(super) struct Via {
    name: String,
    /// The members for HTTP/1.1 and HTTP/2.
    prepared: [Option<HeaderValue>; 2],
}

impl Via {
    /// `name` may have a comment behind it.
    pub(super) fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let member = |version| header_value(format_args!("{} {name}", protocol(version)));
        Self {
            prepared: [Version::HTTP_11, Version::HTTP_2].map(member),
            name,
        }
    }

    pub(super) fn append_to(&self, headers: &mut HeaderMap, version: Version) {
        let [http1, http2] = &self.prepared;
        let member = match version {
            Version::HTTP_11 => http1.clone(),
            Version::HTTP_2 => http2.clone(),
            _ => header_value(format_args!("{} {}", protocol(version), self.name)),
        };
        if let Some(member) = member {
            headers.append(VIA, member);
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    }
}

/// The approximate size of header fields on an HTTP/1.1 connection, in bytes.
fn head_size(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    lines.fold(0, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + 4
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_one_number() {
        for (lines, expected) in [
            (&[][..], Some(None)),
            (&["3"], Some(Some("3"))),
            (&["0"], Some(Some("0"))),
            (&["003"], Some(Some("3"))),
            (&["00"], Some(Some("0"))),
            (&["3,"], Some(Some("3"))),
            (&["3, 3"], Some(Some("3"))),
            (&["3", "3"], Some(Some("3"))),
            (&["3", "03"], Some(Some("3"))),
            (&["3, 4"], None),
            (&["3", "4"], None),
            (&["+3"], None),
            (&["3 3"], None),
            (&[""], None),
            (&["three"], None),
            (&["18446744073709551616"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            let is_number = unify_length(&mut headers);
            assert_eq!(is_number, expected.is_some(), "{lines:?}");
            if let Some(expected) = expected {
                let all: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
                let expected: Vec<_> = expected.into_iter().collect();
                assert_eq!(all, expected, "{lines:?}");
            }
        }
    }
}
