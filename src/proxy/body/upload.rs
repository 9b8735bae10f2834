//! A request's content on its way to an upstream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use pin_project_lite::pin_project;

use crate::error::BoxError;
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::semantics::invalidation::is_safe;

use super::bounded_waits::ClientNetwork;
use super::broken_upload::{BrokenUploads, EndOfWait, UploadFate};
use super::expect_continue::{ContentRequested, expectation_of};
use super::pace::LowestRate;
use super::places::{ClientPlace, Places};
use super::response_progress::{ResponseInProgress, ResponseProgress};
use super::stall_watch::StallWatch;
use super::timers::head_clock::HeadClock;
use super::timers::idle_timer::{IdleTimer, StalledBody};

/// The body of every outgoing request, whatever type the client's body has.
pub(in crate::proxy) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a request without content.
pub(in crate::proxy) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The content of a request that has any, seen from the side of its response.
#[derive(Debug)]
pub(in crate::proxy) struct Upload {
    fate: UploadFate,
    place: ClientPlace,
}

impl Upload {
    /// The place of the request before its upstream.
    pub(in crate::proxy) fn place(&self) -> &ClientPlace {
        &self.place
    }

    /// The error that the client has caused by breaking its content off; `None` if that is whole,
    /// or on its way.
    pub(in crate::proxy) fn broken(&self) -> Option<ProxyErrorKind> {
        self.fate.broken()
    }

    /// Records that the response's head has arrived. Content that was not requested by then is not
    /// sent, and content that breaks off later stays unfinished until the response has ended.
    pub(in crate::proxy) fn response_started(&self) -> ResponseInProgress {
        self.place.take_again();
        self.fate.response().start()
    }
}

/// The limits of uploads.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct UploadLimits<'l> {
    pub(in crate::proxy) idle_timeout: Duration,
    pub(in crate::proxy) lowest_rate: LowestRate,
    pub(in crate::proxy) broken_uploads: &'l BrokenUploads,
    pub(in crate::proxy) places: &'l Places,
    pub(in crate::proxy) client: ClientNetwork,
}

/// Wraps a client's body for the way to the upstream. There is no [`Upload`] without content.
///
/// Waits for the beginning of content of a known length, unless the client waits, too: the first
/// frame of other content waits for `Expect: 100-continue`, if the request has that. A client that
/// pauses for longer than `idle_timeout` breaks its content off. `clock` runs while the upstream
/// has got all content that was sent so far.
///
/// # Errors
///
/// When content of a known length breaks off, or pauses for too long, before it begins.
pub(in crate::proxy) async fn with_upload<B>(
    mut request: Request<B>,
    clock: HeadClock,
    limits: UploadLimits<'_>,
) -> Result<(Request<RequestBody>, Option<Upload>), ProxyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if request.body().is_end_stream() {
        return Ok((request.map(|_| empty()), None));
    }
    let response = ResponseProgress::awaited();
    let requested = expectation_of(&mut request, &response);
    let is_write = !is_safe(request.method());
    let broken_uploads = is_write.then(|| limits.broken_uploads.clone());
    let upload = Upload {
        fate: UploadFate::new(response, broken_uploads, limits.client),
        place: ClientPlace::new(limits.places, limits.client),
    };
    let idle = IdleTimer::new(limits.idle_timeout);
    let (head, body) = request.into_parts();
    let is_awaited = requested.is_none() && head.headers.contains_key(CONTENT_LENGTH);
    let mut body = Box::pin(UploadBody {
        body,
        first: None,
        last: None,
        requested,
        idle,
        clock,
        stall: StallWatch::new(upload.place.clone(), limits.lowest_rate),
        fate: upload.fate.clone(),
        broken_off: None,
    });
    if is_awaited {
        poll_fn(|cx| body.as_mut().poll_beginning(cx)).await?;
    }
    Ok((
        Request::from_parts(head, UnsyncBoxBody::new(body)),
        Some(upload),
    ))
}

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
    /// A client's body with its timers; see [`with_upload`].
    struct UploadBody<B> {
        #[pin]
        body: B,
        // The beginning of the content, which was waited for.
        first: Option<Frame<Bytes>>,
        // The end of the content, which waits for a place.
        last: Option<Option<Frame<Bytes>>>,
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
    /// Waits for the first frame.
    fn poll_beginning(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let upload = self.project();
        let kind = match upload.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                upload.idle.stop();
                *upload.first = Some(frame);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => ProxyErrorKind::Request.caused_by(error),
            Poll::Ready(None) => ProxyErrorKind::Request.caused_by(truncated()),
            Poll::Pending => {
                ready!(upload.idle.poll_timeout(cx));
                ProxyErrorKind::RequestTimeout.caused_by(StalledBody::Client)
            }
        };
        Poll::Ready(Err(kind))
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
        let polled = match upload.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => upload.body.as_mut().poll_frame(cx),
        };
        let left = upload.body.size_hint();
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
        let is_passed_on = self.first.is_none() && self.last.is_none();
        self.broken_off.is_none() && is_passed_on && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error of content that is shorter than its announced length.
fn truncated() -> BoxError {
    let message = "the client's content is shorter than announced";
    io::Error::new(io::ErrorKind::UnexpectedEof, message).into()
}
