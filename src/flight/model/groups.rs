//! Models of flights whose responses are in a group, beside writes that name it.

use std::slice;

use loom::sync::atomic::Ordering;

use super::{CacheModel, Pending, WRITE_1, WRITE_2, explore, ready};
use crate::backend::{Backend, Group, InvalidationTarget, MemoryFence};

/// The group of all responses.
const GROUP: Group = Group::from_digest(1);

impl CacheModel {
    /// A write to another resource, whose answer names the group.
    fn write_group<const WRITE: usize>(&self) -> Option<Pending> {
        self.database.fetch_or(WRITE, Ordering::Relaxed);
        let target = InvalidationTarget::Group(GROUP);
        ready(self.backend.invalidate(&target)).expect("memory answers");
        self.yielded.fetch_or(WRITE, Ordering::Release);
        None
    }

    /// Whether a follower may share a response, once its groups are known.
    pub(super) fn may_share(&self, flight: Option<MemoryFence>, own: Option<MemoryFence>) -> bool {
        let groups = slice::from_ref(&GROUP);
        let is_current = |(flight, own)| self.backend.has_current_groups(groups, &flight, &own);
        flight.zip(own).is_none_or(is_current)
    }
}

#[test]
fn two_requests_beside_a_write_that_names_their_group() {
    explore([CacheModel::request, CacheModel::write_group::<WRITE_1>]);
}

#[test]
fn two_requests_beside_a_write_that_names_their_group_and_one_of_theirs() {
    explore([
        CacheModel::request,
        CacheModel::write_group::<WRITE_1>,
        CacheModel::write::<WRITE_2>,
    ]);
}
