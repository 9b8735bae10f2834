//! Whether a response may be stored (RFC 9111 §3), with this cache's safe defaults on top.

mod decision;
mod input;
mod policy;
mod statuses;
#[cfg(test)]
mod tests;

pub use decision::decide_storage;
pub use input::{RequestHead, ResponseHead, StoringRules};
pub use policy::{StorageDecision, StoragePolicy};
