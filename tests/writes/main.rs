//! No stale read after a write: what a write invalidates, in every order of events, and while the
//! backend is away.

mod coherence;
mod dead_entries;
mod effects;
mod invalidator;
mod outage;
mod said;
mod separate_health;
#[path = "../support/mod.rs"]
mod support;
mod undeliverable;
mod undelivered;
