//! Round trips, damage, forgeries, and payloads that earlier versions have written.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::format::{CHECKED, checksum};
use super::*;
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::groups::Group;
use crate::semantics::moment::Moment;
use crate::semantics::ranges::PartialContent;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::{Vary, VarySelection};

fn at(seconds: u64) -> Moment {
    let passed = Duration::from_secs(seconds);
    Moment::new(passed, UNIX_EPOCH + passed)
}

fn fields(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).expect("a field value");
        headers.append(*name, value);
    }
    headers
}

/// A response with everything a response can have: bytes that are not text, repeated fields, a
/// variant, trailers.
fn rich() -> StoredResponse {
    let mut headers = fields(&[
        ("content-type", b"text/x-own"),
        ("x-bytes", b"\x80\xff caf\xe9"),
        ("via", b"1.1 a"),
        ("via", b"1.1 b"),
        ("empty", b""),
        ("vary", b"accept-language, x-none"),
        ("date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-status", b"upstream; hit"),
    ]);
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    headers.append("x-secret", secret);
    let request = fields(&[("accept-language", b"de")]);
    let selected = match Vary::from_headers(&headers) {
        Vary::Fields(rule) => VarySelection::from_request(rule, &request),
        _ => None,
    };
    let grant = StoragePolicy {
        freshness: Freshness {
            received: at(100),
            initial_age: Duration::from_millis(2500),
            lifetime: Some(Duration::from_secs(60)),
            stale: Staleness {
                while_revalidate: Duration::from_secs(1),
                if_error: Duration::from_secs(2),
                if_unreachable: Duration::MAX,
                validation: Duration::from_secs(3),
                is_forbidden: true,
            },
            immutable: true,
        },
        selected,
        groups: [Group::from_digest(7), Group::from_digest(u128::MAX)].into(),
        withheld: Box::default(),
    };
    let identity: Arc<[u8]> = (*b"the whole key").into();
    let trailers = fields(&[("x-checksum", b"0123")]);
    let body = Bytes::from_static(b"\0body\xff");
    StoredHead::new(identity, StatusCode::NOT_FOUND, &headers, grant).with_body(
        body,
        Some(trailers),
        Duration::from_millis(7),
    )
}

fn plain() -> StoredResponse {
    with_body(Vec::new())
}

fn with_body(body: Vec<u8>) -> StoredResponse {
    let grant = StoragePolicy {
        freshness: Freshness {
            received: at(100),
            initial_age: Duration::ZERO,
            lifetime: None,
            stale: Staleness::default(),
            immutable: false,
        },
        selected: None,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let headers = fields(&[("date", b"Sun, 06 Nov 1994 08:49:37 GMT")]);
    StoredHead::new(Arc::default(), StatusCode::OK, &headers, grant).with_body(
        body.into(),
        None,
        Duration::ZERO,
    )
}

fn partial() -> StoredResponse {
    let grant = StoragePolicy {
        freshness: plain().freshness(),
        selected: None,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let parts = PartialContent::new(10, [0..2, 4..7]).expect("separate spans");
    StoredHead::new(
        Arc::default(),
        StatusCode::PARTIAL_CONTENT,
        &HeaderMap::new(),
        grant,
    )
    .with_parts(parts)
    .with_body(Bytes::from_static(b"01456"), None, Duration::ZERO)
}

/// Encodes after a prefix, and removes it.
fn encode(response: &StoredResponse, now: Moment) -> Bytes {
    let bytes = super::encode(response, now, STAMP, b"prefix");
    assert_eq!(bytes[..6], *b"prefix");
    bytes.slice(6..)
}

fn decode(
    bytes: &Bytes,
    stored_for: Duration,
    now: Moment,
) -> Result<Arc<StoredResponse>, DecodeError> {
    let stored_for = |stamp| (stamp == STAMP).then_some(stored_for);
    match super::decode(bytes, now, stored_for)? {
        Decoded::Response(response) => Ok(response),
        Decoded::Rule(rule) => panic!("expected a response, found {rule:?}"),
    }
}

const STAMP: u64 = 0x0123_4567_89ab_cdef;

#[test]
fn a_decoded_response_equals_the_encoded_one() {
    for written in [rich(), plain(), partial()] {
        let bytes = encode(&written, at(110));
        let read = decode(&bytes, Duration::from_secs(5), at(3)).expect("a valid encoding");
        assert_eq!(read.identity(), written.identity());
        assert_eq!(read.status(), written.status());
        assert_eq!(read.headers(), written.headers());
        assert_eq!(read.body(), written.body());
        assert_eq!(read.trailers(), written.trailers());
        assert_eq!(read.cost(), written.cost());
        assert_eq!(read.vary_selection(), written.vary_selection());
        assert_eq!(read.has_upstream_status(), written.has_upstream_status());
        let (new, old) = (read.freshness(), written.freshness());
        assert_eq!((new.lifetime, new.stale), (old.lifetime, old.stale));
        assert_eq!(new.immutable, old.immutable);
        assert_eq!(read.groups(), written.groups());
        assert_eq!(read.parts(), written.parts());
        let aged = old.age(at(110)) + Duration::from_secs(5);
        assert_eq!(
            (new.initial_age, new.received),
            (aged, at(3)),
            "clocks are not compared"
        );
    }
    let read = decode(&encode(&rich(), at(100)), Duration::ZERO, at(0)).expect("a valid encoding");
    assert!(read.headers()["x-secret"].is_sensitive());
}

/// A small one is copied: it must not keep a large buffer.
#[test]
fn a_large_decoded_body_is_a_slice_and_no_copy() {
    for (length, is_slice) in [(0, false), (1024, false), (1025, true), (100_000, true)] {
        let bytes = encode(&with_body(vec![b'x'; length]), at(110));
        let read = decode(&bytes, Duration::ZERO, at(0)).expect("a valid encoding");
        assert_eq!(read.body(), vec![b'x'; length]);
        let place = read.body_bytes().as_ptr();
        assert_eq!(bytes.as_ptr_range().contains(&place), is_slice, "{length}");
        let range = read.body().as_ptr();
        assert_eq!(bytes.as_ptr_range().contains(&range), is_slice, "{length}");
    }
}

/// A connection that is cut short never yields a response.
#[test]
fn truncated_bytes_are_refused_at_every_length() {
    let bytes = encode(&rich(), at(110));
    for length in 0..bytes.len() {
        let cut = bytes.slice(..length);
        assert!(decode(&cut, Duration::ZERO, at(0)).is_err(), "{length}");
    }
}

/// A damaged memory or disk never yields a response.
#[test]
fn a_flipped_bit_is_refused_at_every_position() {
    let bytes = encode(&rich(), at(110));
    for place in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[place / 8] ^= 1 << (place % 8);
        let read = super::decode(&flipped.into(), at(0), |_| Some(Duration::ZERO));
        assert!(read.is_err(), "{place}");
    }
}

/// The checksum only detects accidents: invalid fields with a matching one must not panic.
#[test]
fn invalid_fields_with_a_matching_checksum_are_refused() {
    for written in [rich(), partial()] {
        let bytes = encode(&written, at(110));
        let mut refused = 0;
        for place in 12..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut forged = bytes.to_vec();
                forged[place] = value;
                let right = checksum(&forged[12..]);
                forged[4..12].copy_from_slice(&right.to_le_bytes());
                let read = super::decode(&forged.into(), at(0), |_| Some(Duration::MAX));
                refused += usize::from(read.is_err());
            }
        }
        assert!(refused > 100, "{refused}");
    }
}

/// Response splitting: a line break in a name or a value creates no field.
#[test]
fn line_breaks_in_fields_are_refused() {
    let whole = encode(&rich(), at(100));
    for (honest, forged) in [
        (&b"text/x-own"[..], &b"text/x\r\na:"[..]),
        (b"secret", b"s\r\nret"),
        (b"secret", b"secre\0"),
        (b"x-bytes", b"x-byt\r\n"),
        (b"x-bytes", b"x bytes"),
    ] {
        let place = whole
            .windows(honest.len())
            .position(|window| window == honest);
        let place = place.expect("it is in the encoding");
        let mut split = whole.to_vec();
        split[place..][..forged.len()].copy_from_slice(forged);
        let checksum = checksum(&split[CHECKED..]);
        split[CHECKED - 8..CHECKED].copy_from_slice(&checksum.to_le_bytes());
        let read = decode(&split.into(), Duration::ZERO, at(100));
        assert_eq!(read.err(), Some(DecodeError::Malformed), "{forged:?}");
    }
}

/// A rolling upgrade reads entries of the other version as misses.
#[test]
fn another_version_is_refused_by_number() {
    let mut bytes = encode(&plain(), at(110)).to_vec();
    bytes[3] = 5;
    let refused = decode(&bytes.clone().into(), Duration::ZERO, at(0));
    assert_eq!(refused.err(), Some(DecodeError::Version(5)));
    bytes[0] = b'x';
    let refused = decode(&bytes.into(), Duration::ZERO, at(0));
    assert_eq!(refused.err(), Some(DecodeError::Magic));
}

/// The encoding does not change without a new version number: a recorded payload.
#[test]
fn a_golden_payload_is_read() {
    let golden = Bytes::from_static(include_bytes!(
        "../../../tests/golden/stored-response-4.bin"
    ));
    let read = decode(&golden, Duration::ZERO, at(0)).expect("a valid encoding");
    assert_eq!(read.headers(), rich().headers());
    assert_eq!(encode(&rich(), at(110)), golden, "and encoded the same way");
}

/// A payload of an earlier version is a miss.
#[test]
fn an_older_golden_payload_is_refused() {
    for (version, golden) in [
        (
            1,
            &include_bytes!("../../../tests/golden/stored-response-1.bin")[..],
        ),
        (
            2,
            &include_bytes!("../../../tests/golden/stored-response-2.bin")[..],
        ),
        (
            3,
            &include_bytes!("../../../tests/golden/stored-response-3.bin")[..],
        ),
    ] {
        let read = decode(&Bytes::from_static(golden), Duration::ZERO, at(0));
        assert_eq!(read.err(), Some(DecodeError::Version(version)));
    }
}

#[test]
fn a_response_of_unknown_age_is_refused() {
    let read = super::decode(&encode(&plain(), at(110)), at(0), |_| None);
    assert_eq!(read.err(), Some(DecodeError::Undated));
}

#[test]
fn a_decoded_rule_equals_the_encoded_one() {
    let rule = rich().vary_rule().expect("the response varies").clone();
    let bytes = encode_rule(&rule, STAMP, b"");
    match super::decode(&bytes, at(0), |_| Some(Duration::ZERO)) {
        Ok(Decoded::Rule(read)) => assert_eq!(read, rule),
        other => panic!("{other:?}"),
    }
    for length in 0..bytes.len() {
        let cut = bytes.slice(..length);
        assert!(super::decode(&cut, at(0), |_| Some(Duration::ZERO)).is_err());
    }
}

/// Fields of a policy select, too, though no `Vary` names them; those that it names are not written
/// twice.
#[test]
fn fields_that_select_beside_vary_are_kept() {
    let names = |names: &[&'static str]| -> Vec<HeaderName> {
        names.iter().copied().map(HeaderName::from_static).collect()
    };
    let request = fields(&[("x-tenant", b"a"), ("accept-language", b"de")]);
    let both = ["accept-language", "x-tenant"];
    for (line, selecting, beside) in [
        (&[][..], &["x-tenant"][..], 1),
        (&[("vary", &b"accept-language"[..])], &both, 1),
        (&[("vary", b"X-Tenant, Accept-Language")], &both, 0),
    ] {
        let headers = fields(line);
        let Vary::Fields(rule) = Vary::Absent.with_fields(names(selecting).iter()) else {
            panic!("it has fields");
        };
        let grant = StoragePolicy {
            freshness: plain().freshness(),
            selected: VarySelection::from_request(rule, &request),
            groups: Box::default(),
            withheld: Box::default(),
        };
        let head = StoredHead::new(Arc::default(), StatusCode::OK, &headers, grant);
        let stored = head.with_body(Bytes::from_static(b"text"), None, Duration::ZERO);
        assert_eq!(stored.selecting_beside_vary().len(), beside);
        let read = decode(&encode(&stored, at(110)), Duration::ZERO, at(110));
        let read = read.expect("a valid encoding");
        assert_eq!(read.vary_selection(), stored.vary_selection(), "{line:?}");
        let damaged = |length: usize| {
            let encoded = encode(&stored, at(110));
            let cut = encoded.slice(..encoded.len() - length);
            assert!(decode(&cut, Duration::ZERO, at(110)).is_err(), "{length}");
        };
        (1..20).for_each(damaged);
    }
}
