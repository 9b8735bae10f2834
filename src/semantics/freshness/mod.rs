//! How long a response stays fresh, and how old it is (RFC 9111 §4.2).

mod age;
pub mod early_refresh;
mod lifetime;
mod staleness;
#[cfg(test)]
mod tests;
mod times;
mod ttl;

pub use age::corrected_initial_age;
pub use lifetime::{Lifetime, lifetime, takes_assigned_lifetime, takes_negative_lifetime};
pub use staleness::{StaleRules, Staleness};
pub use times::Freshness;
pub use ttl::Ttl;
