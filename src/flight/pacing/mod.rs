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
//! down later ones. While a key is paced, each flight that is opened for it takes a place, and is
//! joined only once it has a response: most of them will fail, and a request should not wait for
//! that.
//!
//! | | number of places |
//! |---|---|
//! | at first | [`at_first`](PlaceLimit::at_first) |
//! | for each [doubling](PlaceLimit::doubling_time) time that requests have waited | twice as many |
//! | for each doubling time that none has waited | half as many, down to `at_first` |
//! | beside calls that have hung for a doubling time | `at_first` at least |
//!
//! Each [queue](Precedence) has these numbers for itself, too, so that many requests that begin to
//! wait now do not all have places because others have waited for long.
//!
//! A response head that may be shared wakes two of the requests that wait: its body may break off.
//! If one of them has use for it, or the body ends well, the pacing is over for all.
//!
//! Knows numbers, wakers and the lock of the table, not requests. Start at [`Place`], then
//! [`PacedKeys`](paced_keys::PacedKeys).

mod holders;
mod member;
pub(super) mod paced_keys;
mod place;
mod place_limit;
mod queue;
pub(super) mod refreshes;

pub(crate) use place::Place;
pub(crate) use place_limit::PlaceLimit;
pub(crate) use queue::Precedence;
pub(crate) use refreshes::{RefreshLength, RefreshRules, Refreshing, ShortRefresh};
