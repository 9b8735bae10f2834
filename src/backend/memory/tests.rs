use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::fence::STRIPES;
use super::groups::STRIPES as GROUP_STRIPES;
use super::*;
use crate::backend::Group;
use crate::key::KeyParts;
use crate::semantics::freshness::Freshness;
use crate::semantics::freshness::Staleness;
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;

fn key(backend: &MemoryBackend, path: &str) -> CacheKey {
    let (request, ()) = Request::new(()).into_parts();
    let parts =
        KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path(path.to_owned());
    CacheKey::new(&backend.seed(), "", &parts)
}

fn response(length: usize, received: u64, lifetime: u64) -> Arc<StoredResponse> {
    response_in(&[], length, received, lifetime)
}

fn response_in(
    groups: &[Group],
    length: usize,
    received: u64,
    lifetime: u64,
) -> Arc<StoredResponse> {
    let received = Duration::from_secs(received);
    let grant = StoragePolicy {
        freshness: Freshness {
            received: Moment::new(received, SystemTime::UNIX_EPOCH + received),
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(lifetime)),
            stale: Staleness::default(),
            immutable: false,
        },
        selected: None,
        groups: groups.into(),
        withheld: Box::default(),
    };
    let head = StoredHead::new(Arc::default(), StatusCode::OK, &HeaderMap::new(), grant);
    Arc::new(head.with_body(Bytes::from(vec![0; length]), None, Duration::ZERO))
}

fn is_found(backend: &MemoryBackend, key: &CacheKey) -> bool {
    matches!(backend.0.look(key), Lookup::Found(..))
}

/// C17
#[test]
fn a_collision_of_stripes_costs_a_store_and_never_a_stale_hit() {
    let backend = MemoryBackend::default();
    let stripe = |key: &CacheKey| key.resource().digest() as usize % STRIPES;
    let a = key(&backend, "/a");
    let b = (0..)
        .map(|n| key(&backend, &format!("/b{n}")))
        .find(|b| stripe(b) == stripe(&a))
        .expect("there are few stripes");
    let stored = backend.0.fences.capture();
    assert_eq!(backend.0.put(&b, stored, response(1, 0, 60)), Put::Stored);
    let in_flight = backend.0.fences.capture();
    backend.0.invalidate(*a.resource());
    assert!(is_found(&backend, &b), "what is stored stays");
    assert_eq!(
        backend.0.put(&b, in_flight, response(1, 0, 60)),
        Put::Superseded
    );
}

/// C17
#[test]
fn a_collision_of_groups_costs_a_call_and_never_a_stale_hit() {
    let backend = MemoryBackend::default();
    let [group, same, other] = [1, 1 + GROUP_STRIPES as u128, 2].map(Group::from_digest);
    let put = |path: &str, groups: &[Group]| {
        let (key, fence) = (key(&backend, path), backend.0.fences.capture());
        let put = backend.0.put(&key, fence, response_in(groups, 1, 0, 60));
        assert_eq!(put, Put::Stored);
        key
    };
    let [a, b, c, d] = [
        ("/a", &[other, group][..]),
        ("/b", &[same]),
        ("/c", &[other]),
        ("/d", &[]),
    ]
    .map(|(path, groups)| put(path, groups));
    backend.0.groups.invalidate(&group, &backend.0.fences);
    assert!(!is_found(&backend, &a) && !is_found(&backend, &b));
    assert!(is_found(&backend, &c) && is_found(&backend, &d));
    let a = put("/a", &[group]);
    assert!(is_found(&backend, &a), "what is fetched since counts");
    assert!(!is_found(&backend, &b), "and brings nothing back");
}

#[test]
fn a_response_of_the_largest_size_is_always_storable() {
    for capacity in [1 << 20, 8 << 20, 64 << 20, 1 << 30] {
        for largest in [capacity / 2, capacity / 8, capacity / 64] {
            let backend = MemoryBackend::with_largest(capacity, largest);
            let overhead = response(0, 0, 60).weight() as u64;
            for n in 0..20 {
                let key = key(&backend, &format!("/{n}"));
                let body = (backend.largest() - overhead - 16) as usize;
                let put = backend
                    .0
                    .put(&key, backend.0.fences.capture(), response(body, 0, 60));
                assert_eq!(put, Put::Stored, "{capacity} {largest}");
                assert!(
                    is_found(&backend, &key),
                    "{capacity} {largest}: response {n}"
                );
            }
            let key = key(&backend, "/too-large");
            let body = response(largest as usize + 1, 0, 60);
            assert_eq!(
                backend.0.put(&key, backend.0.fences.capture(), body),
                Put::TooLarge
            );
        }
    }
}

#[test]
fn no_capacity_stores_nothing_and_does_not_panic() {
    for capacity in [0, 1, 100] {
        let backend = MemoryBackend::new(capacity);
        let key = key(&backend, "/a");
        let put = backend
            .0
            .put(&key, backend.0.fences.capture(), response(1, 0, 60));
        assert_eq!(put, Put::TooLarge);
        assert!(!is_found(&backend, &key));
    }
}

/// M08
#[test]
fn what_has_expired_is_reclaimed_as_others_come() {
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
    let left = backend.usage().expect("it tells").entries;
    assert!(left < 10_500, "{left} entries are left");
}

/// M06
#[test]
fn the_list_of_expiries_stays_bounded() {
    let backend = MemoryBackend::new(1 << 20);
    let listed = || {
        let expiries = backend.0.expiries.iter();
        expiries
            .map(|expiry| unpoisoned(expiry).len())
            .sum::<usize>()
    };
    for n in 0..100_000 {
        let key = key(&backend, &format!("/{n}"));
        let _ = backend
            .0
            .put(&key, backend.0.fences.capture(), response(100, 0, 3600));
        let hot = self::key(&backend, "/hot");
        let _ = backend
            .0
            .put(&hot, backend.0.fences.capture(), response(100, 0, 3600 + n));
        backend.0.invalidate(*hot.resource());
    }
    let entries = backend.usage().expect("it tells").entries as usize;
    assert!(
        listed() <= 2 * entries + 64 * EXPIRIES,
        "{} listed for {entries}",
        listed()
    );
}
