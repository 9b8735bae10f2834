//! A body whose beginning was collected, and whose rest streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BodyError;
use crate::flight::BudgetShare;

/// The chunks that were collected, then the rest of the body.
pub(crate) struct Resumed<B> {
    before: std::vec::IntoIter<Bytes>,
    body: Pin<Box<B>>,
    /// Counts the chunks that the client has yet to read.
    share: BudgetShare,
}

impl<B> Resumed<B> {
    /// The rest of a body behind its first chunks, which have been taken from the share with the
    /// whole of it.
    pub(crate) fn new(before: Vec<Bytes>, body: Pin<Box<B>>, share: BudgetShare) -> Self {
        let kept = before.iter().map(|chunk| chunk.len() as u64).sum();
        share.leave_unread(kept);
        share.release_all();
        Self {
            before: before.into_iter(),
            body,
            share,
        }
    }

    pub(super) fn is_at_end(&self) -> bool
    where
        B: Body,
    {
        self.before.len() == 0 && self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint
    where
        B: Body,
    {
        let before = self.before.as_slice().iter();
        let before: u64 = before.map(|chunk| chunk.len() as u64).sum();
        let rest = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(before.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| before.checked_add(upper)) {
            whole.set_upper(upper);
        }
        whole
    }
}

/// The result of a poll for the next frame.
type NextFrame<E> = Poll<Option<Result<Frame<Bytes>, BodyError<E>>>>;

impl<B: Body<Data = Bytes>> Resumed<B> {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> NextFrame<B::Error> {
        if let Some(chunk) = self.before.next() {
            self.share.release_unread(chunk.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let frame = self.body.as_mut().poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(BodyError::inner)))
    }
}
