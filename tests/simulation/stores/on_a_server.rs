//! Worlds on a real Redis, over virtual time: from which keys vanish, and whose connections are
//! lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tower_response_cache::backend::Guarded;
use tower_response_cache::backend::redis::RedisOptions;

use super::dawdling::{Dawdling, dawdling};
use super::held::{Held, held, standing_still};
use crate::luck::Luck;
use crate::plan::Plan;
use crate::support::redis::{RedisServer, Tap};
use crate::world::{Actor, Seen, World};

/// A kind of world.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub is_stormy: bool,
    /// See [`Plan::narrow`].
    pub is_narrow: bool,
    /// See [`Plan::extend`].
    pub is_extended: bool,
    /// See [`Plan::doubt`].
    pub is_unsure: bool,
    pub evicts: bool,
    pub cuts: bool,
    /// Caches that share it.
    pub instances: usize,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            is_stormy: false,
            is_narrow: false,
            is_extended: false,
            is_unsure: false,
            evicts: false,
            cuts: false,
            instances: 1,
        }
    }
}

/// One for all worlds, each of which has a namespace of its own.
pub struct Server {
    redis: Arc<RedisServer>,
    /// Where it was started.
    runtime: Runtime,
}

impl Server {
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let redis = Arc::new(runtime.block_on(RedisServer::start()));
        Self { redis, runtime }
    }

    pub fn run(&self, seed: u64, kind: Kind) -> Seen {
        let luck = Luck::new(seed);
        // An instance that shares a server cannot know which data it loses.
        let mut plan = Plan::of(&luck, kind.is_stormy, true);
        if kind.is_narrow {
            plan.narrow(&luck);
        }
        if kind.is_extended {
            plan.extend(&luck);
        }
        if kind.is_unsure {
            plan.doubt(&luck);
        }
        // A server that evicts the tombstone of a write cannot keep its late commit from doing
        // harm.
        plan.is_unsure &= !kind.evicts;
        // On the server's clock, which virtual time does not move.
        plan.grace = 60_000;
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let seen = runtime.expect("a runtime").block_on(async {
            let tap = Tap::to(self.redis.port()).await;
            let namespace = format!("world-{seed}");
            let backends = (0..kind.instances).map(|_| backend(&tap, &namespace, &luck));
            let backends: Vec<_> = backends.collect();
            let mut world = World::new(plan, backends, luck.clone());
            if kind.evicts {
                let evicts = evicts(self.redis.clone(), namespace, luck.clone());
                world.events.push(evicts);
            }
            if kind.cuts {
                world.events.push(cuts(tap.clone(), luck.clone()));
            }
            world.settles = Box::new(move || tap.pass());
            world.ends_in_time().await
        });
        self.runtime.block_on(self.redis.command(&["FLUSHALL"]));
        assert!(kind.cuts || seen.failures == 0, "failures out of nowhere");
        seen
    }
}

/// With limits that virtual time does not meet by itself.
fn backend(tap: &Tap, namespace: &str, luck: &Arc<Luck>) -> Guarded<Dawdling<Held>> {
    const LONG: Duration = Duration::from_secs(1_000_000);
    let options = RedisOptions::new(&tap.url()).expect("a URL");
    let options = options.try_namespace(namespace).expect("a namespace");
    let options = options.max_connections(luck.pick(&[1, 2, 3]));
    let redis = options.connect_timeout(LONG).response_timeout(LONG).build();
    let pause = Duration::from_millis(luck.pick(&[0, 20, 100]));
    Guarded::new(dawdling(held(redis), luck))
        .failure_threshold(0.5)
        .min_samples(luck.pick(&[2, 1000]))
        .half_open_after(pause)
        .max_half_open_delay(pause * 2)
}

/// Deletes now a lease, now an entry, now all there is.
fn evicts(redis: Arc<RedisServer>, namespace: String, luck: Arc<Luck>) -> Actor {
    Box::pin(async move {
        for _ in 0..luck.below(8) {
            luck.pause(50).await;
            let pattern = format!("{namespace}:*");
            let names = standing_still(redis.command(&["KEYS", &pattern])).await;
            let names: BTreeSet<_> = names.array().iter().map(|name| name.text()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let command = match names.len() {
                0 => continue,
                _ if luck.chance(10) => vec!["FLUSHALL"],
                _ => vec!["DEL", luck.pick(&names)],
            };
            standing_still(redis.command(&command)).await;
        }
    })
}

/// Cuts connections, and refuses new ones for a while.
fn cuts(tap: Tap, luck: Arc<Luck>) -> Actor {
    Box::pin(async move {
        for _ in 0..luck.below(6) {
            luck.pause(50).await;
            tap.cut();
            if luck.chance(50) {
                tap.refuse();
                luck.pause(100).await;
                tap.pass();
            }
        }
    })
}
