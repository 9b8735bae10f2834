//! Decodes stored responses from arbitrary bytes: no panic, and a decoded response is encoded and
//! decoded to an equal one.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_response_cache::backend::StoredResponse;
use tower_response_cache::fuzzing::codec::{Decoded, decode, encode, encode_rule, sealed};
use tower_response_cache::fuzzing::hidden_fields;
use tower_response_cache::fuzzing::moment::Moment;

fuzz_target!(|bytes: &[u8]| {
    round_trip(&Bytes::copy_from_slice(bytes));
    // With a valid checksum, the fuzzer reaches the fields behind it.
    round_trip(&sealed(bytes));
});

fn round_trip(bytes: &Bytes) {
    let now = Moment::new(
        Duration::from_secs(7),
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let decode_at = |bytes: &Bytes| decode(bytes, now, |_| Some(Duration::ZERO));
    let encode_at = |decoded: &Decoded| match decoded {
        Decoded::Response(response) => encode(response, now, 9, b""),
        Decoded::Rule(rule) => encode_rule(rule, 9, b""),
        _ => unreachable!("there are two kinds"),
    };
    let Ok(first) = decode_at(bytes) else {
        return;
    };
    let encoded = encode_at(&first);
    let second = decode_at(&encoded).expect("encoded bytes can be decoded");
    match (&first, &second) {
        (Decoded::Response(a), Decoded::Response(b)) => assert_equal(a, b),
        (Decoded::Rule(a), Decoded::Rule(b)) => assert_eq!(a, b),
        _ => panic!("{first:?} {second:?}"),
    }
    assert_eq!(encoded, encode_at(&second), "encoding is deterministic");
}

fn assert_equal(a: &StoredResponse, b: &StoredResponse) {
    assert_eq!(hidden_fields(a), hidden_fields(b));
    assert_eq!(a.status(), b.status());
    assert_eq!(a.headers(), b.headers());
    assert_eq!(a.body(), b.body());
    assert_eq!(a.trailers(), b.trailers());
    assert_eq!(a.cost(), b.cost());
    assert_eq!(a.freshness(), b.freshness());
}
