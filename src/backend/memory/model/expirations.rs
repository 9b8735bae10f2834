//! The models of responses that are made stale.

use std::time::{Duration, SystemTime};

use loom::sync::atomic::Ordering;

use super::members::MEMBERSHIP;
use super::{BEFORE, BOTH, ONE, Observation, TWO, World, explore, explore_by, lock};
use crate::backend::memory::groups::MemberState;
use crate::semantics::moment::Moment;

impl World {
    /// A change of the data by the application, which makes the resource stale and then goes on.
    fn change_and_expire<const CHANGE: usize>(&self) {
        self.commit(CHANGE);
        // A stale response is none that `lookup` may find.
        self.fences.expire(&self.resource, || self.set_stored(None));
        self.answer(CHANGE);
    }

    fn change_and_expire_group<const CHANGE: usize>(&self) {
        self.commit(CHANGE);
        let group = self.group.expect("this model has a group");
        let now = Moment::new(Duration::ZERO, SystemTime::UNIX_EPOCH);
        self.groups.expire(&group, now, &self.fences);
        self.answer(CHANGE);
    }

    /// A lookup that takes stale members, too, and judges only those that are fresh.
    fn lookup_member(&self) -> Observation {
        let answered = self.answered.load(Ordering::Acquire);
        let found = *lock(&self.stored);
        let (sampled, since) = found.expect("no model of this lookup removes it");
        if self.group_is_current(since) {
            assert_eq!(sampled & answered, answered, "older, and fresh");
            return (answered, Some(sampled));
        }
        match self.groups.state_since(self.group.as_slice(), since) {
            MemberState::Expired(_) => (answered, None),
            state => panic!("it was made stale, and is {state:?}"),
        }
    }
}

#[test]
fn a_fill_beside_an_expiration() {
    let seen = explore([World::fill, World::change_and_expire::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_fill_beside_an_expiration_and_a_write() {
    let beside = [
        World::fill,
        World::change_and_expire::<ONE>,
        World::write::<TWO>,
    ];
    let seen = explore(beside);
    for outcome in [(ONE, Some(ONE)), (BOTH, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_members_fill_beside_an_expiration_of_its_group() {
    let beside = [World::fill_member, World::change_and_expire_group::<ONE>];
    let seen = explore_by(World::lookup_member, MEMBERSHIP, beside);
    for outcome in [(0, Some(BEFORE)), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}
