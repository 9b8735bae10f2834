//! Many small worlds, each made from a seed: several clients, writers, a slow and failing origin, futures dropped at any
//! poll, evictions, over virtual time. One seed is one schedule. What must hold in all of them:
//!
//! * no answer is older than what was promised before its request began (P1),
//! * one call per key and generation, where nothing but a write can have made another one necessary (P2),
//! * nobody waits for ever, nothing is left behind: no flight, no task, no byte,
//! * every body is what its call sent, byte for byte, or visibly broken,
//! * nobody gets another key's, variant's or owner's answer,
//! * in the end the cache answers what the database holds.
//!
//! `SIMULATION_SEEDS` is the number of seeds each test runs (default 6,000), `SIMULATION_FROM` the first. A failing seed is
//! printed; `SIMULATION_FROM=<seed> SIMULATION_SEEDS=1 cargo test --test simulation <name of the test>` repeats it.

mod client;
mod dawdling;
mod history;
mod luck;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod world;

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

fn every_seed(is_stormy: bool, dawdles: bool) {
    let from = number("SIMULATION_FROM", 0);
    for seed in from..from + number("SIMULATION_SEEDS", 6_000) {
        let _told = Told(seed);
        world::run(seed, is_stormy, dawdles);
    }
}

#[test]
fn calm_worlds_in_memory() {
    every_seed(false, false);
}

#[test]
fn calm_worlds_on_a_backend_that_dawdles() {
    every_seed(false, true);
}

#[test]
fn stormy_worlds_in_memory() {
    every_seed(true, false);
}

#[test]
fn stormy_worlds_on_a_backend_that_dawdles() {
    every_seed(true, true);
}

#[test]
fn a_seed_is_one_schedule() {
    for seed in 0..50 {
        let _told = Told(seed);
        for (is_stormy, dawdles) in [(false, true), (true, false), (true, true)] {
            let once = world::run(seed, is_stormy, dawdles);
            assert_eq!(once, world::run(seed, is_stormy, dawdles));
        }
    }
}
