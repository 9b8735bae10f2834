//! The fence under loom: every interleaving of fills, writes and lookups, every value the orderings let a load see.
//!
//! The database holds the set of writes that were committed to it, a response the set it was sampled from. An answer that
//! lacks a write which was yielded when its request began breaks the promise. All that orders is the fence and what a
//! request sees of a yield: the database itself is relaxed.

use std::collections::BTreeSet;
use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::fence::{Fences, MemoryFence, STRIPES};
use super::groups::Groups;
use crate::backend::{DigestSeed, Group, Resource};

/// What was stored before anybody came.
const BEFORE: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
const BOTH: usize = ONE | TWO;

struct World {
    fences: Fences,
    resource: Resource,
    database: AtomicUsize,
    /// With the fence it was fetched under.
    stored: Mutex<Option<(usize, MemoryFence)>>,
    groups: Groups,
    /// What is stored is in this one, if it is in any.
    group: Option<Group>,
    yielded: AtomicUsize,
    turns: AtomicUsize,
}

/// What one interleaving came to: the writes a lookup knew of, and what it found.
type Seen = (usize, Option<usize>);

fn resource(path: &str) -> Resource {
    Resource::new(&DigestSeed::default(), "", "test.example", path)
}

impl World {
    fn new(group: Option<Group>) -> Arc<Self> {
        let fences = Fences::default();
        let before = (BEFORE, fences.capture());
        Arc::new(Self {
            fences,
            resource: resource("/a"),
            database: AtomicUsize::new(BEFORE),
            stored: Mutex::new(Some(before)),
            groups: Groups::default(),
            group,
            yielded: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        })
    }

    fn keep(&self, sampled: Option<(usize, MemoryFence)>) {
        *self.stored.lock().expect("nobody panics in here") = sampled;
    }

    /// loom remembers one access of an atomic: a capture of one's own hides from it that one's bump races with that of
    /// another. Of this, which synchronizes nothing, it tries every order.
    fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn capture(&self) -> MemoryFence {
        self.turn();
        self.fences.capture()
    }

    fn fill(&self) {
        let fence = self.capture();
        let sampled = self.database.load(Ordering::Relaxed);
        let insert = || self.keep(Some((sampled, fence)));
        self.fences.store(&self.resource, fence, insert);
    }

    fn commit(&self, write: usize) -> usize {
        self.database.fetch_or(write, Ordering::Relaxed) | write
    }

    fn answer(&self, write: usize) {
        self.yielded.fetch_or(write, Ordering::Release);
    }

    fn write<const WRITE: usize>(&self) {
        self.commit(WRITE);
        self.fences.invalidate(&self.resource, || self.keep(None));
        self.answer(WRITE);
    }

    /// A write elsewhere, whose answer names the group.
    fn write_group<const WRITE: usize>(&self) {
        self.commit(WRITE);
        let group = self.group.expect("the model's");
        self.groups.invalidate(&group, &self.fences);
        self.answer(WRITE);
    }

    /// A fill that knows its groups only when it has its answer.
    fn fill_member(&self) {
        let fence = self.capture();
        let sampled = self.database.load(Ordering::Relaxed);
        if self.holds(fence) {
            let insert = || self.keep(Some((sampled, fence)));
            self.fences.store(&self.resource, fence, insert);
        }
    }

    fn holds(&self, since: MemoryFence) -> bool {
        self.groups.hold(self.group.as_slice(), since)
    }

    fn write_through<const WRITE: usize>(&self) {
        let fence = self.capture();
        let committed = self.commit(WRITE);
        self.turn();
        self.fences.replace(&self.resource, fence, |held| {
            self.keep(None);
            if held {
                self.keep(Some((committed, fence)));
            }
        });
        self.answer(WRITE);
    }

    fn write_and_clear<const WRITE: usize>(&self) {
        self.commit(WRITE);
        self.fences.clear(|| self.keep(None));
        self.answer(WRITE);
    }

    fn look(&self) -> Seen {
        let yielded = self.yielded.load(Ordering::Acquire);
        let found = *self.stored.lock().expect("nobody panics in here");
        let found = found.filter(|(_, since)| self.holds(*since));
        let found = found.map(|(sampled, _)| sampled);
        if let Some(found) = found {
            assert_eq!(found & yielded, yielded, "older than what was yielded");
        }
        (yielded, found)
    }
}

/// Runs these side by side with a lookup, in every interleaving, and tells what the lookups saw.
///
/// Three are too many for all of theirs: there no interleaving takes the turn from a running thread more than thrice.
fn explore<const N: usize>(beside: [fn(&World); N]) -> BTreeSet<Seen> {
    explore_in(None, beside)
}

/// The same where what is stored is in a group.
fn explore_in<const N: usize>(group: Option<Group>, beside: [fn(&World); N]) -> BTreeSet<Seen> {
    // std's, which loom does not look at: it outlives every interleaving.
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let outcomes = seen.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (N > 2).then_some(3);
    model.check(move || {
        let world = World::new(group);
        let threads = beside.map(|part| {
            let world = world.clone();
            thread::spawn(move || part(&world))
        });
        let early = world.look();
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        let late = world.look();
        let mut seen = outcomes.lock().expect("nobody panics in here");
        seen.extend([early, late]);
    });
    std::mem::take(&mut seen.lock().expect("nobody panics in here"))
}

#[test]
fn a_fill_beside_a_write() {
    let seen = explore([World::fill, World::write::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} is to be possible");
    }
}

#[test]
fn a_fill_beside_two_writes() {
    let seen = explore([World::fill, World::write::<ONE>, World::write::<TWO>]);
    for outcome in [(ONE, Some(ONE)), (TWO, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} is to be possible");
    }
}

/// Its numbers run through the same counter.
#[test]
fn a_fill_beside_a_write_and_one_of_another_stripe() {
    fn elsewhere(world: &World) {
        let stripe = |resource: &Resource| resource.digest() as usize % STRIPES;
        let mut others = ["/b", "/c", "/d", "/e"].map(resource).into_iter();
        let other = others.find(|other| stripe(other) != stripe(&world.resource));
        let other = other.expect("one of them is of the other stripe");
        world.fences.invalidate(&other, || ());
    }
    let seen = explore([World::fill, World::write::<ONE>, elsewhere]);
    assert!(seen.contains(&(ONE, Some(ONE))));
}

#[test]
fn a_fill_beside_a_write_that_clears() {
    let seen = explore([World::fill, World::write_and_clear::<ONE>]);
    assert!(seen.contains(&(ONE, Some(ONE))));
}

#[test]
fn a_fill_beside_a_write_through() {
    let seen = explore([World::fill, World::write_through::<ONE>]);
    assert!(seen.contains(&(ONE, Some(ONE))));
}

#[test]
fn two_writes_through() {
    let seen = explore([World::write_through::<ONE>, World::write_through::<TWO>]);
    for outcome in [(ONE, Some(ONE)), (BOTH, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} is to be possible");
    }
}

const MEMBERSHIP: Option<Group> = Some(Group::from_digest(1));

#[test]
fn a_members_fill_beside_a_write_that_names_its_group() {
    let seen = explore_in(MEMBERSHIP, [World::fill_member, World::write_group::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} is to be possible");
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
        assert!(seen.contains(&outcome), "{outcome:?} is to be possible");
    }
}
