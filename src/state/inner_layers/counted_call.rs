//! A call of the inner service, counted by how it ends.
//!
//! Every call comes here, whatever it is for, and counts once: by its response, its error, as one
//! whose client broke its content off, or as canceled. A call that the inner service still held back
//! in a queue of its own, or refused for lack of a place there, has not reached the origin and does
//! not count. A service that fails before it can be called counts as a call that failed
//! ([`count_unready`]). Start at [`CountedCall`].

use std::any::Any;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Extensions, Response, StatusCode};
use pin_project_lite::pin_project;

use crate::backend::Backend;
use crate::body::watched::WatchedBody;
use crate::semantics::marks::UnsentRequest;
use crate::semantics::reason::{CallEnd, OriginRejection};
use crate::state::layer_state::LayerState;
use crate::stats::{CallProgress, Event};

pin_project! {
    /// The future of a call of the inner service.
    pub(crate) struct CountedCall<F, B: Backend> {
        #[pin]
        future: F,
        call: UncountedCall<B>,
    }
}

impl<F, B: Backend> CountedCall<F, B> {
    /// Counts a call that has been made.
    pub(super) fn new(future: F, mut call: UncountedCall<B>) -> Self {
        call.phase = CallPhase::Waiting;
        Self { future, call }
    }
}

impl<F, B, Res, E> Future for CountedCall<F, B>
where
    F: Future<Output = Result<Response<Res>, E>>,
    B: Backend,
    E: 'static,
{
    type Output = Result<Response<WatchedBody<Res>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.call.phase = CallPhase::Polled;
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            this.call.phase = CallPhase::Waiting;
            this.call.note_waiting();
        }
        let result = ready!(polled);
        match &result {
            Ok(response) => match response.extensions().get::<UnsentRequest>() {
                Some(unsent) => this.call.count_unsent(*unsent),
                None => this.call.count_status(response.status()),
            },
            Err(error) if this.call.state.config.is_overload(error) => this.call.end(false),
            Err(_) => this.call.count(CallEnd::Error, false),
        }
        let watch = |body| WatchedBody::new(body, this.call.state.shared.clone());
        Poll::Ready(result.map(|response| response.map(watch)))
    }
}

/// Counts the failure of an inner service that was waited for, and cannot be called.
#[cold]
pub(super) fn count_unready<B: Backend>(state: &LayerState<B>, error: &dyn Any) {
    if !state.config.is_overload(error) {
        state.count(Event::OriginCall(CallEnd::Error));
    }
}

/// A call that counts when it ends: as canceled, if it is dropped before.
pub(super) struct UncountedCall<B: Backend> {
    state: LayerState<B>,
    /// `None` if the inner service has no queue that it tells of.
    progress: Option<CallProgress>,
    phase: CallPhase,
    /// Whether it is counted as one that waits for the origin's response.
    is_unanswered: bool,
}

#[derive(Clone, Copy)]
enum CallPhase {
    /// The call waits.
    Waiting,
    /// It is being made, or its future polled. Dropped in this phase, it has panicked.
    Polled,
    /// It has ended.
    Ended,
}

impl<B: Backend> UncountedCall<B> {
    /// A call that is about to be made with a request of these extensions.
    pub(super) fn begin(state: LayerState<B>, request: &mut Extensions) -> Self {
        let has_queue = state.config.origin_monitor.is_some();
        let progress = has_queue.then(|| CallProgress::begin(request));
        Self {
            state,
            progress,
            phase: CallPhase::Polled,
            is_unanswered: false,
        }
    }

    /// Whether the call waits in the queue of the inner service, before the origin.
    fn is_held_back(&self) -> bool {
        let is_held_back = |progress: &CallProgress| progress.is_held_back();
        self.progress.as_ref().is_some_and(is_held_back)
    }

    /// Counts the call among those that wait for a response, unless it has not reached the origin, or
    /// not all of it.
    fn note_waiting(&mut self) {
        let progress = self.progress.as_ref();
        let is_unanswered = progress.is_none_or(CallProgress::awaits_origin);
        if is_unanswered != self.is_unanswered {
            self.is_unanswered = is_unanswered;
            let (unanswered, now) = (&self.state.shared.origin.unanswered, || self.monotonic());
            match is_unanswered {
                true => unanswered.begin(now),
                false => unanswered.give_up(now),
            }
        }
    }

    fn count_status(&mut self, status: StatusCode) {
        self.count(CallEnd::from_status(status), true);
        let rejection = OriginRejection::from_status(status);
        if let Some(reason) = rejection.filter(|_| !self.is_held_back()) {
            self.state.count(Event::OriginRejection(reason));
        }
    }

    /// What the inner service answers itself is no response of the origin.
    fn count_unsent(&mut self, unsent: UnsentRequest) {
        match unsent.is_held_back {
            true => self.end(false),
            false => self.count(CallEnd::BrokenUpload, false),
        }
    }

    fn count(&mut self, end: CallEnd, is_answered: bool) {
        let is_held_back = self.is_held_back();
        self.end(is_answered && !is_held_back);
        if !is_held_back {
            self.state.count(Event::OriginCall(end));
        }
    }

    /// Notes that the call waits no longer.
    fn end(&mut self, is_answered: bool) {
        self.phase = CallPhase::Ended;
        let has_waited = mem::take(&mut self.is_unanswered);
        let (unanswered, now) = (&self.state.shared.origin.unanswered, || self.monotonic());
        match is_answered {
            true => unanswered.answer(has_waited, now),
            false if has_waited => unanswered.give_up(now),
            false => {}
        }
    }

    fn monotonic(&self) -> Duration {
        self.state.now().monotonic()
    }
}

impl<B: Backend> Drop for UncountedCall<B> {
    fn drop(&mut self) {
        match self.phase {
            CallPhase::Waiting => self.count(CallEnd::Canceled, false),
            CallPhase::Polled => self.count(CallEnd::Error, false),
            CallPhase::Ended => {}
        }
    }
}
