//! A body whose end is passed on only when some work is done: the last bytes, the trailers, or the
//! end itself.
//!
//! If the reader leaves before that, the work takes over the rest of the body.
//!
//! Knows nothing of the work. Start with [`EndingBody::after_head`].

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use tokio::task::coop::consume_budget;

use crate::error::panics::{Panicked, catch};
use crate::error::{BodyError, SharedError};

use super::byte_meter::ByteMeter;
use super::first_frames::AT_ONCE;
use super::origin::OriginBody;

/// Work at the end of a body. Dropped before, it is for the work itself to see to that.
pub(crate) trait EndWork<B>: Send + Sync {
    /// Begins the work.
    fn begin(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Takes over the rest of the body: its reader has left before the end.
    fn take_over(self: Box<Self>, rest: EndingBody<B>);
}

/// The work and its progress.
enum EndProgress<B> {
    None,
    Waiting(Box<dyn EndWork<B>>),
    /// Behind a mutex, which is never locked, as a future need not be `Sync`, and a body is.
    Running(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>),
}

impl<B> EndProgress<B> {
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
    /// `None` while it is polled: one that panics is not polled again.
    body: Option<Pin<Box<OriginBody<B>>>>,
    /// The frames that were polled, and not passed on yet.
    held: VecDeque<Result<Frame<Bytes>, SharedError>>,
    /// The announced bytes that are still to come.
    left: Option<u64>,
    /// Whether a reader has the whole content with the frames so far.
    is_whole: bool,
    /// Whether the body is not to be polled again.
    has_ended: bool,
    work: EndProgress<B>,
    meter: Option<ByteMeter>,
}

impl<B> EndingBody<B> {
    fn new(body: Pin<Box<OriginBody<B>>>, left: Option<u64>) -> Self {
        Self {
            body: Some(body),
            held: VecDeque::new(),
            left,
            is_whole: left == Some(0),
            has_ended: false,
            work: EndProgress::None,
            meter: None,
        }
    }

    /// Lets the bytes be counted as they are read.
    pub(crate) fn set_meter(&mut self, meter: ByteMeter) {
        self.meter = Some(meter);
    }

    /// Whether the end is there already: then there is no time for work before it.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether polling the body has panicked. Its reader gets an error then.
    pub(crate) fn has_panicked(&self) -> bool {
        self.body.is_none()
    }

    /// Lets the end wait for work.
    pub(crate) fn set_work(&mut self, work: Box<dyn EndWork<B>>) {
        self.work = EndProgress::Waiting(work);
    }
}

impl<B: Body<Data = Bytes, Error: Send + 'static>> EndingBody<B> {
    /// A body that goes on after its head, as far as the head tells. One that has ended with it is
    /// given back.
    pub(crate) fn after_head(
        headers: &HeaderMap,
        body: OriginBody<B>,
    ) -> Result<Self, OriginBody<B>> {
        let announced = announced_length(headers);
        if has_no_more(&body) || announced == Some(0) {
            return Err(body);
        }
        Ok(Self::begin(body, announced))
    }

    /// A body, with the frames of it that are there at once. `left` is its announced length.
    ///
    /// It has to be polled again if there is more to come: no task is woken for it yet.
    pub(crate) fn begin(body: OriginBody<B>, left: Option<u64>) -> Self {
        let mut begun = Self::new(Box::pin(body), left);
        if let Err(Panicked) = catch(|| begun.poll_first()) {
            begun.is_whole = true;
        }
        begun
    }

    /// Polls the body as often as it has a frame, and has not ended.
    fn poll_first(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..AT_ONCE {
            if self.is_whole {
                return;
            }
            match self.poll_body(&mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.held.push_back(Err(error.into_shared())),
                Poll::Pending => return,
            }
        }
    }

    /// Reads the body to its end, for no reader. One that fails has ended.
    pub(crate) async fn discard(mut self) {
        while !self.is_whole {
            // A body that always has a frame must not keep its task from being stopped.
            consume_budget().await;
            let _ = poll_fn(|cx| self.poll_body(cx)).await;
            self.held.clear();
        }
    }
}

impl<B: Body<Data = Bytes>> EndingBody<B> {
    /// Takes the next frame of the body, or its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError<B::Error>>> {
        let Some(mut body) = self.body.take() else {
            (self.has_ended, self.is_whole) = (true, true);
            return Poll::Ready(Err(BodyError::cache(Panicked)));
        };
        let polled = body.as_mut().poll_frame(cx);
        let body = self.body.insert(body);
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            end => {
                (self.has_ended, self.is_whole) = (true, true);
                return Poll::Ready(end.map_or(Ok(()), |failed| failed.map(drop)));
            }
        };
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        // A server asks for no more than it has announced.
        self.is_whole |= frame.is_trailers() || self.left == Some(0) || has_no_more(&**body);
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
        let is_over = |body: &Pin<Box<OriginBody<B>>>| body.is_end_stream();
        let is_over = self.body.as_ref().is_some_and(is_over);
        is_done && self.held.is_empty() && (self.has_ended || is_over)
    }

    /// The hint of the body, and no more: one that has broken off or ended too early is not as long as
    /// its head says, and a server must not take it for whole.
    pub(crate) fn hint(&self) -> SizeHint {
        let held = self.held.iter().flatten().filter_map(Frame::data_ref);
        let held: u64 = held.map(|data| data.len() as u64).sum();
        let hint = |body: &Pin<Box<OriginBody<B>>>| body.size_hint();
        let rest = self.body.as_ref().map_or_else(SizeHint::default, hint);
        let mut whole = SizeHint::new();
        whole.set_lower(held.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| held.checked_add(upper)) {
            whole.set_upper(upper);
        }
        whole
    }
}

/// A reader that leaves before the end leaves the rest of the body to the work.
impl<B> Drop for EndingBody<B> {
    fn drop(&mut self) {
        if let EndProgress::Waiting(work) = std::mem::replace(&mut self.work, EndProgress::None)
            && let Some(body) = self.body.take()
        {
            work.take_over(Self::new(body, self.left));
        }
    }
}

/// The length that a server sends, and no more.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether nothing of a body is to come.
fn has_no_more(body: &impl Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
