//! Tests of the slots of a resource's responses.

use super::{is_found, key, put, siblings};
use crate::backend::memory::entry::{MemoryEntry, Slot, Tag};
use crate::backend::memory::evicted::EvictedEntries;
use crate::backend::{Backend, MemoryBackend};
use crate::key::CacheKey;

fn entries(backend: &MemoryBackend) -> u64 {
    backend.usage().expect("a usage").entries
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
        // A put looks for what has expired at a few places: all there are in this one shard.
        put(backend, &siblings(backend)[3], 100);
    };
    for end in [&remove as &dyn Fn(&MemoryBackend, &CacheKey), &expire] {
        let backend = MemoryBackend::new(100_000);
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
    let (slot, foreign) = (Slot::own(&second), key(&backend, "/b"));
    let read = |entry: &MemoryEntry| (entry.token(), entry.content.clone());
    let (token, content) = backend.0.entries.peek(slot, read).expect("an entry");
    let colliding = MemoryEntry::new(slot, Tag::new(&foreign), token, content);
    let mut evicted = EvictedEntries::default();
    backend.0.entries.insert(colliding, 0, &mut evicted);
    assert!(!is_found(&backend, &second));
    assert!(is_found(&backend, &first));
    assert!(backend.0.remove(&second, backend.0.fences.capture()));
    assert!(
        backend.0.entries.peek(slot, |_| ()).is_some(),
        "it is another key's"
    );
}
