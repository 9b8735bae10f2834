//! Redis for the tests: real servers that can be killed, stopped and restarted, a wire that can be
//! cut, and a server that says whatever a test wants.
//!
//! Everything listens on loopback and needs tokio alone, no client of Redis. A test file takes it
//! by `#[path = "support/redis/mod.rs"] mod redis;` or as a module of `support`.
//! `tests/redis/servers` shows that it works.
#![allow(dead_code, reason = "every test file uses its part of it")]
#![allow(unused_imports, reason = "every test file uses its part of it")]

mod config;
mod fake;
mod link;
mod monitor;
mod process;
mod resp;
mod server;
mod tap;

pub use config::Config;
pub use fake::{FakeRedis, Said};
pub use link::{Link, LinkSpeed};
pub use monitor::{Monitor, Seen};
pub use resp::Reply;
pub use server::RedisServer;
pub use tap::{Tap, Traffic};

use std::time::{Duration, Instant};

/// Longer than anything here takes: beyond it, something hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition. Panics, with its name, when that takes too long.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
