//! Paced calls: how many requests of one key may call at once after the calls that they followed
//! have failed.
//!
//! ```text
//!                       a place is free
//!   asks for a place ------------------------> has it    its call ends: the next one has it
//!         |                                       ^
//!         | all are taken                         | handed over by a call that has ended
//!         `------------> waits -------------------'
//!                          |
//!                          `--> ended: a response of the key may be shared, look for that
//! ```
//!
//! A key is paced from the first request that asks for a place until a call succeeds, or no request
//! has or wants a place. Nothing is remembered beyond that, so a request that fails does not slow
//! down later ones. The number of places [doubles](PlaceLimit) as long as no call succeeds. While a
//! key is paced, each flight that is opened for it takes a place, and is joined only once it has a
//! response: most of them will fail, and a request should not wait for that.
//!
//! Knows numbers, wakers and the lock of the table, not requests. Start at [`Place`], then
//! [`PacedKeys`](paced_keys::PacedKeys).

pub(super) mod paced_keys;
mod place;
mod place_limit;

pub(crate) use paced_keys::Precedence;
pub(crate) use place::Place;
pub(crate) use place_limit::PlaceLimit;
