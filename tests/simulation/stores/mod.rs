//! What worlds are built on: backends in memory that answer at once, dawdle, or fail.

mod dawdling;
mod flaky;
mod grace;
#[cfg(feature = "redis")]
mod held;
#[cfg(feature = "redis")]
pub mod on_a_server;
mod two_steps;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tower_response_cache::backend::{Guarded, MemoryBackend};
use tower_response_cache::key::DigestSeed;

use self::dawdling::dawdling;
use self::flaky::{Flaky, LIMIT};
use self::grace::WithGrace;
use self::two_steps::TwoSteps;
use crate::luck::Luck;
use crate::plan::Plan;
use crate::world::{Seen, World};

/// A kind of world.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub is_stormy: bool,
    /// See [`Plan::narrow`].
    pub is_narrow: bool,
    /// See [`Plan::has_kinds`].
    pub has_kinds: bool,
    /// See [`Plan::extend`].
    pub is_extended: bool,
    /// See [`Plan::doubt`].
    pub is_unsure: bool,
    /// See [`Plan::leave`].
    pub writers_leave: bool,
    pub store: Store,
    /// Caches that share it.
    pub instances: usize,
}

impl Kind {
    pub fn calm(store: Store, instances: usize) -> Self {
        Self {
            is_stormy: false,
            is_narrow: false,
            has_kinds: false,
            is_extended: false,
            is_unsure: false,
            writers_leave: false,
            store,
            instances,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Store {
    Memory,
    Dawdling,
    /// One whose lookups and invalidations take two steps.
    TwoSteps,
    /// One whose lookups take one step.
    OneStep,
    /// One that fails, guarded.
    Flaky,
}

/// Runs one seed; returns the outcome, and the number of random decisions, which tells runs apart.
pub fn run(seed: u64, kind: Kind) -> (Seen, u64) {
    let luck = Luck::new(seed);
    let loses = matches!(kind.store, Store::Flaky);
    let mut plan = Plan::of(&luck, kind.is_stormy, loses);
    if kind.is_narrow {
        plan.narrow(&luck);
    }
    plan.has_kinds = kind.has_kinds;
    if kind.is_extended {
        plan.extend(&luck);
    }
    if kind.is_unsure {
        plan.doubt(&luck);
    }
    if kind.writers_leave {
        plan.leave(&luck);
    }
    plan.is_away = loses && luck.chance(15);
    let capacity = if kind.is_stormy {
        luck.pick(&[24 << 10, 1 << 20])
    } else {
        32 << 20
    };
    // With these digests no two resources share a number of invalidations: that would cost a call.
    let digests = DigestSeed::new([seed as u8 % 16; 16]);
    let memory = MemoryBackend::builder()
        .capacity(capacity)
        .max_response_size(4096)
        .seed(digests)
        .build();
    let memory = WithGrace::on(memory, kind.instances > 1);
    let instances = 0..kind.instances;
    let drawn = luck.clone();
    let seen = runtime().block_on(async {
        match kind.store {
            Store::Memory => {
                let backends = instances.map(|_| memory.clone());
                World::new(plan, backends, luck).ends_in_time().await
            }
            Store::Dawdling => {
                let dawdling = dawdling(memory, &luck);
                let backends = instances.map(|_| dawdling.clone());
                World::new(plan, backends, luck).ends_in_time().await
            }
            Store::TwoSteps | Store::OneStep => {
                let compares = matches!(kind.store, Store::OneStep);
                let steps = TwoSteps::new(compares, luck.clone());
                let steps = WithGrace::on(steps, kind.instances > 1);
                let backends = instances.map(|_| steps.clone());
                World::new(plan, backends, luck).ends_in_time().await
            }
            Store::Flaky => {
                let flaky = Flaky::new(memory, luck.clone(), plan.is_away);
                let backends = instances.map(|_| guarded(flaky.clone(), &luck));
                let backends: Vec<_> = backends.collect();
                let mut world = World::new(plan, backends, luck);
                world.settles = Box::new(move || flaky.behaves());
                world.ends_in_time().await
            }
        }
    });
    (seen, drawn.drawn())
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// With limits that are met.
fn guarded(flaky: Flaky, luck: &Luck) -> Guarded<Flaky> {
    let pause = Duration::from_millis(luck.pick(&[0, 20, 100]));
    Guarded::new(flaky)
        .lookup_deadline(LIMIT)
        .invalidation_deadline(LIMIT)
        .store_deadline(LIMIT * 2)
        .failure_threshold(0.5)
        .min_samples(luck.pick(&[2, 4, 1000]))
        .half_open_after(pause)
        .max_half_open_delay(pause * 2)
        .max_undelivered(luck.pick(&[1, 16]))
}
