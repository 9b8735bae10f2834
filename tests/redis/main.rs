//! `RedisBackend` on real servers: its promises, and its behaviour when the servers fail.

mod backend;
mod cost;
mod far;
mod faults;
mod large;
mod servers;
#[path = "../support/mod.rs"]
mod support;
