//! Many small worlds, each made from a seed: several clients, writers, a slow and failing origin,
//! futures dropped at any poll, evictions, over virtual time. One seed is one schedule. What must
//! hold in all of them:
//!
//! * no answer is older than the version promised before its request began,
//! * one call per key and generation, where nothing but a write can have made another one
//!   necessary,
//! * no request waits for ever, nothing is left behind: no flight, no task, no byte,
//! * every body is what its call sent, byte for byte, or visibly broken,
//! * no client gets another key's, variant's or owner's answer, and equivalent requests are one
//!   variant,
//! * a request with cookies or credentials, whose answer is its client's own, makes no call
//!   necessary for those of another kind,
//! * a write that names a group is a write of all its members, and a write of a path is one of all
//!   its spellings, under every name of its host,
//! * a write that was rejected costs nothing, also if its client left before,
//! * a write whose outcome is unknown is visible to every later request once it is committed, if
//!   that happens within the grace period and its client has an answer,
//! * a job that changes the database beside the cache, and has it invalidate the resource or its
//!   group, or make it stale, is as good as a write,
//! * in the end the cache answers what the database holds.
//!
//! Worlds of two instances share one backend; the second promise holds for each instance there. A
//! backend that fails, or loses data, makes calls necessary at any time, and a write that it did
//! not acknowledge is promised at its own instance only. Its failures have no other effect, and in
//! the end all pending invalidations are delivered. While it is away altogether, two calls for one
//! key at most are under way at once.
//!
//! The origin may have validators of one second's grain, and replicas that lag: see `source`.
//!
//! `SIMULATION_SEEDS` is the number of seeds each test runs (default 500, 200 for the
//! larger worlds), `SIMULATION_FROM` the first. A failing seed is printed; `SIMULATION_FROM=<seed>
//! SIMULATION_SEEDS=1 cargo test --test simulation <name of the test>` repeats it. Not so where a
//! backend fails, whose guard has a chance of its own, and on a real Redis, which takes as long as
//! it takes: there it repeats what happens, but not when.

mod client;
mod history;
mod jobs;
mod plan;
mod source;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::panic::resume_unwind;

use support::{luck, names};

use stores::{Kind, Store};
use world::Seen;

/// Names the seed when the test unwinds.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

fn every_seed(is_stormy: bool, store: Store, instances: usize) {
    every_seed_of(Kind {
        is_stormy,
        ..Kind::calm(store, instances)
    });
}

/// Worlds in which writes meet validations.
fn every_narrow_seed(store: Store, instances: usize) {
    every_seed_of(Kind {
        is_stormy: true,
        is_narrow: true,
        ..Kind::calm(store, instances)
    });
}

fn every_seed_of(kind: Kind) {
    let Kind {
        is_stormy,
        store,
        instances,
        ..
    } = kind;
    let is_basic =
        instances == 1 && !kind.is_narrow && matches!(store, Store::Memory | Store::Dawdling);
    let seen = each(if is_basic { 500 } else { 200 }, |seed| {
        stores::run(seed, kind).0
    });
    println!("{seen:?}");
    assert!(is_alone() || seen.validations > 0 || !is_stormy, "{seen:?}");
    if matches!(store, Store::Flaky) && !is_alone() {
        assert!(seen.failures > 0 && seen.replayed > 0, "{seen:?}");
    }
}

/// The stack of the thread that runs a test's worlds. Unoptimised, the futures of a world with
/// several backends in each other take more than the 2 MiB of a test's own thread.
const STACK: usize = 8 << 20;

/// Runs a test's seeds, as many as that unless told otherwise.
fn each(seeds: u64, run: impl Fn(u64) -> Seen + Sync) -> Seen {
    let from = number("SIMULATION_FROM", 0);
    let seeds = from..from + number("SIMULATION_SEEDS", seeds);
    let all = || {
        let seen = seeds.map(|seed| {
            let _told = Told(seed);
            run(seed)
        });
        seen.sum()
    };
    let seen: Seen = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK);
        let thread = builder.spawn_scoped(scope, all).expect("a thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    assert!(is_alone() || seen.hits > 0 && seen.stores > 0, "{seen:?}");
    seen
}

/// Whether it is one seed that is repeated, in which not everything happens.
fn is_alone() -> bool {
    number("SIMULATION_SEEDS", 100) < 20
}

#[test]
fn calm_worlds_in_memory() {
    every_seed(false, Store::Memory, 1);
}

#[test]
fn calm_worlds_on_a_backend_that_dawdles() {
    every_seed(false, Store::Dawdling, 1);
}

#[test]
fn stormy_worlds_in_memory() {
    every_seed(true, Store::Memory, 1);
}

#[test]
fn stormy_worlds_on_a_backend_that_dawdles() {
    every_seed(true, Store::Dawdling, 1);
}

#[test]
fn validations_beside_writes_in_memory() {
    every_narrow_seed(Store::Memory, 1);
}

#[test]
fn validations_beside_writes_on_a_backend_of_two_steps() {
    every_narrow_seed(Store::TwoSteps, 1);
}

#[test]
fn validations_beside_writes_on_a_backend_of_one_step() {
    every_narrow_seed(Store::OneStep, 1);
}

#[test]
fn validations_beside_writes_of_two_instances() {
    every_narrow_seed(Store::Dawdling, 2);
}

#[test]
fn writes_of_unknown_outcome_at_two_instances() {
    every_seed_of(Kind {
        is_unsure: true,
        ..Kind::calm(Store::Dawdling, 2)
    });
}

/// A request that is refused costs those of other kinds no call, whatever its kind.
#[test]
fn calm_worlds_of_several_kinds_of_requests() {
    for store in [Store::Memory, Store::Dawdling] {
        every_seed_of(Kind {
            has_kinds: true,
            ..Kind::calm(store, 1)
        });
    }
}

#[test]
fn stormy_worlds_of_several_kinds_of_requests() {
    every_seed_of(Kind {
        is_stormy: true,
        has_kinds: true,
        ..Kind::calm(Store::Dawdling, 2)
    });
}

/// With QUERYs, groups said by a function, partitions of clients, and jobs that expire.
#[test]
fn extended_worlds_in_memory() {
    for store in [Store::Memory, Store::Dawdling] {
        every_seed_of(Kind {
            is_extended: true,
            ..Kind::calm(store, 1)
        });
    }
}

#[test]
fn extended_worlds_of_two_instances() {
    every_seed_of(Kind {
        is_extended: true,
        ..Kind::calm(Store::Dawdling, 2)
    });
}

#[test]
fn writes_whose_clients_leave_in_memory() {
    every_seed_of(Kind {
        writers_leave: true,
        ..Kind::calm(Store::Memory, 1)
    });
}

#[test]
fn writes_whose_clients_leave_on_a_backend_that_dawdles() {
    every_seed_of(Kind {
        writers_leave: true,
        ..Kind::calm(Store::Dawdling, 1)
    });
}

#[test]
fn stormy_worlds_on_a_backend_of_two_steps() {
    every_seed(true, Store::TwoSteps, 1);
}

#[test]
fn worlds_of_two_instances_on_a_backend_of_two_steps() {
    every_seed(false, Store::TwoSteps, 2);
}

#[test]
fn calm_worlds_of_two_instances_in_memory() {
    every_seed(false, Store::Memory, 2);
}

#[test]
fn calm_worlds_of_two_instances_on_a_backend_that_dawdles() {
    every_seed(false, Store::Dawdling, 2);
}

#[test]
fn stormy_worlds_of_two_instances_in_memory() {
    every_seed(true, Store::Memory, 2);
}

#[test]
fn stormy_worlds_of_two_instances_on_a_backend_that_dawdles() {
    every_seed(true, Store::Dawdling, 2);
}

#[test]
fn calm_worlds_on_a_backend_that_fails() {
    every_seed(false, Store::Flaky, 1);
}

#[test]
fn stormy_worlds_on_a_backend_that_fails() {
    every_seed(true, Store::Flaky, 1);
}

#[test]
fn worlds_of_two_instances_on_a_backend_that_fails() {
    every_seed(false, Store::Flaky, 2);
}

#[test]
fn a_seed_is_one_schedule() {
    for seed in 0..50 {
        let _told = Told(seed);
        for (is_stormy, store, instances) in [
            (false, Store::Dawdling, 1),
            (true, Store::Memory, 1),
            (true, Store::Dawdling, 2),
        ] {
            let kind = Kind {
                is_stormy,
                ..Kind::calm(store, instances)
            };
            assert_eq!(stores::run(seed, kind).1, stores::run(seed, kind).1);
        }
    }
}

#[cfg(feature = "redis")]
mod on_redis {
    use crate::stores::on_a_server::{Kind, Server};
    use crate::{each, is_alone};

    fn every_seed(seeds: u64, kind: Kind) {
        let server = Server::start();
        let seen = each(seeds, |seed| server.run(seed, kind));
        println!("{seen:?}");
        assert!(!kind.cuts || is_alone() || seen.failures > 0, "{seen:?}");
    }

    #[test]
    fn calm_worlds() {
        every_seed(80, Kind::default());
    }

    #[test]
    fn stormy_worlds_of_two_instances() {
        let kind = Kind {
            is_stormy: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn worlds_of_two_instances_from_which_keys_vanish() {
        let kind = Kind {
            evicts: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn writes_of_unknown_outcome_at_two_instances() {
        let kind = Kind {
            is_unsure: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn extended_worlds_of_two_instances() {
        let kind = Kind {
            is_extended: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn validations_beside_writes_of_two_instances() {
        let kind = Kind {
            is_narrow: true,
            is_stormy: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn worlds_whose_connections_are_lost() {
        let kind = Kind {
            cuts: true,
            ..Kind::default()
        };
        every_seed(80, kind);
    }

    #[test]
    fn stormy_worlds_of_two_instances_with_all_failures() {
        let kind = Kind {
            is_stormy: true,
            evicts: true,
            cuts: true,
            instances: 2,
            ..Kind::default()
        };
        every_seed(80, kind);
    }
}
