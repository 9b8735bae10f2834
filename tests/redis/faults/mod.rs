//! Real faults of real servers, while readers and writers are at work. Whatever happens to Redis:
//!
//! * no client sees an error (P3),
//! * no answer is older than what its instance had promised before the request began (P1): every answer is checked,
//! * nobody waits for long: `--nocapture` tells how long,
//! * it is used again by itself once it is well.
//!
//! Nothing here depends on being fast: what is waited for is a condition.

mod access;
mod chaos;
mod debts;
mod failovers;
mod instance;
mod keys;
mod load;
mod logs;
mod losses;
mod nonsense;
mod outages;
mod slowness;
mod stampedes;
mod strangers;
mod world;
