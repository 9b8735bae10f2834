//! Real faults of real servers, while readers and writers are at work. Whatever happens to Redis:
//!
//! * no client sees an error,
//! * no answer is older than what its instance had promised before the request began: every answer
//!   is checked,
//! * no request waits for long: `--nocapture` shows the times,
//! * it is used again by itself once it is well.
//!
//! Nothing here depends on being fast: tests wait for conditions. With `TRC_SLOW_FAULTS=1`, all of
//! them run over a link of 100 Mbit/s and 5 ms, with responses of 1 MiB among the small ones. That
//! takes minutes, since one such response takes 84 ms of the link: `slow_link` always runs a few.

mod access;
mod chaos;
mod debts;
mod failovers;
mod foreign_types;
mod keys;
mod losses;
mod nonsense;
mod outages;
mod refused_writes;
mod slow_link;
mod slowness;
mod stampedes;
mod strangers;
pub mod world;
