//! Whether a response may be stored (RFC 9111 §3), with safe defaults on top.
//!
//! [`decide_storage`] takes the heads of both messages and the [`StoringRules`], and returns a
//! [`StoragePolicy`] (how long and for which requests) or a refusal with its reason. It knows
//! neither the content nor where the response is stored.

mod decision;
mod input;
mod lifetime_rule;
mod policy;
mod stated;
#[cfg(test)]
mod tests;

pub use decision::decide_storage;
pub(crate) use decision::is_endless;
pub use input::{RequestHead, ResponseHead, StoringRules};
pub use lifetime_rule::{LifetimeRule, lifetime_rule};
pub use policy::{StorageDecision, StoragePolicy};
pub use stated::StatedPolicy;
