//! The models of a response in a group.

use loom::sync::atomic::Ordering;

use super::{BEFORE, BOTH, ONE, TWO, World, explore_in};
use crate::backend::Group;

pub(super) const MEMBERSHIP: Option<Group> = Some(Group::from_digest(1));

impl World {
    /// A write to another resource, whose answer names the group.
    pub(super) fn write_group<const WRITE: usize>(&self) {
        self.commit(WRITE);
        let group = self.group.expect("this model has a group");
        self.groups.invalidate(&group, &self.fences);
        self.answer(WRITE);
    }

    /// A fill that learns its groups from its response.
    pub(super) fn fill_member(&self) {
        let fence = self.capture();
        let sampled = self.database.load(Ordering::Relaxed);
        if self.group_is_current(fence) {
            let insert = || self.set_stored(Some((sampled, fence)));
            self.fences.if_holds(&self.resource, fence, insert);
        }
    }
}

#[test]
fn a_members_fill_beside_a_write_that_names_its_group() {
    let seen = explore_in(MEMBERSHIP, [World::fill_member, World::write_group::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_members_fill_beside_two_writes_that_name_its_group() {
    let beside = [
        World::fill_member,
        World::write_group::<ONE>,
        World::write_group::<TWO>,
    ];
    let seen = explore_in(MEMBERSHIP, beside);
    for outcome in [(ONE, Some(ONE)), (TWO, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}
