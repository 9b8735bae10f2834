//! `RedisBackend` on real servers: what it promises, and what becomes of the promises when the servers fail.

mod backend;
mod faults;
mod servers;
#[path = "../support/mod.rs"]
mod support;
