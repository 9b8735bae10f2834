//! A body whose end is passed on only when some work is done: the last bytes, the trailers, or the
//! end itself.
//!
//! Knows nothing of the work. Start with [`EndingBody::begin`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::{BodyError, SharedError};

use super::byte_meter::ByteMeter;
use super::first_frames::AT_ONCE;
use super::origin::OriginBody;

/// Work at the end of a body. Dropped before, it is for the work itself to see to that.
pub(crate) trait EndWork: Send + Sync {
    /// Begins the work.
    fn begin(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The work and its progress.
enum EndProgress {
    None,
    Waiting(Box<dyn EndWork>),
    /// Behind a mutex, which is never locked, as a future need not be `Sync`, and a body is.
    Running(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>),
}

impl EndProgress {
    /// Begins the work unless it has begun.
    fn begin(&mut self) {
        if matches!(self, Self::Waiting(_))
            && let Self::Waiting(work) = std::mem::replace(self, Self::None)
        {
            *self = Self::Running(Mutex::new(work.begin()));
        }
    }

    /// Waits for the work if it has begun.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Running(work) = self {
            let work = work.get_mut().unwrap_or_else(PoisonError::into_inner);
            ready!(work.as_mut().poll(cx));
            *self = Self::None;
        }
        Poll::Ready(())
    }
}

/// The result of a poll for a frame.
pub(super) type FramePoll<E> = Poll<Option<Result<Frame<Bytes>, BodyError<E>>>>;

/// A body of the inner service, with work at its end.
pub(crate) struct EndingBody<B> {
    body: Pin<Box<OriginBody<B>>>,
    /// The frames that were polled, and not passed on yet.
    held: VecDeque<Result<Frame<Bytes>, SharedError>>,
    /// The announced bytes that are still to come.
    left: Option<u64>,
    /// Whether a reader has the whole content with the frames so far.
    is_whole: bool,
    /// Whether the body is not to be polled again.
    has_ended: bool,
    work: EndProgress,
    meter: Option<ByteMeter>,
}

impl<B: Body<Data = Bytes>> EndingBody<B> {
    /// Lets the bytes be counted as they are read.
    pub(crate) fn set_meter(&mut self, meter: ByteMeter) {
        self.meter = Some(meter);
    }

    /// A body, with the frames of it that are there at once. `announced` is its `Content-Length`.
    ///
    /// It has to be polled again if there is more to come: no task is woken for it yet.
    pub(crate) fn begin(body: OriginBody<B>, announced: Option<u64>) -> Self
    where
        B::Error: Send + 'static,
    {
        let mut begun = Self {
            body: Box::pin(body),
            held: VecDeque::new(),
            left: announced,
            is_whole: false,
            has_ended: false,
            work: EndProgress::None,
            meter: None,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..AT_ONCE {
            match begun.poll_body(&mut cx) {
                Poll::Ready(Ok(())) if !begun.is_whole => continue,
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(error)) => begun.held.push_back(Err(error.into_shared())),
            }
            break;
        }
        begun
    }

    /// Whether the end is there already: then there is no time for work before it.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Lets the end wait for work.
    pub(crate) fn set_work(&mut self, work: Box<dyn EndWork>) {
        self.work = EndProgress::Waiting(work);
    }

    /// Takes the next frame of the body, or its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError<B::Error>>> {
        let Some(frame) = ready!(self.body.as_mut().poll_frame(cx)) else {
            (self.has_ended, self.is_whole) = (true, true);
            return Poll::Ready(Ok(()));
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                (self.has_ended, self.is_whole) = (true, true);
                return Poll::Ready(Err(error));
            }
        };
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        // A server asks for no more than it has announced.
        self.is_whole |= frame.is_trailers() || self.left == Some(0) || has_no_more(&*self.body);
        self.held.push_back(Ok(frame));
        Poll::Ready(Ok(()))
    }

    /// Polls the next frame, and counts it.
    pub(crate) fn poll_counted(&mut self, cx: &mut Context<'_>) -> FramePoll<B::Error> {
        let frame = ready!(self.poll_next(cx));
        if let Some(meter) = &mut self.meter {
            meter.count(&frame);
        }
        Poll::Ready(frame)
    }

    /// Polls the next frame. That which makes the content whole waits for the work.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> FramePoll<B::Error> {
        if self.held.is_empty()
            && !self.has_ended
            && let Err(error) = ready!(self.poll_body(cx))
        {
            // No reader gets the whole: none needs to wait.
            self.work = EndProgress::None;
            return Poll::Ready(Some(Err(error)));
        }
        if self.is_whole {
            self.work.begin();
        }
        ready!(self.work.poll_done(cx));
        let frame = self.held.pop_front();
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::shared)))
    }

    /// Whether nothing is left. A body whose work has not begun is to be polled for its end.
    pub(crate) fn is_at_end(&self) -> bool {
        let is_done = matches!(self.work, EndProgress::None);
        is_done && self.held.is_empty() && (self.has_ended || self.body.is_end_stream())
    }

    /// The hint of the body, and no more: one that has broken off or ended too early is not as long as
    /// its head says, and a server must not take it for whole.
    pub(crate) fn hint(&self) -> SizeHint {
        let held = self.held.iter().flatten().filter_map(Frame::data_ref);
        let held: u64 = held.map(|data| data.len() as u64).sum();
        let rest = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(held.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| held.checked_add(upper)) {
            whole.set_upper(upper);
        }
        whole
    }
}

/// Whether nothing of a body is to come.
pub(crate) fn has_no_more(body: &impl Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
