//! The content of a response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;
use crate::proxy::upstream::http1::content::UpstreamContent;

use super::in_flight::RequestInFlight;
use super::places::ResponsePlace;
use super::response_progress::ResponseInProgress;
use super::timers::idle_timer::{IdleTimer, StalledBody};
use super::timers::reader_timer::{ReaderLimits, TimedReader};

/// The body of a [`ReverseProxy`](crate::proxy::ReverseProxy)'s response: the upstream's body,
/// frame by frame, trailers included.
///
/// It ends with an error when the upstream closes the connection early, or pauses for longer than
/// [`idle_timeout`](crate::proxy::ReverseProxy::idle_timeout) while the body is being read, or when
/// the reader pauses for longer than
/// [`reader_timeout`](crate::proxy::ReverseProxy::reader_timeout). Dropping it early closes the
/// HTTP/1.1 connection, or resets the HTTP/2 stream.
#[derive(Debug)]
pub struct ProxyBody(Kind);

#[derive(Debug)]
enum Kind {
    Upstream(TimedReader<UpstreamBody>),
    /// A body of the proxy's own, until it has been read.
    Text(Option<Bytes>),
}

/// The state of the exchange that lasts as long as its response.
#[derive(Debug)]
pub(in crate::proxy) struct Exchange {
    pub(in crate::proxy) in_progress: Option<ResponseInProgress>,
    pub(in crate::proxy) in_flight: Option<RequestInFlight>,
    pub(in crate::proxy) is_http2: bool,
}

/// The body that an upstream sends.
#[derive(Debug)]
struct UpstreamBody {
    body: UpstreamContent,
    idle: IdleTimer,
    exchange: Exchange,
}

impl UpstreamBody {
    /// Whether the end of a body is none: hyper takes the reset of an HTTP/2 stream for one, if its
    /// reason is `NO_ERROR` or `CANCEL`.
    ///
    /// A server may reset a stream so after a whole response, to end the request's content (RFC
    /// 9113 §8.1). Whether the response was whole is not known then.
    fn is_cut_off(&self) -> bool {
        let in_progress = self.exchange.in_progress.as_ref();
        let is_sent = in_progress.is_none_or(ResponseInProgress::is_content_sent);
        self.exchange.is_http2 && is_sent && !self.body.is_end_stream()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if self.is_cut_off() => {
                let cause = "the upstream reset the stream before the end of its response";
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, cause);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(frame) => {
                self.idle.stop();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => self
                .idle
                .poll_timeout(cx)
                .map(|()| Some(Err(StalledBody::Upstream.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ProxyBody {
    /// The body of a response whose head has arrived, with what has arrived of it.
    pub(in crate::proxy) async fn begin(
        body: UpstreamContent,
        idle_timeout: Duration,
        reader: ReaderLimits,
        place: ResponsePlace,
        exchange: Exchange,
    ) -> Self {
        let body = UpstreamBody {
            body,
            idle: IdleTimer::new(idle_timeout),
            exchange,
        };
        Self(Kind::Upstream(
            TimedReader::begin(body, place, reader).await,
        ))
    }
}

/// A body that is complete already, for responses that do not come from an upstream.
impl From<Bytes> for ProxyBody {
    fn from(content: Bytes) -> Self {
        Self(Kind::Text(
            Some(content).filter(|content| !content.is_empty()),
        ))
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Upstream(body) => Pin::new(body).poll_frame(cx),
            Kind::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Upstream(body) => body.is_end_stream(),
            Kind::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Upstream(body) => body.size_hint(),
            Kind::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
