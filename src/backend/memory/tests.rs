//! Tests of what only the inside of a memory backend shows: collisions, sizes, expiry.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::fence::FENCE_STRIPES;
use super::groups::GROUP_STRIPES;
use super::store::{EXPIRY_QUEUES, lock};
use super::*;
use crate::backend::Group;
use crate::key::{KeyParts, Sites};
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;

fn key(backend: &MemoryBackend, path: &str) -> CacheKey {
    let (request, ()) = Request::new(()).into_parts();
    let parts =
        KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path(path.to_owned());
    CacheKey::new(&backend.seed(), "", Sites::One, &parts)
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
    matches!(backend.0.get(key), Lookup::Found(..))
}

/// Two resources of one stripe break each other's fences.
#[test]
fn a_collision_of_stripes_costs_a_store_and_never_a_stale_hit() {
    let backend = MemoryBackend::default();
    let stripe = |key: &CacheKey| key.resource().digest() as usize % FENCE_STRIPES;
    let a = key(&backend, "/a");
    let b = (0..)
        .map(|n| key(&backend, &format!("/b{n}")))
        .find(|b| stripe(b) == stripe(&a))
        .expect("there are few stripes");
    let stored = backend.0.fences.capture();
    assert_eq!(
        backend.0.put(&b, stored, response(1, 0, 60)),
        PutOutcome::Stored
    );
    let in_flight = backend.0.fences.capture();
    backend.0.invalidate(*a.resource());
    assert!(is_found(&backend, &b), "the stored response stays");
    assert_eq!(
        backend.0.put(&b, in_flight, response(1, 0, 60)),
        PutOutcome::Superseded
    );
}

/// Two groups of one stripe are invalidated together.
#[test]
fn a_collision_of_groups_costs_a_call_and_never_a_stale_hit() {
    let backend = MemoryBackend::default();
    let [group, same, other] = [1, 1 + GROUP_STRIPES as u128, 2].map(Group::from_digest);
    let put = |path: &str, groups: &[Group]| {
        let (key, fence) = (key(&backend, path), backend.0.fences.capture());
        let put = backend.0.put(&key, fence, response_in(groups, 1, 0, 60));
        assert_eq!(put, PutOutcome::Stored);
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
    assert!(is_found(&backend, &a), "a member stored since is found");
    assert!(!is_found(&backend, &b), "and brings no other member back");
}

#[test]
fn a_response_of_the_largest_size_can_always_be_stored() {
    for capacity in [1 << 20, 8 << 20, 64 << 20, 1 << 30] {
        for size in [capacity / 2, capacity / 8, capacity / 64] {
            let backend = MemoryBackend::builder()
                .capacity(capacity)
                .max_response_size(size)
                .build();
            let overhead = response(0, 0, 60).weight() as u64;
            for n in 0..20 {
                let key = key(&backend, &format!("/{n}"));
                let body = (backend.max_response_size() - overhead - 16) as usize;
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

/// Keys of replaced and invalidated responses do not pile up.
#[test]
fn the_list_of_expiries_stays_bounded() {
    let backend = MemoryBackend::new(1 << 20);
    let listed = || {
        let expiries = backend.0.expiries.iter();
        expiries.map(|expiry| lock(expiry).len()).sum::<usize>()
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
    let entries = backend.usage().expect("a usage").entries as usize;
    assert!(
        listed() <= 2 * entries + 64 * EXPIRY_QUEUES,
        "{} listed for {entries}",
        listed()
    );
}

#[test]
fn a_removal_concerns_one_key_and_only_under_a_fence_that_holds() {
    let backend = MemoryBackend::default();
    let [a, b] = ["/a", "/b"].map(|path| key(&backend, path));
    let query = a.for_partial_content(&backend.seed());
    let before = backend.0.fences.capture();
    for key in [a, b, query] {
        let put = backend.0.put(&key, before, response(1, 0, 60));
        assert_eq!(put, PutOutcome::Stored);
    }
    assert!(backend.0.remove(&query, before));
    assert!(!is_found(&backend, &query));
    assert!(is_found(&backend, &a) && is_found(&backend, &b));
    backend.0.invalidate(*a.resource());
    let new = backend
        .0
        .put(&a, backend.0.fences.capture(), response(1, 0, 60));
    assert_eq!(new, PutOutcome::Stored);
    assert!(!backend.0.remove(&a, before), "the fence is broken");
    assert!(is_found(&backend, &a));
}
