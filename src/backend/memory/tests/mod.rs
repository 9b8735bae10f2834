//! Tests of what only the inside of a memory backend shows: collisions, sizes, expiry.

mod histories;
mod variants;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::entry::Slot;
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
use crate::semantics::vary::VarySelection;

fn key(backend: &MemoryBackend, path: &str) -> CacheKey {
    let (request, ()) = Request::new(()).into_parts();
    let parts =
        KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path(path.to_owned());
    CacheKey::new(&backend.seed(), "", Sites::One, &parts)
}

/// Keys of one resource: plain, with a query, on another host, in another spelling.
fn siblings(backend: &MemoryBackend) -> [CacheKey; 4] {
    let (request, ()) = Request::new(()).into_parts();
    let base = || KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path("/a");
    let all = [
        base(),
        base().with_query(Some("q")),
        base().with_authority("other.example"),
        base().with_path("//a").with_scheme("https"),
    ];
    all.map(|parts| CacheKey::new(&backend.seed(), "", Sites::One, &parts))
}

fn put(backend: &MemoryBackend, key: &CacheKey, received: u64) {
    let fence = backend.0.fences.capture();
    let put = backend.0.put(key, fence, response(1, received, 60));
    assert_eq!(put, PutOutcome::Stored);
}

fn entries(backend: &MemoryBackend) -> u64 {
    backend.usage().expect("a usage").entries
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
    stored(None, groups, length, received, lifetime)
}

fn stored(
    selected: Option<VarySelection>,
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
        selected,
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

/// A lookup may have read a response whose invalidation has its number, and removes it next.
#[test]
fn a_response_is_not_valid_once_its_invalidation_has_a_number() {
    let group = Group::from_digest(1);
    let invalidations: [fn(&MemoryBackend, &CacheKey); 2] = [
        |backend, key| backend.0.fences.invalidate(key.resource(), || ()),
        |backend, _| (backend.0.groups).invalidate(&Group::from_digest(1), &backend.0.fences),
    ];
    for invalidate in invalidations {
        let backend = MemoryBackend::default();
        let (key, fence) = (key(&backend, "/a"), backend.0.fences.capture());
        let stored = response_in(&[group], 1, 0, 60);
        let put = backend.0.put(&key, fence, stored.clone());
        assert_eq!(put, PutOutcome::Stored);
        assert!(backend.0.is_still_valid(&key, &stored));
        let other = response_in(&[group], 1, 0, 60);
        assert!(!backend.0.is_still_valid(&key, &other), "another one");
        invalidate(&backend, &key);
        assert!(!backend.0.is_still_valid(&key, &stored));
    }
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

/// Whatever host, query or spelling the first response of a resource has, it needs one slot; each
/// other one needs one more.
#[test]
fn a_resource_takes_one_slot_per_response() {
    for first in 0..4 {
        let backend = MemoryBackend::default();
        let mut keys = siblings(&backend);
        keys.rotate_left(first);
        for (count, key) in (1..).zip(&keys) {
            put(&backend, key, 0);
            put(&backend, key, 0);
            assert_eq!(entries(&backend), count, "{first}");
        }
        assert!(keys.iter().all(|key| is_found(&backend, key)), "{first}");
        assert_eq!(backend.usage().expect("a usage").evictions, 0);
        backend.0.invalidate(*keys[0].resource());
        assert!(!keys.iter().any(|key| is_found(&backend, key)), "{first}");
        put(&backend, &keys[0], 0);
        assert!(
            !keys[1..].iter().any(|key| is_found(&backend, key)),
            "{first}"
        );
    }
}

/// The first response holds the record of the others: it may go, and the record stays.
#[test]
fn the_end_of_the_first_response_leaves_the_others() {
    let remove = |backend: &MemoryBackend, key: &CacheKey| {
        assert!(backend.0.remove(key, backend.0.fences.capture()));
    };
    let expire = |backend: &MemoryBackend, _: &CacheKey| {
        // Queues are chosen by resource: a put to the same one removes what has expired.
        put(backend, &siblings(backend)[3], 100);
    };
    for end in [&remove as &dyn Fn(&MemoryBackend, &CacheKey), &expire] {
        let backend = MemoryBackend::default();
        let [first, second, third, _] = siblings(&backend);
        put(&backend, &first, 0);
        for other in [second, third] {
            put(&backend, &other, 50);
        }
        end(&backend, &first);
        assert!(!is_found(&backend, &first));
        assert!(is_found(&backend, &second) && is_found(&backend, &third));
        // The place is free for the next one, also for one that had another until now.
        put(&backend, &second, 50);
        let before = entries(&backend);
        assert!(is_found(&backend, &second) && is_found(&backend, &third));
        assert!(backend.0.remove(&second, backend.0.fences.capture()));
        assert!(!is_found(&backend, &second), "no older one is left");
        assert_eq!(entries(&backend), before, "the record stays");
        backend.0.invalidate(*first.resource());
        assert!(!is_found(&backend, &third));
    }
}

/// Two keys whose digests collide share no response.
#[test]
fn a_collision_of_slots_is_a_miss() {
    let backend = MemoryBackend::default();
    let [first, second, ..] = siblings(&backend);
    for key in [first, second] {
        put(&backend, &key, 0);
    }
    let slot = Slot::own(&second);
    let mut foreign = backend.0.entries.peek(&slot).expect("an entry");
    foreign.key = key(&backend, "/b");
    backend.0.entries.insert(slot, foreign);
    assert!(!is_found(&backend, &second));
    assert!(is_found(&backend, &first));
    assert!(backend.0.remove(&second, backend.0.fences.capture()));
    assert!(
        backend.0.entries.peek(&slot).is_some(),
        "it is another key's"
    );
}
