//! What a leader has to tell, and who waits for it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::semantics::reason::Refusal;
use crate::sync::{Mutex, MutexGuard};

/// What followers of a fill are told. `H` is what they share, once there is a head.
#[derive(Debug)]
pub(crate) enum Stage<H> {
    /// The inner service has been, or is about to be, called.
    Calling,
    /// There is a head that may be stored: take what is yours.
    Shared(Arc<H>),
    /// The answer is not for others: whom the reason concerns goes alone, at once.
    Refused(Refusal),
    /// The answer may have been its leader's own doing: one of the followers takes over.
    Declined,
    /// Nothing came of it: one of the followers takes over.
    Vacant,
}

impl<H> Clone for Stage<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Calling => Self::Calling,
            Self::Shared(head) => Self::Shared(head.clone()),
            Self::Refused(refusal) => Self::Refused(*refusal),
            Self::Declined => Self::Declined,
            Self::Vacant => Self::Vacant,
        }
    }
}

/// The place where it is told. Listeners are woken in the order in which they came.
#[derive(Debug)]
pub(super) struct News<H>(Mutex<State<H>>);

#[derive(Debug)]
struct State<H> {
    stage: Stage<H>,
    listeners: usize,
    next: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Whoever waits for the last listener to leave.
    alone: Option<Waker>,
}

impl<H> Default for News<H> {
    fn default() -> Self {
        Self(Mutex::new(State {
            stage: Stage::Calling,
            listeners: 0,
            next: 0,
            waiting: BTreeMap::new(),
            alone: None,
        }))
    }
}

impl<H> News<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        // Every step leaves the state whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_out(&self) -> bool {
        !matches!(self.state().stage, Stage::Calling)
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.state().listeners > 0
    }

    /// Whether anybody was ever interested.
    pub(super) fn was_asked_for(&self) -> bool {
        self.state().next > 0
    }

    pub(super) fn listen(self: &Arc<Self>) -> Listener<H> {
        self.listener(true)
    }

    /// The same for somebody who does not want what is told, but to know when it is: nobody goes on for his sake.
    pub(super) fn watch(self: &Arc<Self>) -> Listener<H> {
        self.listener(false)
    }

    fn listener(self: &Arc<Self>, counts: bool) -> Listener<H> {
        let mut state = self.state();
        state.listeners += usize::from(counts);
        state.next += 1;
        Listener {
            id: state.next,
            counts,
            news: self.clone(),
        }
    }

    /// Tells it, unless something was told before.
    pub(super) fn tell(&self, stage: Stage<H>) {
        let mut state = self.state();
        if !matches!(state.stage, Stage::Calling) {
            return;
        }
        state.stage = stage;
        let wakers = std::mem::take(&mut state.waiting);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until nobody listens.
    pub(super) fn poll_alone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.listeners == 0 {
            return Poll::Ready(());
        }
        let replaced = state.alone.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

/// Somebody who waits for it. Dropping it is leaving.
#[derive(Debug)]
pub(super) struct Listener<H> {
    id: u64,
    counts: bool,
    news: Arc<News<H>>,
}

impl<H> Listener<H> {
    pub(super) fn is_told(&self) -> bool {
        self.news.is_out()
    }

    pub(super) async fn told(&self) -> Stage<H> {
        poll_fn(|cx| {
            let mut state = self.news.state();
            if !matches!(state.stage, Stage::Calling) {
                return Poll::Ready(state.stage.clone());
            }
            let replaced = state.waiting.insert(self.id, cx.waker().clone());
            drop(state);
            drop(replaced);
            Poll::Pending
        })
        .await
    }
}

impl<H> Drop for Listener<H> {
    fn drop(&mut self) {
        let mut state = self.news.state();
        state.listeners -= usize::from(self.counts);
        let waker = state.waiting.remove(&self.id);
        let alone = if state.listeners == 0 {
            state.alone.take()
        } else {
            None
        };
        drop(state);
        drop(waker);
        if let Some(alone) = alone {
            alone.wake();
        }
    }
}
