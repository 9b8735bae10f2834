//! Where stored responses live: the [`Backend`] contract and the backends that keep it.
//!
//! * [`MemoryBackend`] stores in this process; `RedisBackend` (feature `redis`) is shared by many.
//! * [`Guarded`] limits what a failing backend costs and delivers its invalidations later.
//! * [`Either`] and `Option` choose a backend at run time; [`ForwardBackend`] is for wrappers.
//! * [`codec`] turns a stored response into bytes; `conformance` (feature `test-util`) tests a
//!   backend against the contract.
//!
//! This module knows keys and stored responses. It knows neither requests nor freshness rules: the
//! cache decides whether a response that was found may be used.
//!
//! Start reading at [`Backend`]; [`MemoryBackend`] is the shortest path through it.

mod catch_panics;
pub mod codec;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod contract;
mod either;
mod error;
mod forward;
mod guarded;
mod health;
mod memory;
mod observed;
mod optional;
mod outcome;
#[cfg(feature = "redis")]
pub mod redis;
mod reply_count;

pub(crate) use catch_panics::PanicsAsErrors;
pub use contract::Backend;
pub use either::Either;
pub use error::BackendError;
pub use forward::ForwardBackend;
pub use guarded::{Guarded, GuardedFence};
pub use health::{BreakerState, Health, ReplayedInvalidations, Usage};
pub use memory::{MemoryBackend, MemoryBackendBuilder, MemoryFence};
pub(crate) use observed::ObserveOperations;
pub use outcome::{
    GraceScope, InvalidationTarget, JoinDecision, Lookup, LookupWithVariant, PutOutcome,
};
#[cfg(feature = "redis")]
pub use redis::RedisBackend;

pub use crate::semantics::freshness::Freshness;
pub use crate::semantics::freshness::Staleness;
pub use crate::semantics::groups::Group;
pub use crate::semantics::ranges::PartialContent;
pub use crate::semantics::stored::StoredResponse;
pub use crate::semantics::vary::VaryRule;

/// The default limit of variants stored under one key.
pub(crate) const DEFAULT_MAX_VARIANTS: usize = 32;
