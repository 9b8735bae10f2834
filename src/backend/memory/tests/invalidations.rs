//! Tests of fences, groups and removals.

use super::{is_found, key, response, response_in};
use crate::backend::memory::fence::{FENCE_STRIPES, REMEMBERED};
use crate::backend::memory::groups::GROUP_STRIPES;
use crate::backend::{Backend, Group, MemoryBackend, PutOutcome};
use crate::key::CacheKey;

/// Resources of one stripe break each other's fences, once more of them were invalidated than are
/// remembered one by one.
#[test]
fn a_collision_of_stripes_costs_a_store_and_never_a_stale_hit() {
    let backend = MemoryBackend::default();
    let stripe = |key: &CacheKey| key.resource().digest() as usize % FENCE_STRIPES;
    let own = key(&backend, "/own");
    let others: Vec<_> = (0..)
        .map(|n| key(&backend, &format!("/other/{n}")))
        .filter(|other| stripe(other) == stripe(&own))
        .take(REMEMBERED + 1)
        .collect();
    let put = |fence| backend.0.put(&own, fence, response(1, 0, 60));
    assert_eq!(put(backend.0.fences.capture()), PutOutcome::Stored);
    let in_flight = backend.0.fences.capture();
    for other in &others[..REMEMBERED] {
        backend.0.invalidate(*other.resource());
        assert_eq!(put(in_flight), PutOutcome::Stored);
    }
    backend.0.invalidate(*others[REMEMBERED].resource());
    assert!(is_found(&backend, &own), "the stored response stays");
    assert_eq!(put(in_flight), PutOutcome::Superseded);
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
