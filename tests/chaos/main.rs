//! A fuzz of behaviour: clients that send anything and leave at any time, an origin that keeps to
//! no rule, and a layer with any options, over virtual time. One seed is one schedule. What must
//! hold in all of them:
//!
//! * no stale read: once a write was answered, no later request gets older content,
//! * no torn body: a body that ends cleanly is one representation whole, or exactly the part of one
//!   that was asked for, and all lengths in the head agree with it,
//! * no foreign content: it is that of the asked target, of the selected variant, and of no other
//!   user; what may not be shared reaches only the request that it was made for,
//! * the status is one that the request asks for: no 304, 206, 412 or 416 without a condition or a
//!   range; HEAD has no content,
//! * no error that the origin did not give, except those documented: 503 when too many fills wait
//!   ([`max_waiting_fills`]), 504 to `only-if-cached`, 502 when the origin insists on a 304
//!   without a condition ([`empty_request_body`]),
//! * every request has an answer within the documented timeouts,
//! * nothing panics but the origin, and in the end nothing is left behind: no flight, no task, no
//!   byte of the budget, no call, no body of the origin.
//!
//! The content itself says which representation it is a part of, and of which byte on: see
//! [`database`]. The origin may answer anything, but it marks its lies, and each of them can be
//! found out: two representations never have one strong tag.
//!
//! `CHAOS_SEEDS` is the number of seeds each test runs (default 120), `CHAOS_FROM` the first,
//! `CHAOS_STEPS` the number of requests of each client. A failing seed is run again with half the
//! steps as long as it fails, and is printed with what happened to the resource.
//! `CHAOS_FROM=<seed> CHAOS_SEEDS=1 cargo test --test chaos <name of the test>` repeats it.
//!
//! [`max_waiting_fills`]: tower_response_cache::CacheLayer::max_waiting_fills
//! [`empty_request_body`]: tower_response_cache::CacheLayer::empty_request_body

mod checks;
mod clients;
mod database;
mod origin;
mod panics;
mod plan;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod world;

use world::{Seen, Store};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs the seeds of a test. Panics with the report of the first that fails.
fn every_seed(store: Store) {
    panics::watch();
    let from = number("CHAOS_FROM").unwrap_or(0);
    let seeds = number("CHAOS_SEEDS").unwrap_or(120);
    let mut seen = Seen::default();
    for seed in from..from + seeds {
        match world::run(seed, store, number("CHAOS_STEPS")) {
            Ok(one) => seen.add(&one),
            Err(failed) => panic!("seed {seed}: {}", smallest(seed, store, failed)),
        }
    }
    println!("{seen:#?}");
    // Worlds in which nothing happens prove nothing.
    if seeds >= 100 && number("CHAOS_STEPS").is_none() {
        seen.assert_everything_happened();
    }
}

/// The report of a failing seed, with as few steps as it takes to fail when they are halved.
fn smallest(seed: u64, store: Store, mut failed: world::Failed) -> String {
    while failed.steps > 1 {
        match world::run(seed, store, Some(failed.steps / 2)) {
            Err(smaller) => failed = smaller,
            Ok(_) => break,
        }
    }
    format!("with CHAOS_STEPS={}: {}", failed.steps, failed.report)
}

#[test]
fn chaos_in_memory() {
    every_seed(Store::Memory);
}

#[test]
fn chaos_on_a_backend_that_yields() {
    every_seed(Store::Yielding);
}

#[test]
fn a_seed_is_one_schedule() {
    panics::watch();
    for seed in 0..20 {
        let drawn = || world::run(seed, Store::Yielding, Some(5)).map(|seen| seen.drawn);
        let (first, second) = (drawn(), drawn());
        assert_eq!(first.ok(), second.ok(), "seed {seed}");
    }
}
