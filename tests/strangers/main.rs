//! What one client, one origin or one hook can cause: work, memory and time that are bounded, and
//! that it pays for alone.

#[path = "../support/mod.rs"]
mod support;

mod busy_loops;
mod clients;
mod credentials;
mod endless_bodies;
mod failing_origins;
mod failing_writes;
mod large_fields;
mod log_lines;
mod meaning;
mod other_resources;
mod panicking_hooks;
mod partitions;
mod refreshes_of_many_keys;
mod refusals;
mod slow_readers;
mod stalled_bodies;
