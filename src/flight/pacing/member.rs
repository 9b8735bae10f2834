//! Those that ask for places or have them, and the answers to them.
//!
//! Knows numbers, clients and wakers. Start at [`Member`].

use std::task::Waker;

use crate::shares::ClientId;

/// A request that asks for a place, or a flight that has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) number: u64,
    /// The client of the request, if it is known.
    pub(super) client: Option<ClientId>,
}

#[cfg(test)]
impl Member {
    pub(super) fn unknown(number: u64) -> Self {
        let client = None;
        Self { number, client }
    }
}

/// The answer to a request that asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    Waits,
    /// It has waited until a response came that it may share.
    Ended,
}

/// The answer, with the wakers that the caller uses once it has released the lock.
pub(super) struct Reply {
    pub(super) answer: Answer,
    /// Those of requests that have a place now. They are to be woken.
    pub(super) granted: Vec<Waker>,
    /// The one that this request has left before. It is to be dropped.
    pub(super) replaced: Option<Waker>,
}

impl Reply {
    pub(super) fn at_once(answer: Answer) -> Self {
        Self {
            answer,
            granted: Vec::new(),
            replaced: None,
        }
    }
}
