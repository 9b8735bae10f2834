//! Tests of the capacity and of expiry.

use super::{is_found, key, response};
use crate::backend::{Backend, MemoryBackend, PutOutcome};

#[test]
fn a_response_of_the_largest_size_can_always_be_stored() {
    for capacity in [1 << 20, 8 << 20, 64 << 20, 1 << 30] {
        for size in [capacity / 2, capacity / 8, capacity / 64] {
            let backend = MemoryBackend::builder()
                .capacity(capacity)
                .max_response_size(size)
                .build();
            let overhead = response(4096, 0, 60).weight() as u64 - 4096;
            for n in 0..20 {
                let key = key(&backend, &format!("/{n}"));
                let body = (backend.max_response_size() - overhead - 32) as usize;
                let put = backend
                    .0
                    .put(&key, backend.0.fences.capture(), response(body, 0, 60));
                assert_eq!(put, PutOutcome::Stored, "{capacity} {size}");
                assert!(is_found(&backend, &key), "{capacity} {size}: response {n}");
            }
            let key = key(&backend, "/too-large");
            let body = response(size as usize + 1, 0, 60);
            assert_eq!(
                backend.0.put(&key, backend.0.fences.capture(), body),
                PutOutcome::TooLarge
            );
        }
    }
}

#[test]
fn a_capacity_of_almost_nothing_stores_nothing_and_does_not_panic() {
    for capacity in [0, 1, 100] {
        let backend = MemoryBackend::new(capacity);
        let key = key(&backend, "/a");
        let put = backend
            .0
            .put(&key, backend.0.fences.capture(), response(1, 0, 60));
        assert_eq!(put, PutOutcome::TooLarge);
        assert!(!is_found(&backend, &key));
    }
}

/// Expired responses do not take memory for as long as the store is not full.
#[test]
fn expired_responses_are_removed_as_new_ones_are_stored() {
    let backend = MemoryBackend::default();
    for n in 0..10_000 {
        let key = key(&backend, &format!("/old/{n}"));
        let _ = backend
            .0
            .put(&key, backend.0.fences.capture(), response(100, 0, 10));
    }
    for n in 0..10_000 {
        let key = key(&backend, &format!("/new/{n}"));
        let _ = backend
            .0
            .put(&key, backend.0.fences.capture(), response(100, 20, 10));
    }
    let left = backend.usage().expect("a usage").entries;
    assert!(left < 10_500, "{left} entries are left");
}
