//! Puts arbitrary requests into canonical form: it never panics, and doing it again changes
//! nothing.
#![no_main]

use arbitrary::Arbitrary;
use http::header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Version};
use libfuzzer_sys::fuzz_target;
use tower_response_cache::fuzzing;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    target: &'a [u8],
    version: Protocol,
    lines: Vec<(Field<'a>, &'a [u8])>,
    keeps_upgrade: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Protocol {
    Http10,
    Http11,
    Http2,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Field<'a> {
    Connection,
    Cookie,
    Host,
    Te,
    TransferEncoding,
    Upgrade,
    Other(&'a [u8]),
}

impl Field<'_> {
    fn name(self) -> Option<HeaderName> {
        Some(match self {
            Self::Connection => CONNECTION,
            Self::Cookie => COOKIE,
            Self::Host => HOST,
            Self::Te => TE,
            Self::TransferEncoding => TRANSFER_ENCODING,
            Self::Upgrade => UPGRADE,
            Self::Other(name) => HeaderName::from_bytes(name).ok()?,
        })
    }
}

fuzz_target!(|input: Input<'_>| {
    let version = match input.version {
        Protocol::Http10 => Version::HTTP_10,
        Protocol::Http11 => Version::HTTP_11,
        Protocol::Http2 => Version::HTTP_2,
    };
    let request = Request::get(input.target).version(version).body(());
    let Ok(request) = request else {
        return;
    };
    let (mut head, ()) = request.into_parts();
    for (field, value) in &input.lines {
        if let (Some(name), Ok(value)) = (field.name(), HeaderValue::from_bytes(value)) {
            head.headers.append(name, value);
        }
    }
    if !fuzzing::canonicalize(&mut head, input.keeps_upgrade) {
        return;
    }
    let once = (head.uri.clone(), head.headers.clone());
    assert!(head.uri.scheme().is_none() && head.uri.authority().is_none());
    for name in [HOST, COOKIE, TE, TRANSFER_ENCODING, CONNECTION] {
        assert!(head.headers.get_all(&name).iter().count() <= 1, "{name}");
    }
    if let Some(host) = head.headers.get(HOST) {
        let host = host.to_str().expect("a host in normal form is ASCII");
        let normal = fuzzing::normalize_authority(host, None);
        assert_eq!(normal.as_deref(), Some(host));
    }
    assert!(head.headers.get(TE).is_none_or(|te| te == "trailers"));
    let upgrades = input.keeps_upgrade && head.headers.contains_key(UPGRADE);
    assert_eq!(head.headers.contains_key(UPGRADE), upgrades);
    assert_eq!(head.headers.contains_key(CONNECTION), upgrades);
    assert!(fuzzing::canonicalize(&mut head, input.keeps_upgrade));
    assert_eq!((head.uri, head.headers), once);
});
