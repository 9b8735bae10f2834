//! A request's content on its way to an upstream.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use pin_project_lite::pin_project;

use crate::error::BoxError;
use crate::proxy::error::ProxyErrorKind;

use super::expect_continue::{ContentRequested, ExpectContinue};
use super::head_clock::HeadClock;
use super::idle_timer::{IdleTimer, StalledBody};

/// The body of every outgoing request, whatever type the client's body has.
pub(in crate::proxy) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Whether the client has broken its content off. The upstream has then got no whole request
/// (RFC 9112 §8, RFC 9113 §8.1), and never will. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct BrokenUpload(Arc<OnceLock<ProxyErrorKind>>);

impl BrokenUpload {
    /// The error that the client has caused; `None` if its content is whole, or on its way.
    pub(in crate::proxy) fn kind(&self) -> Option<ProxyErrorKind> {
        self.0.get().copied()
    }

    fn note(&self, kind: ProxyErrorKind) {
        let _ = self.0.set(kind);
    }
}

/// Wraps a client's body for the way to the upstream. `None` if there is no content to break off.
///
/// The first frame waits for `expectation`, if there is one. A client that pauses for longer than
/// `idle_timeout` ends the body with [`StalledBody::Client`]. `clock` runs while the upstream has
/// got all content that was sent so far.
pub(in crate::proxy) fn request_body<B>(
    body: B,
    clock: HeadClock,
    idle_timeout: Duration,
    expectation: Option<&ExpectContinue>,
) -> (RequestBody, Option<BrokenUpload>)
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        let empty = Empty::new().map_err(|never| match never {});
        return (empty.boxed_unsync(), None);
    }
    let broken = BrokenUpload::default();
    let upload = UploadBody {
        body,
        requested: expectation.map(ExpectContinue::wait_until_requested),
        idle: IdleTimer::new(idle_timeout),
        clock,
        broken: broken.clone(),
    };
    (upload.boxed_unsync(), Some(broken))
}

pin_project! {
    /// A client's body with its timers; see [`request_body`].
    struct UploadBody<B> {
        #[pin]
        body: B,
        requested: Option<ContentRequested>,
        idle: IdleTimer,
        clock: HeadClock,
        broken: BrokenUpload,
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
        let mut upload = self.project();
        if let Some(requested) = upload.requested {
            ready!(requested.as_mut().poll(cx))?;
            *upload.requested = None;
        }
        let polled = upload.body.as_mut().poll_frame(cx);
        // Content without an announced length ends where its last chunk was passed on, and only
        // there. All of an announced one may be with the upstream when the rest breaks: the end of
        // an HTTP/2 stream.
        let left = upload.body.size_hint();
        match polled {
            Poll::Ready(frame) => {
                upload.idle.stop();
                upload.clock.restart();
                let is_broken = match &frame {
                    Some(Ok(_)) => false,
                    Some(Err(_)) => left.exact() != Some(0),
                    None => left.lower() > 0,
                };
                if is_broken {
                    upload.broken.note(ProxyErrorKind::Request);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                upload.clock.stop();
                ready!(upload.idle.poll_timeout(cx));
                if left.exact() != Some(0) {
                    upload.broken.note(ProxyErrorKind::RequestTimeout);
                }
                Poll::Ready(Some(Err(StalledBody::Client.into())))
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
