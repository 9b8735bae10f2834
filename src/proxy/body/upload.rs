//! A request's content on its way to an upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use pin_project_lite::pin_project;

use crate::error::BoxError;

use super::expect_continue::{ContentRequested, ExpectContinue};
use super::head_clock::HeadClock;
use super::idle_timer::{IdleTimer, StalledBody};

/// The body of every outgoing request, whatever type the client's body has.
pub(in crate::proxy) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Wraps a client's body for the way to the upstream.
///
/// The first frame waits for `expectation`, if there is one. A client that pauses for longer than
/// `idle_timeout` ends the body with [`StalledBody::Client`]. `clock` runs while the upstream has
/// got all content that was sent so far.
pub(in crate::proxy) fn request_body<B>(
    body: B,
    clock: HeadClock,
    idle_timeout: Duration,
    expectation: Option<&ExpectContinue>,
) -> RequestBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        let empty = Empty::new().map_err(|never| match never {});
        return empty.boxed_unsync();
    }
    let upload = UploadBody {
        body,
        requested: expectation.map(ExpectContinue::wait_until_requested),
        idle: IdleTimer::new(idle_timeout),
        clock,
    };
    upload.boxed_unsync()
}

pin_project! {
    /// A client's body with its timers; see [`request_body`].
    struct UploadBody<B> {
        #[pin]
        body: B,
        requested: Option<ContentRequested>,
        idle: IdleTimer,
        clock: HeadClock,
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let upload = self.project();
        if let Some(requested) = upload.requested {
            ready!(requested.as_mut().poll(cx))?;
            *upload.requested = None;
        }
        match upload.body.poll_frame(cx) {
            Poll::Ready(frame) => {
                upload.idle.stop();
                upload.clock.restart();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                upload.clock.stop();
                let stalled = upload.idle.poll_timeout(cx);
                stalled.map(|()| Some(Err(StalledBody::Client.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
