//! The channel through which a leader tells its followers the outcome of a flight, once.
//!
//! Knows wakers and counts, not keys, fences or the table of flights. Start at [`FlightOutcome`],
//! then [`Announcement::publish`] and [`Listener::wait`].

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::semantics::request_kind::RequestKind;
use crate::sync::{Mutex, MutexGuard};

/// The outcome of a flight for its followers. `H` is the response head that they share.
#[derive(Debug)]
pub(crate) enum FlightOutcome<H> {
    /// The response may be shared. A follower checks whether the head suits its own request, then
    /// reads the body from the flight's stream.
    Shared(Arc<H>),
    /// The service is well, but its response to the leader's request may not be shared. One of the
    /// followers takes over and leads a new flight.
    Refused {
        /// The kind of the leader's request.
        kind: RequestKind,
        /// Whether the response is for the leader's client alone, and others may have their own.
        is_private: bool,
    },
    /// The leader's request is none of the cache's. One of the followers takes over.
    Exempt,
    /// The leader left without a response that could be shared: it was cancelled, or its call
    /// failed. One of the followers takes over and leads a new flight.
    Vacant,
}

impl<H> Clone for FlightOutcome<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(head) => Self::Shared(head.clone()),
            Self::Refused { kind, is_private } => Self::Refused {
                kind: *kind,
                is_private: *is_private,
            },
            Self::Exempt => Self::Exempt,
            Self::Vacant => Self::Vacant,
        }
    }
}

/// A one-time broadcast of a flight's outcome. Listeners are woken in the order in which they came;
/// from the middle on if one of them takes over.
#[derive(Debug)]
pub(super) struct Announcement<H>(Mutex<State<H>>);

#[derive(Debug)]
struct State<H> {
    outcome: Option<FlightOutcome<H>>,
    /// Listeners that count as followers.
    followers: usize,
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
    /// Woken when the last follower leaves.
    without_followers: Option<Waker>,
}

impl<H> Default for Announcement<H> {
    fn default() -> Self {
        Self(Mutex::new(State {
            outcome: None,
            followers: 0,
            next_id: 0,
            wakers: BTreeMap::new(),
            without_followers: None,
        }))
    }
}

impl<H> Announcement<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        // Every critical section leaves the state consistent, so a poisoned lock can be used.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the outcome has been published.
    pub(super) fn is_published(&self) -> bool {
        self.state().outcome.is_some()
    }

    /// Whether there are followers at this moment; observers do not count.
    pub(super) fn has_followers(&self) -> bool {
        self.state().followers > 0
    }

    /// Whether a follower or an observer has ever come, even if it has left since.
    pub(super) fn had_listeners(&self) -> bool {
        self.state().next_id > 0
    }

    /// Adds a follower: the flight's call goes on for its sake.
    pub(super) fn follow(self: &Arc<Self>) -> Listener<H> {
        self.listen(true)
    }

    /// Adds an observer: it learns the outcome, but a call is not kept running for it alone.
    pub(super) fn observe(self: &Arc<Self>) -> Listener<H> {
        self.listen(false)
    }

    fn listen(self: &Arc<Self>, is_follower: bool) -> Listener<H> {
        let mut state = self.state();
        state.followers += usize::from(is_follower);
        state.next_id += 1;
        Listener {
            id: state.next_id,
            is_follower,
            announcement: self.clone(),
        }
    }

    /// Publishes the outcome and wakes all listeners. Only the first call has an effect.
    pub(super) fn publish(&self, outcome: FlightOutcome<H>) {
        let is_shared = matches!(outcome, FlightOutcome::Shared(_));
        let mut state = self.state();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(outcome);
        let mut first = std::mem::take(&mut state.wakers);
        drop(state);
        // Where one of them takes over, it is neither one of the first that came nor of the last:
        // a client that sends a few requests at once does not lead several flights in a row.
        let middle = first.keys().nth(first.len() / 2).copied();
        let then = match middle.filter(|_| !is_shared) {
            Some(middle) => first.split_off(&middle),
            None => BTreeMap::new(),
        };
        then.into_values()
            .chain(first.into_values())
            .for_each(Waker::wake);
    }

    /// Ready while there are no followers. One task at a time can wait for that.
    pub(super) fn poll_without_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.followers == 0 {
            return Poll::Ready(());
        }
        let replaced = state.without_followers.replace(cx.waker().clone());
        drop(state);
        // Wakers run foreign code when they are dropped: never under the lock.
        drop(replaced);
        Poll::Pending
    }
}

/// A follower's or observer's place in an [`Announcement`]. Dropping it leaves the flight.
#[derive(Debug)]
pub(super) struct Listener<H> {
    id: u64,
    is_follower: bool,
    announcement: Arc<Announcement<H>>,
}

impl<H> Listener<H> {
    /// Whether the outcome has been published.
    pub(super) fn is_published(&self) -> bool {
        self.announcement.is_published()
    }

    /// Waits for the outcome. Dropping the future keeps the listener's place.
    pub(super) async fn wait(&self) -> FlightOutcome<H> {
        poll_fn(|cx| {
            let mut state = self.announcement.state();
            if let Some(outcome) = &state.outcome {
                return Poll::Ready(outcome.clone());
            }
            let replaced = state.wakers.insert(self.id, cx.waker().clone());
            drop(state);
            drop(replaced);
            Poll::Pending
        })
        .await
    }
}

impl<H> Drop for Listener<H> {
    fn drop(&mut self) {
        let mut state = self.announcement.state();
        state.followers -= usize::from(self.is_follower);
        let own = state.wakers.remove(&self.id);
        let without_followers = if state.followers == 0 {
            state.without_followers.take()
        } else {
            None
        };
        drop(state);
        drop(own);
        if let Some(waker) = without_followers {
            waker.wake();
        }
    }
}
