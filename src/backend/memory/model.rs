//! A model of the fences under loom: all interleavings of fills, writes and lookups, with all
//! values that the memory orderings allow a load to see.
//!
//! The database holds the set of writes that were committed to it; a response holds the set that
//! its fill has read. A response that lacks a write which was answered before its request began
//! breaks the promise. Only the fences, and what a request sees of an answer, order anything: the
//! database itself is relaxed.
//!
//! Built with `--cfg trc_loom` only. Start at [`explore`].

mod expirations;
mod members;
mod other_responses;
mod validations;

use std::collections::BTreeSet;
use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::fence::{FENCE_STRIPES, Fences, MemoryFence};
use super::groups::GroupInvalidations;
use crate::backend::Group;
use crate::key::{DigestSeed, Resource};

/// The state that was stored before the threads started.
const BEFORE: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
const BOTH: usize = ONE | TWO;

struct World {
    fences: Fences,
    resource: Resource,
    database: AtomicUsize,
    /// The stored response, with the fence of its fill.
    stored: Mutex<Option<(usize, MemoryFence)>>,
    /// The token of the resource's record.
    record: Mutex<Option<usize>>,
    next_token: AtomicUsize,
    /// Another response of the resource, in a slot of its own, with the token it is valid under.
    other: Mutex<Option<(usize, usize)>>,
    groups: GroupInvalidations,
    /// The group of the stored response.
    group: Option<Group>,
    answered: AtomicUsize,
    turns: AtomicUsize,
}

/// The result of a lookup: the writes answered before it, and the state found.
type Observation = (usize, Option<usize>);

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
            record: Mutex::new(Some(0)),
            next_token: AtomicUsize::new(1),
            other: Mutex::new(Some((BEFORE, 0))),
            groups: GroupInvalidations::default(),
            group,
            answered: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        })
    }

    fn set_stored(&self, sampled: Option<(usize, MemoryFence)>) {
        *lock(&self.stored) = sampled;
    }

    /// Lets loom try all orders of the threads at this point, without synchronizing them.
    ///
    /// loom remembers one access per atomic and thread: a thread's own capture hides from it that
    /// the thread's bump races with another one.
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
        let insert = || self.set_stored(Some((sampled, fence)));
        self.fences.if_holds(&self.resource, fence, insert);
    }

    fn commit(&self, write: usize) -> usize {
        self.database.fetch_or(write, Ordering::Relaxed) | write
    }

    fn answer(&self, write: usize) {
        self.answered.fetch_or(write, Ordering::Release);
    }

    fn write<const WRITE: usize>(&self) {
        self.commit(WRITE);
        self.fences
            .invalidate(&self.resource, || self.set_stored(None));
        self.answer(WRITE);
    }

    fn group_is_current(&self, since: MemoryFence) -> bool {
        self.groups.none_since(self.group.as_slice(), since)
    }

    fn write_through<const WRITE: usize>(&self) {
        let fence = self.capture();
        let committed = self.commit(WRITE);
        self.turn();
        self.fences.replace(&self.resource, fence, |holds| {
            self.set_stored(None);
            if holds {
                self.set_stored(Some((committed, fence)));
            }
        });
        self.answer(WRITE);
    }

    fn write_and_clear<const WRITE: usize>(&self) {
        self.commit(WRITE);
        self.fences.clear(|| self.set_stored(None));
        self.answer(WRITE);
    }

    fn lookup(&self) -> Observation {
        let answered = self.answered.load(Ordering::Acquire);
        let found = *lock(&self.stored);
        let found = found.filter(|(_, since)| self.group_is_current(*since));
        let found = found.map(|(sampled, _)| sampled);
        if let Some(found) = found {
            assert_eq!(found & answered, answered, "older than an answered write");
        }
        (answered, found)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}

/// Runs threads beside a lookup in all interleavings, and returns everything the lookups saw.
///
/// All interleavings of three threads are too many: there, none preempts running threads more than
/// three times.
fn explore<const N: usize>(beside: [fn(&World); N]) -> BTreeSet<Observation> {
    explore_in(None, beside)
}

/// As `explore`, where the stored response is in a group.
fn explore_in<const N: usize>(
    group: Option<Group>,
    beside: [fn(&World); N],
) -> BTreeSet<Observation> {
    explore_by(World::lookup, group, beside)
}

/// As `explore_in`, by another lookup.
fn explore_by<const N: usize>(
    lookup: fn(&World) -> Observation,
    group: Option<Group>,
    beside: [fn(&World); N],
) -> BTreeSet<Observation> {
    // A mutex of std, which loom does not model: it outlives the interleavings.
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let outcomes = seen.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (N > 2).then_some(3);
    model.check(move || {
        let world = World::new(group);
        let threads = beside.map(|step| {
            let world = world.clone();
            thread::spawn(move || step(&world))
        });
        let early = lookup(&world);
        for thread in threads {
            thread.join().expect("no thread panics");
        }
        let late = lookup(&world);
        let mut seen = outcomes
            .lock()
            .expect("no thread panics while it holds this lock");
        seen.extend([early, late]);
    });
    std::mem::take(
        &mut seen
            .lock()
            .expect("no thread panics while it holds this lock"),
    )
}

#[test]
fn a_fill_beside_a_write() {
    let seen = explore([World::fill, World::write::<ONE>]);
    for outcome in [(0, Some(BEFORE)), (0, None), (ONE, None), (ONE, Some(ONE))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

#[test]
fn a_fill_beside_two_writes() {
    let seen = explore([World::fill, World::write::<ONE>, World::write::<TWO>]);
    for outcome in [(ONE, Some(ONE)), (TWO, None), (BOTH, Some(BOTH))] {
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}

/// The invalidations of all stripes are numbered by one counter.
#[test]
fn a_fill_beside_a_write_and_one_of_another_stripe() {
    fn elsewhere(world: &World) {
        let stripe = |resource: &Resource| resource.digest() as usize % FENCE_STRIPES;
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
        assert!(seen.contains(&outcome), "{outcome:?} must be possible");
    }
}
