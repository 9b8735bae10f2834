//! Writes: acknowledged, written through, of unknown outcome, and beside fills.

mod acknowledged;
mod dead_entries;
mod replacing;
mod unknown_outcomes;
