//! A stored response read from anything: no panic, and what can be read is written and read as the same.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_response_cache::backend::StoredResponse;
use tower_response_cache::fuzzing::codec::{Decoded, decode, encode, encode_rule, sealed};
use tower_response_cache::fuzzing::moment::Moment;

fuzz_target!(|bytes: &[u8]| {
    round(&Bytes::copy_from_slice(bytes));
    // Whoever knows the format gets past the checksum.
    round(&sealed(bytes));
});

fn round(bytes: &Bytes) {
    let now = Moment::new(
        Duration::from_secs(7),
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let read = |bytes: &Bytes| decode(bytes, now, |_| Some(Duration::ZERO));
    let write = |decoded: &Decoded| match decoded {
        Decoded::Response(response) => encode(response, now, 9, b""),
        Decoded::Rule(rule) => encode_rule(rule, 9, b""),
        _ => unreachable!("another kind"),
    };
    let Ok(first) = read(bytes) else {
        return;
    };
    let written = write(&first);
    let second = read(&written).expect("what was written is read");
    match (&first, &second) {
        (Decoded::Response(a), Decoded::Response(b)) => assert_same(a, b),
        (Decoded::Rule(a), Decoded::Rule(b)) => assert_eq!(a, b),
        _ => panic!("{first:?} {second:?}"),
    }
    assert_eq!(written, write(&second), "written the same way");
}

fn assert_same(a: &StoredResponse, b: &StoredResponse) {
    assert_eq!(a.identity(), b.identity());
    assert_eq!(a.status(), b.status());
    assert_eq!(a.headers(), b.headers());
    assert_eq!(a.body(), b.body());
    assert_eq!(a.trailers(), b.trailers());
    assert_eq!(a.cost(), b.cost());
    assert_eq!(a.freshness(), b.freshness());
    assert_eq!(a.vary_selection(), b.vary_selection());
    assert_eq!(a.has_upstream_status(), b.has_upstream_status());
}
