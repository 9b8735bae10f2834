//! A request's content with its timers, as the connection to the upstream reads it.
//!
//! Start at [`UploadBody`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BoxError;
use crate::proxy::body::broken_upload::{EndOfWait, UploadFate};
use crate::proxy::body::expect_continue::ContentRequested;
use crate::proxy::body::places::UploadPlace;
use crate::proxy::body::stall_watch::StallWatch;
use crate::proxy::body::timers::head_clock::HeadClock;
use crate::proxy::body::timers::idle_timer::{IdleTimer, StalledBody};
use crate::proxy::body::trailers::clean_trailers;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

use super::collected::CollectedContent;

/// Content that its client has broken off: it stays unfinished for a while, then ends with an
/// error.
struct UnfinishedContent {
    wait: Option<EndOfWait>,
    error: Option<BoxError>,
}

impl UnfinishedContent {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(self.error.take().map(Err))
    }
}

pin_project! {
    /// A client's body with its timers; see [`with_upload`](super::with_upload).
    pub(super) struct UploadBody<B> {
        #[pin]
        body: B,
        // The content that was waited for.
        collected: CollectedContent,
        // The end of the content, which waits for a place.
        last: Option<Option<Frame<Bytes>>>,
        // Held until the content is whole.
        in_progress: Option<UploadPlace>,
        requested: Option<ContentRequested>,
        idle: IdleTimer,
        clock: HeadClock,
        stall: StallWatch,
        fate: UploadFate,
        broken_off: Option<UnfinishedContent>,
    }
}

impl<B> UploadBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        body: B,
        requested: Option<ContentRequested>,
        idle: IdleTimer,
        stall: StallWatch,
        clock: HeadClock,
        fate: UploadFate,
    ) -> Self {
        Self {
            body,
            collected: CollectedContent::default(),
            last: None,
            in_progress: None,
            requested,
            idle,
            clock,
            stall,
            fate,
            broken_off: None,
        }
    }

    /// The request is about to be sent, with a place that it has until its content is whole.
    pub(super) fn begin(self: Pin<&mut Self>, place: UploadPlace) {
        *self.project().in_progress = Some(place);
    }

    /// Waits for the first frame, or for all of them.
    pub(super) fn poll_collected(
        self: Pin<&mut Self>,
        until_whole: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ProxyError>> {
        let mut upload = self.project();
        loop {
            let error = match upload.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    upload.idle.stop();
                    upload
                        .stall
                        .collected(frame.data_ref().map_or(0, Bytes::len));
                    upload.collected.push(frame);
                    if until_whole && upload.body.size_hint().exact() != Some(0) {
                        continue;
                    }
                    upload.stall.restart();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(Err(error))) => ProxyErrorKind::Request.caused_by(error),
                Poll::Ready(None) => ProxyErrorKind::Request.caused_by(truncated()),
                Poll::Pending => {
                    if upload.stall.poll_too_slow(cx).is_pending() {
                        ready!(upload.idle.poll_timeout(cx));
                    }
                    ProxyErrorKind::RequestTimeout.caused_by(StalledBody::Client)
                }
            };
            return Poll::Ready(Err(error));
        }
    }

    /// Whether all content has been collected.
    pub(super) fn is_whole(&self) -> bool {
        !self.collected.is_empty() && self.body.size_hint().exact() == Some(0)
    }

    /// Passes the end of the content on as soon as the request has a place.
    ///
    /// Content without an announced length ends after its last chunk, and only there. All of an
    /// announced one may be with the upstream when the rest breaks. The upstream has a whole
    /// request then, and decides about it.
    fn poll_last(
        mut self: Pin<&mut Self>,
        last: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let upload = self.as_mut().project();
        *upload.in_progress = None;
        match upload.stall.poll_place(cx) {
            Poll::Ready(Ok(())) => {
                upload.clock.restart();
                upload.fate.response().content_sent();
                Poll::Ready(last.map(Ok))
            }
            Poll::Ready(Err(kind)) => {
                let error = "there is no place for the request".into();
                self.break_off(kind, error, cx)
            }
            Poll::Pending => {
                // The time until then is not the upstream's.
                upload.clock.stop();
                *upload.last = Some(last);
                Poll::Pending
            }
        }
    }

    fn break_off(
        self: Pin<&mut Self>,
        kind: ProxyErrorKind,
        error: BoxError,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let upload = self.project();
        // From now on the upstream is waited for.
        upload.clock.restart();
        *upload.in_progress = None;
        let broken_off = upload.broken_off.insert(UnfinishedContent {
            wait: upload.fate.break_off(kind),
            error: Some(error),
        });
        broken_off.poll_end(cx)
    }
}

impl<B> Body for UploadBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut upload = self.as_mut().project();
        if let Some(broken_off) = upload.broken_off {
            return broken_off.poll_end(cx);
        }
        if let Some(requested) = upload.requested {
            ready!(requested.as_mut().poll(cx))?;
            *upload.requested = None;
        }
        if let Some(last) = upload.last.take() {
            return self.poll_last(last, cx);
        }
        let mut polled = match upload.collected.take() {
            Some(collected) => Poll::Ready(Some(Ok(collected))),
            None => upload.body.as_mut().poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            clean_trailers(frame);
        }
        let left = left_of(upload.body.size_hint(), upload.collected);
        let (kind, error) = match polled {
            Poll::Ready(frame) => {
                upload.idle.stop();
                let data = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref());
                upload.stall.resume(data.map_or(0, Bytes::len));
                upload.clock.restart();
                match frame {
                    Some(Ok(frame)) if left.exact() == Some(0) => {
                        return self.poll_last(Some(frame), cx);
                    }
                    Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                    None if left.lower() == 0 => return self.poll_last(None, cx),
                    // All of it is with the upstream: the end of an HTTP/2 stream has broken.
                    Some(Err(_)) if left.exact() == Some(0) => return self.poll_last(None, cx),
                    None => (ProxyErrorKind::Request, truncated()),
                    Some(Err(error)) => (ProxyErrorKind::Request, error.into()),
                }
            }
            Poll::Pending => {
                upload.clock.stop();
                if left.exact() == Some(0) {
                    ready!(upload.idle.poll_timeout(cx));
                    return self.poll_last(None, cx);
                }
                if upload.stall.poll_stall(cx).is_pending() {
                    ready!(upload.idle.poll_timeout(cx));
                }
                let stalled = StalledBody::Client.into();
                (ProxyErrorKind::RequestTimeout, stalled)
            }
        };
        self.break_off(kind, error, cx)
    }

    fn is_end_stream(&self) -> bool {
        let is_passed_on = self.collected.is_empty() && self.last.is_none();
        self.broken_off.is_none() && is_passed_on && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, collected) = (self.body.size_hint(), self.collected.len());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(collected));
        }
        hint.set_lower(hint.lower().saturating_add(collected));
        hint
    }
}

/// What is left of content after the frame that was taken.
fn left_of(hint: SizeHint, collected: &CollectedContent) -> SizeHint {
    match collected.is_empty() {
        true => hint,
        // Trailers are.
        false => SizeHint::default(),
    }
}

/// The error of content that is shorter than its announced length.
fn truncated() -> BoxError {
    let message = "the client's content is shorter than announced";
    io::Error::new(io::ErrorKind::UnexpectedEof, message).into()
}
