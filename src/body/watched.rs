//! A body of the inner service, as it is read: its failure counts, whatever the response is for.
//!
//! Each call returns its response with one, so that no body is read past it. Start at
//! [`WatchedBody`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::stats::CountBodies;

pin_project! {
    /// A body that counts once if it fails. One that is dropped before its end does not count: its
    /// client has left, or the cache has what it wants.
    pub(crate) struct WatchedBody<B> {
        #[pin]
        body: B,
        counted_by: Option<Arc<dyn CountBodies>>,
    }
}

impl<B> WatchedBody<B> {
    /// The body of a response to a call.
    pub(crate) fn new(body: B, counted_by: Arc<dyn CountBodies>) -> Self {
        let counted_by = Some(counted_by);
        Self { body, counted_by }
    }

    /// A body that another layer of the same cache watches.
    pub(crate) fn watched_elsewhere(body: B) -> Self {
        let counted_by = None;
        Self { body, counted_by }
    }
}

impl<B: Body> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(Err(_)) = &frame
            && let Some(counted_by) = this.counted_by.take()
        {
            counted_by.count_failed_body();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
