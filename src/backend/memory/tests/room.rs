//! Tests of what leaves the map, and what stays in it.

use super::{is_found, key, response};
use crate::backend::{Backend, MemoryBackend, PutOutcome};

const CAPACITY: u64 = 1 << 20;

fn store(backend: &MemoryBackend, path: &str, length: usize) -> PutOutcome {
    let fence = backend.0.fences.capture();
    (backend.0).put(&key(backend, path), fence, response(length, 0, 60))
}

/// Looks a response up; on a miss it is stored. Returns whether it was a hit.
fn ask(backend: &MemoryBackend, path: &str) -> bool {
    let hit = is_found(backend, &key(backend, path));
    if !hit {
        assert_eq!(store(backend, path, 100), PutOutcome::Stored);
    }
    hit
}

fn bytes(backend: &MemoryBackend) -> u64 {
    backend.usage().expect("a usage").bytes
}

fn entries(backend: &MemoryBackend) -> u64 {
    backend.usage().expect("a usage").entries
}

/// What left, by cause: for lack of room, because it had expired, and surplus variants.
fn left(backend: &MemoryBackend) -> (u64, u64, u64) {
    let usage = backend.usage().expect("a usage");
    (usage.evictions, usage.expired, usage.removed_variants)
}

#[test]
fn entries_that_leave_are_counted_by_cause() {
    let backend = MemoryBackend::new(CAPACITY);
    let at = |path: &str, seconds| super::put(&backend, &key(&backend, path), seconds);
    (0..1_000).for_each(|n| at(&format!("/{n}"), 0));
    // Replaced and invalidated ones are not counted.
    (0..1_000).for_each(|n| at(&format!("/{n}"), 1));
    backend.0.invalidate(*key(&backend, "/0").resource());
    assert_eq!(left(&backend), (0, 0, 0));
    // All have expired when these are stored.
    (0..1_000).for_each(|n| at(&format!("/later/{n}"), 100_000));
    let (evicted, expired, variants) = left(&backend);
    assert!(expired > 500 && expired < 1_000, "{expired}");
    assert_eq!((evicted, variants), (0, 0));
    let small = MemoryBackend::new(CAPACITY / 64);
    (0..1_000).for_each(|n| assert_eq!(store(&small, &format!("/{n}"), 100), PutOutcome::Stored));
    let (evicted, expired, variants) = left(&small);
    assert_eq!(
        (evicted + entries(&small), expired, variants),
        (1_000, 0, 0)
    );
}

#[test]
fn the_capacity_is_kept_and_what_was_just_stored_stays() {
    // In the small one each entry is near the one that leaves next.
    for capacity in [CAPACITY / 64, CAPACITY] {
        let backend = MemoryBackend::new(capacity);
        let largest = capacity as usize / 200;
        for n in 0..5_000 {
            // Some are new, some replace others that were used.
            let path = format!("/{}", n * 7 % 900);
            let length = n * 31 % largest;
            assert_eq!(store(&backend, &path, length), PutOutcome::Stored);
            assert!(is_found(&backend, &key(&backend, &path)), "{n}");
            assert!(bytes(&backend) <= capacity, "{n}: {}", bytes(&backend));
        }
        assert!(bytes(&backend) > capacity * 8 / 10, "{}", bytes(&backend));
    }
}

#[test]
fn after_a_clear_nothing_counts_and_there_is_as_much_room_as_before() {
    let backend = MemoryBackend::new(CAPACITY);
    let fill = || {
        for n in 0..5_000 {
            ask(&backend, &format!("/{n}"));
        }
        entries(&backend)
    };
    let before = fill();
    backend.0.clear();
    assert_eq!((entries(&backend), bytes(&backend)), (0, 0));
    assert_eq!(fill(), before);
}

#[test]
fn what_is_asked_for_often_stays_beside_a_scan() {
    let backend = MemoryBackend::new(CAPACITY);
    let often: Vec<_> = (0..500).map(|n| format!("/often/{n}")).collect();
    for _ in 0..4 {
        for path in &often {
            ask(&backend, path);
        }
    }
    for n in 0..20_000 {
        ask(&backend, &format!("/once/{n}"));
        // Each of them twice while as many come once as there is room for.
        ask(&backend, &often[n % often.len()]);
    }
    let hits = often.iter().filter(|path| ask(&backend, path)).count();

    assert!(hits >= 490, "{hits} of 500 are there");
}

#[test]
fn what_is_asked_for_twice_displaces_nothing_that_is_asked_for_more_often() {
    let backend = MemoryBackend::new(CAPACITY);
    let often: Vec<_> = (0..1_500).map(|n| format!("/often/{n}")).collect();
    let mut hits = 0;
    for n in 0..60_000 {
        hits += usize::from(ask(&backend, &often[n % often.len()]));
        if n % 4 == 0 {
            ask(&backend, &format!("/twice/{n}"));
            ask(&backend, &format!("/twice/{n}"));
        }
    }

    assert!(hits > 57_000, "{hits} of 60000 are hits");
}

/// They are evicted before their next lookup; the hashes of recently evicted keys readmit them.
#[test]
fn what_comes_back_soon_after_it_has_left_takes_the_place_of_others() {
    let backend = MemoryBackend::new(CAPACITY);
    for n in 0..10_000 {
        ask(&backend, &format!("/before/{n}"));
    }
    let mut hits = 0;
    for round in 0..10 {
        for n in 0..200 {
            hits += usize::from(ask(&backend, &format!("/again/{n}")));
            for other in 0..4 {
                ask(&backend, &format!("/once/{round}/{n}/{other}"));
            }
        }
    }

    assert!(hits > 1_000, "{hits} of 2000 are hits");
}
