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

/// Who has asked for places of a key since it is paced.
#[derive(Clone, Copy)]
pub(super) enum AskedBy {
    /// Requests of one client.
    One(ClientId),
    /// Those of several, or of one that is not known.
    Any,
}

impl AskedBy {
    /// A request of a client, if that is known, is the first.
    pub(super) fn new(client: Option<ClientId>) -> Self {
        client.map_or(Self::Any, Self::One)
    }

    /// One more has asked.
    pub(super) fn and(self, client: Option<ClientId>) -> Self {
        match self {
            Self::One(one) if client == Some(one) => self,
            Self::One(_) | Self::Any => Self::Any,
        }
    }

    /// Whether a client, if that is known, may be one of them.
    pub(super) fn may_include(self, client: Option<ClientId>) -> bool {
        match (self, client) {
            (Self::One(one), Some(client)) => one == client,
            (Self::One(_), None) | (Self::Any, _) => true,
        }
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
