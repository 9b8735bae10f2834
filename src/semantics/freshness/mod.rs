//! How long a response is fresh, how old it is, and how long it may be used after that (RFC 9111
//! §4.2).
//!
//! [`Freshness`] holds the times of a stored response; [`lifetime`] and [`corrected_initial_age`]
//! compute them from a message. Whether a request may be answered with them is decided in `reuse`.

mod age;
pub mod early_refresh;
mod lifetime;
mod stale_windows;
#[cfg(test)]
mod tests;
mod times;

pub use age::corrected_initial_age;
pub use lifetime::Ttl;
pub use lifetime::{Lifetime, lifetime, takes_assigned_lifetime, takes_negative_lifetime};
pub use stale_windows::{StaleRules, Staleness};
pub use times::{Freshness, StoredTimes};
