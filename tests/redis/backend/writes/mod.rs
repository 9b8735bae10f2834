//! Writes: acknowledged, written through, of unknown outcome, ending late, and beside fills.

mod acknowledged;
mod dead_entries;
mod late_work;
mod replacing;
mod unknown_outcomes;
