//! Tests of responses that are made stale.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{key, put, response_in, siblings};
use crate::backend::memory::expirations::MAX_EXPIRATIONS;
use crate::backend::{Backend, Group, Lookup, MemoryBackend, PutOutcome, StoredResponse};
use crate::key::CacheKey;
use crate::semantics::freshness::StoredTimes;
use crate::semantics::moment::Moment;

const GROUP: Group = Group::from_digest(1);

fn at(seconds: u64) -> Moment {
    let since = Duration::from_secs(seconds);
    Moment::new(since, SystemTime::UNIX_EPOCH + since)
}

fn found(backend: &MemoryBackend, key: &CacheKey) -> Option<Arc<StoredResponse>> {
    match backend.0.get(key) {
        Lookup::Found(response, _) => Some(response),
        _ => None,
    }
}

/// The lifetime of the response that is found, in seconds: it arrived at 0, with a lifetime of 60.
fn lifetime(backend: &MemoryBackend, key: &CacheKey) -> Option<u64> {
    let lifetime = found(backend, key)?.lifetime();
    Some(lifetime.expect("a lifetime").as_secs())
}

/// Promise: a response that is made stale is so from then on, whatever slot it is in, and one that
/// is stored later is fresh.
#[test]
fn all_responses_of_a_resource_are_made_stale_at_once() {
    let backend = MemoryBackend::default();
    let keys = siblings(&backend);
    let other = key(&backend, "/other");
    for key in keys.iter().chain([&other]) {
        put(&backend, key, 0);
    }
    let in_flight = backend.0.fences.capture();
    backend.0.expire(keys[0].resource(), at(10));
    assert_eq!(keys.map(|key| lifetime(&backend, &key)), [Some(10); 4]);
    assert_eq!(lifetime(&backend, &other), Some(60));
    let refused = backend
        .0
        .put(&keys[1], in_flight, response_in(&[], 1, 0, 60));
    assert_eq!(refused, PutOutcome::Superseded);
    put(&backend, &keys[1], 0);
    put(&backend, &keys[0], 0);
    let lifetimes = [Some(60), Some(60), Some(10), Some(10)];
    assert_eq!(keys.map(|key| lifetime(&backend, &key)), lifetimes);
    // A later one makes stale those stored since, and leaves the others as they are.
    backend.0.expire(keys[0].resource(), at(20));
    let lifetimes = [Some(20), Some(20), Some(10), Some(10)];
    assert_eq!(keys.map(|key| lifetime(&backend, &key)), lifetimes);
}

/// Promise: an invalidation that removes takes everything, made stale or not, for ever.
#[test]
fn a_removal_leaves_nothing_that_was_made_stale() {
    let removals: [fn(&MemoryBackend, &CacheKey); 2] = [
        |backend, key| backend.0.invalidate(*key.resource()),
        |backend, _| backend.0.clear(),
    ];
    for remove in removals {
        let backend = MemoryBackend::default();
        let keys = siblings(&backend);
        for key in &keys {
            put(&backend, key, 0);
        }
        backend.0.expire(keys[0].resource(), at(10));
        remove(&backend, &keys[0]);
        assert_eq!(keys.map(|key| lifetime(&backend, &key)), [None; 4]);
        backend.0.expire(keys[0].resource(), at(11));
        put(&backend, &keys[0], 0);
        backend.0.expire(keys[0].resource(), at(12));
        let lifetimes = [Some(12), None, None, None];
        assert_eq!(keys.map(|key| lifetime(&backend, &key)), lifetimes);
    }
}

/// The memory for expirations is bounded: older responses are lost.
#[test]
fn the_last_expirations_are_remembered() {
    let backend = MemoryBackend::default();
    let keys = siblings(&backend);
    let member = key(&backend, "/member");
    put(&backend, &keys[0], 0);
    put(&backend, &keys[1], 0);
    let fence = backend.0.fences.capture();
    let stored = backend
        .0
        .put(&member, fence, response_in(&[GROUP], 1, 0, 60));
    assert_eq!(stored, PutOutcome::Stored);
    for round in 0..=MAX_EXPIRATIONS as u64 {
        let expected = [60, 10, 10, 10, 10][round as usize];
        assert_eq!(lifetime(&backend, &keys[1]), Some(expected), "{round}");
        assert_eq!(lifetime(&backend, &member), Some(expected), "{round}");
        backend.0.expire(keys[0].resource(), at(10 + round));
        backend
            .0
            .groups
            .expire(&GROUP, at(10 + round), &backend.0.fences);
    }
    assert_eq!(lifetime(&backend, &keys[1]), None);
    assert_eq!(lifetime(&backend, &member), None);
}

/// Promise: members of a group are made stale, and removed by a later or earlier removal.
#[test]
fn members_of_a_group_are_made_stale() {
    let backend = MemoryBackend::default();
    let [a, b] = ["/a", "/b"].map(|path| key(&backend, path));
    let both = [GROUP, Group::from_digest(2)];
    let fill = |key: &CacheKey, groups: &[Group]| {
        let fence = backend.0.fences.capture();
        let put = backend.0.put(key, fence, response_in(groups, 1, 0, 60));
        assert_eq!(put, PutOutcome::Stored);
    };
    fill(&a, &both);
    fill(&b, &[]);
    let fences = &backend.0.fences;
    backend.0.groups.expire(&both[1], at(12), fences);
    backend.0.groups.expire(&GROUP, at(9), fences);
    assert_eq!(lifetime(&backend, &a), Some(9), "the first of both");
    assert_eq!(lifetime(&backend, &b), Some(60));
    fill(&a, &both);
    assert_eq!(lifetime(&backend, &a), Some(60));
    backend.0.groups.invalidate(&GROUP, fences);
    backend.0.groups.expire(&GROUP, at(20), fences);
    assert_eq!(lifetime(&backend, &a), None, "a removal stays one");
}

/// Promise: validators of a response that was made stale are sent; those of one that was removed,
/// or is not stored, are not.
#[test]
fn what_was_made_stale_is_still_valid() {
    let backend = MemoryBackend::default();
    let keys = siblings(&backend);
    for key in &keys {
        let fence = backend.0.fences.capture();
        let put = backend.0.put(key, fence, response_in(&[GROUP], 1, 0, 60));
        assert_eq!(put, PutOutcome::Stored);
    }
    backend.0.expire(keys[0].resource(), at(10));
    backend.0.groups.expire(&GROUP, at(11), &backend.0.fences);
    let stale = keys.map(|key| found(&backend, &key).expect("a stale response"));
    let all_valid = || {
        let valid = keys.iter().zip(&stale);
        valid
            .filter(|(key, stale)| backend.0.is_still_valid(key, stale))
            .count()
    };
    assert_eq!(all_valid(), 4);
    let other = response_in(&[GROUP], 2, 0, 60);
    assert!(!backend.0.is_still_valid(&keys[1], &other));
    backend.0.groups.invalidate(&GROUP, &backend.0.fences);
    assert_eq!(all_valid(), 0);
}

/// The number of entries and bytes is right, whatever is made stale.
#[test]
fn what_is_made_stale_is_counted() {
    let backend = MemoryBackend::default();
    let keys = siblings(&backend);
    let before = {
        put(&backend, &keys[0], 0);
        backend.usage().expect("usage")
    };
    backend.0.expire(keys[0].resource(), at(10));
    backend.0.expire_all(at(10));
    assert_eq!(backend.usage().expect("usage"), before);
    put(&backend, &keys[1], 0);
    backend.0.expire(keys[0].resource(), at(10));
    assert_eq!(
        backend.usage().expect("usage").entries,
        3,
        "and the expirations"
    );
    backend.0.expire_all(at(10));
    backend.0.clear();
    assert_eq!(backend.usage().expect("usage").bytes, 0);
    assert_eq!(lifetime(&backend, &keys[0]), None);
}
