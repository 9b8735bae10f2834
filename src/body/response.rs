//! The body of every response of the cache.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::{BodyError, SharedError};
use crate::flight::{BodyEvent, BodyReader};
use crate::semantics::reason::Refusal;

use crate::body::byte_meter::ByteMeter;
use crate::body::capture::Capture;
use crate::body::ending::{EndingBody, FramePoll};
use crate::body::kept_chunks::keepable;
use crate::body::origin::OriginBody;
use crate::body::watched::WatchedBody;

pin_project! {
    /// The body of a response from a [`Cache`](crate::Cache): stored bytes, or the inner service's
    /// body, which streams through frame by frame.
    ///
    /// Data, trailers, size hint and end of stream are those of the body behind it. The default is
    /// an empty body.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    /// The source of the bytes.
    #[project = KindProjection]
    enum Kind<B> {
        Whole {
            data: Option<Bytes>,
            // Boxed, because every response is moved with its body, and few have trailers.
            trailers: Option<Box<HeaderMap>>,
            // Whether the size hint may be taken for the `Content-Length`.
            is_sized: bool,
        },
        Streaming {
            #[pin]
            body: OriginBody<B>,
            capture: Option<Box<Capture>>,
            meter: Option<ByteMeter>,
        },
        Ending {
            // Boxed, as few answers have one.
            body: Box<EndingBody<B>>,
        },
        Shared {
            reader: BodyReader,
            left: Option<u64>,
            meter: Option<ByteMeter>,
        },
        Pieces {
            left: std::vec::IntoIter<Bytes>,
        },
        Failed {
            error: Option<SharedError>,
        },
    }
}

impl<B> ResponseBody<B> {
    fn new(kind: Kind<B>) -> Self {
        Self { kind }
    }

    /// A stored body.
    #[inline]
    pub(crate) fn whole(data: Bytes, trailers: Option<&HeaderMap>) -> Self {
        Self::new(Kind::Whole {
            data: Some(data).filter(|data| !data.is_empty()),
            // Servers that know a length send no trailers.
            is_sized: trailers.is_none(),
            trailers: trailers.cloned().map(Box::new),
        })
    }

    /// The empty body of a response to HEAD whose GET has a body of unknown length.
    pub(crate) fn empty_of_unknown_size() -> Self {
        Self::new(Kind::Whole {
            data: None,
            trailers: None,
            is_sized: false,
        })
    }

    /// The inner service's body, untouched.
    pub(crate) fn streaming(body: WatchedBody<B>) -> Self {
        Self::from_origin(OriginBody::streaming(body))
    }

    /// The inner service's body, or stored bytes in its place, untouched.
    pub(crate) fn from_origin(body: OriginBody<B>) -> Self {
        Self::new(Kind::Streaming {
            body,
            capture: None,
            meter: None,
        })
    }

    /// The inner service's body, whose end waits for some work.
    pub(crate) fn ending(body: EndingBody<B>) -> Self {
        let body = Box::new(body);
        Self::new(Kind::Ending { body })
    }

    /// Pieces of stored bytes, one after the other. They must not be empty.
    pub(crate) fn pieces(pieces: Vec<Bytes>) -> Self {
        let left = pieces.into_iter();
        Self::new(Kind::Pieces { left })
    }

    /// A body that is shared with other readers; `left` is its length where that is known.
    pub(crate) fn shared(reader: BodyReader, left: Option<u64>) -> Self {
        Self::new(Kind::Shared {
            reader,
            left,
            meter: None,
        })
    }

    /// A body that failed while it was collected.
    pub(crate) fn failed(error: SharedError) -> Self {
        Self::new(Kind::Failed { error: Some(error) })
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// The length of the data, if it is known.
    #[inline]
    pub(crate) fn data_length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Whole { data, .. } => Some(data.as_ref().map_or(0, |data| data.len() as u64)),
            _ => self.size_hint().exact(),
        }
    }

    /// Whether all of the data is here.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.kind, Kind::Whole { .. } | Kind::Pieces { .. })
    }

    /// Waits until a body that is shared with other readers has ended. Others are not waited for.
    pub(crate) async fn wait_for_end(self) {
        if let Kind::Shared { mut reader, .. } = self.kind {
            let is_more = |event| matches!(event, Ok(BodyEvent::Data(_) | BodyEvent::Trailers(_)));
            while is_more(poll_fn(|cx| reader.poll_next(cx)).await) {}
        }
    }

    /// Lets the bytes of a body that is still to come be counted as they are read.
    pub(crate) fn set_meter(&mut self, new: ByteMeter) {
        match &mut self.kind {
            Kind::Streaming { meter, .. } | Kind::Shared { meter, .. } => *meter = Some(new),
            Kind::Ending { body } => body.set_meter(new),
            _ => {}
        }
    }

    /// The inner service's body, collected for the store as it streams.
    pub(crate) fn captured(body: OriginBody<B>, mut capture: Capture) -> Self {
        // A server does not poll a body that has ended before it began.
        if body.is_end_stream() {
            capture.end(None);
        }
        Self::new(Kind::Streaming {
            body,
            capture: Some(Box::new(capture)),
            meter: None,
        })
    }
}

impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::new(Kind::Whole {
            data: None,
            trailers: None,
            is_sized: true,
        })
    }
}

/// A complete body, for responses made outside of a cache.
impl<B> From<Bytes> for ResponseBody<B> {
    fn from(content: Bytes) -> Self {
        Self::whole(content, None)
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Whole { .. } => "stored",
            Kind::Streaming { .. } | Kind::Ending { .. } => "streaming",
            Kind::Shared { .. } => "shared",
            Kind::Pieces { .. } => "parts",
            Kind::Failed { .. } => "failed",
        };
        f.debug_tuple("ResponseBody").field(&kind).finish()
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<B::Error>>>> {
        match self.project().kind.project() {
            KindProjection::Whole { data, trailers, .. } => {
                let frame = match data.take() {
                    Some(data) => Some(Frame::data(data)),
                    None => trailers.take().map(|trailers| Frame::trailers(*trailers)),
                };
                Poll::Ready(frame.map(Ok))
            }
            KindProjection::Pieces { left } => {
                Poll::Ready(left.next().map(|piece| Ok(Frame::data(piece))))
            }
            KindProjection::Failed { error } => {
                Poll::Ready(error.take().map(|error| Err(BodyError::shared(error))))
            }
            // Out of line: a hit need not save what they use.
            KindProjection::Shared {
                reader,
                left,
                meter,
            } => poll_shared(reader, left, meter, cx),
            KindProjection::Streaming {
                body,
                capture,
                meter,
            } => poll_streaming(body, capture, meter, cx),
            KindProjection::Ending { body } => body.poll_counted(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole { data, trailers, .. } => data.is_none() && trailers.is_none(),
            Kind::Streaming { body, .. } => body.is_end_stream(),
            Kind::Ending { body } => body.is_at_end(),
            Kind::Shared { reader, .. } => reader.is_at_end(),
            Kind::Pieces { left } => left.len() == 0,
            Kind::Failed { error } => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole { data, is_sized, .. } => {
                let length = data.as_ref().map_or(0, |data| data.len() as u64);
                if *is_sized {
                    return SizeHint::with_exact(length);
                }
                let mut at_least = SizeHint::default();
                at_least.set_lower(length);
                at_least
            }
            Kind::Streaming { body, .. } => body.size_hint(),
            Kind::Ending { body } => body.hint(),
            Kind::Shared { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Pieces { left } => {
                SizeHint::with_exact(left.as_slice().iter().map(|piece| piece.len() as u64).sum())
            }
            Kind::Failed { .. } => SizeHint::default(),
        }
    }
}

/// Polls a body that is shared with other readers.
#[inline(never)]
fn poll_shared<E>(
    reader: &mut BodyReader,
    left: &mut Option<u64>,
    meter: &mut Option<ByteMeter>,
    cx: &mut Context<'_>,
) -> FramePoll<E> {
    let read = ready!(reader.poll_next(cx)).map_err(BodyError::cache)?;
    let frame = frame_of(read, left);
    if let Some(meter) = meter {
        meter.count(&frame);
    }
    Poll::Ready(frame)
}

/// Polls the inner service's body, which the meter and the capture see.
#[inline(never)]
fn poll_streaming<B: Body<Data = Bytes>>(
    mut body: Pin<&mut OriginBody<B>>,
    capture: &mut Option<Box<Capture>>,
    meter: &mut Option<ByteMeter>,
    cx: &mut Context<'_>,
) -> FramePoll<B::Error> {
    let frame = ready!(body.as_mut().poll_frame(cx));
    if let Some(meter) = meter {
        meter.count(&frame);
    }
    if let Some(capture) = capture {
        observe(capture, &frame, body.is_end_stream());
    }
    Poll::Ready(frame)
}

/// The frame of a shared reader's event; `left` counts down the announced length.
fn frame_of<E>(
    read: BodyEvent,
    left: &mut Option<u64>,
) -> Option<Result<Frame<Bytes>, BodyError<E>>> {
    match read {
        BodyEvent::Data(data) => {
            if let Some(left) = left {
                *left = left.saturating_sub(data.len() as u64);
            }
            Some(Ok(Frame::data(data)))
        }
        BodyEvent::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
        BodyEvent::End => None,
        BodyEvent::Failed(error) => Some(Err(BodyError::shared(error))),
    }
}

/// Shows a frame to the capture.
fn observe<E>(capture: &mut Capture, frame: &Option<Result<Frame<Bytes>, E>>, is_last: bool) {
    match frame {
        None => capture.end(None),
        Some(Err(_)) => capture.give_up(Refusal::BodyFailed),
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                if !capture.is_over() {
                    capture.data(&keepable(data));
                }
                if is_last {
                    capture.end(None);
                }
            } else if let Some(trailers) = frame.trailers_ref() {
                capture.end(Some(trailers.clone()));
            }
        }
    }
}
