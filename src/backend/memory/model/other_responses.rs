//! The models of a response in a slot of its own, which is valid under the token of the record.

use loom::sync::atomic::Ordering;

use super::{BEFORE, BOTH, ONE, Observation, TWO, World, explore_by, lock};

impl World {
    /// A fill of the other response, as [`fill`](Self::fill).
    fn fill_other(&self) {
        let fence = self.capture();
        let sampled = self.database.load(Ordering::Relaxed);
        let insert = || {
            let token = *lock(&self.record)
                .get_or_insert_with(|| self.next_token.fetch_add(1, Ordering::Relaxed));
            *lock(&self.other) = Some((sampled, token));
        };
        self.fences.if_holds(&self.resource, fence, insert);
    }

    /// A write, which removes the record and leaves the other response where it is.
    fn write_record<const WRITE: usize>(&self) {
        self.commit(WRITE);
        let remove = || *lock(&self.record) = None;
        self.fences.invalidate(&self.resource, remove);
        self.answer(WRITE);
    }

    /// A lookup of the other response: the record first, then the slot.
    fn lookup_other(&self) -> Observation {
        let answered = self.answered.load(Ordering::Acquire);
        let token = *lock(&self.record);
        let found = token.and_then(|token| {
            let other = *lock(&self.other);
            other.filter(|(_, under)| *under == token)
        });
        let found = found.map(|(sampled, _)| sampled);
        if let Some(found) = found {
            assert_eq!(found & answered, answered, "older than an answered write");
        }
        (answered, found)
    }
}

/// A response in a slot of its own is valid under the token of the record that its lookup found.
#[test]
fn a_fill_of_another_response_beside_a_write() {
    let beside = [World::fill_other, World::write_record::<ONE>];
    let seen = explore_by(World::lookup_other, None, beside);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_fill_of_another_response_beside_two_writes() {
    let beside = [
        World::fill_other,
        World::write_record::<ONE>,
        World::write_record::<TWO>,
    ];
    let seen = explore_by(World::lookup_other, None, beside);
    for outcome in [(ONE, Some(ONE)), (TWO, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}
