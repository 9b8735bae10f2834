//! The models of a fill whose origin confirms the stored response.

use loom::sync::atomic::Ordering;

use super::members::MEMBERSHIP;
use super::{BEFORE, BOTH, MemoryFence, ONE, TWO, World, explore, explore_in, lock};
use crate::backend::memory::groups::MemberState;

impl World {
    /// A fill whose origin confirms the stored response, whatever has changed: a weak validator
    /// cannot tell. `keeps` decides whether it is asked to, by the fences of the lookup and of the
    /// stored response.
    fn validate(&self, keeps: impl FnOnce(MemoryFence, MemoryFence) -> bool) {
        let fence = self.capture();
        let found = *lock(&self.stored);
        let found = found.filter(|(_, since)| self.group_is_current(*since));
        let sampled = match found {
            Some((sampled, since)) if keeps(fence, since) => sampled,
            _ => self.database.load(Ordering::Relaxed),
        };
        if self.group_is_current(fence) {
            let insert = || self.set_stored(Some((sampled, fence)));
            self.fences.if_holds(&self.resource, fence, insert);
        }
    }

    /// The rule of `MemoryStore::is_still_valid`.
    fn validate_what_is_still_valid(&self) {
        self.validate(|_, since| {
            self.fences.no_removal_since(&self.resource, since)
                && self.groups.state_since(self.group.as_slice(), since) != MemberState::Removed
        });
    }

    fn validate_always(&self) {
        self.validate(|_, _| true);
    }

    /// Asks whether the fence of the fill holds, instead of that of the stored response.
    fn validate_under_the_fence_of_the_fill(&self) {
        self.validate(|fence, _| self.fences.none_since(&self.resource, fence));
    }

    /// Does not wait for an invalidation of a group that is being noted.
    fn validate_members_at_once(&self) {
        self.validate(|_, since| {
            self.fences.none_since(&self.resource, since) && self.group_is_current(since)
        });
    }
}

#[test]
fn a_validation_beside_a_write() {
    let seen = explore([World::validate_what_is_still_valid, World::write::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_validation_beside_two_writes() {
    let seen = explore([
        World::validate_what_is_still_valid,
        World::write::<ONE>,
        World::write::<TWO>,
    ]);
    assert!(seen.contains(&(BOTH, Some(BOTH))));
}

#[test]
fn a_validation_beside_a_write_that_clears() {
    let seen = explore([
        World::validate_what_is_still_valid,
        World::write_and_clear::<ONE>,
    ]);
    assert!(seen.contains(&(ONE, Some(ONE))));
}

#[test]
#[should_panic(expected = "older than an answered write")]
fn a_validation_that_does_not_ask_is_found_out() {
    explore([World::validate_always, World::write::<ONE>]);
}

#[test]
#[should_panic(expected = "older than an answered write")]
fn a_validation_under_the_fence_of_its_fill_is_found_out() {
    explore([
        World::validate_under_the_fence_of_the_fill,
        World::write::<ONE>,
    ]);
}

#[test]
fn a_members_validation_beside_a_write_that_names_its_group() {
    let beside = [
        World::validate_what_is_still_valid,
        World::write_group::<ONE>,
    ];
    let seen = explore_in(MEMBERSHIP, beside);
    for outcome in [(0, Some(BEFORE)), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
#[should_panic(expected = "older than an answered write")]
fn a_members_validation_that_does_not_wait_is_found_out() {
    let beside = [World::validate_members_at_once, World::write_group::<ONE>];
    explore_in(MEMBERSHIP, beside);
}
