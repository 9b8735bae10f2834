//! The content of a response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;
use crate::proxy::upstream::http1::content::UpstreamContent;

use super::in_flight::RequestInFlight;
use super::places::ResponsePlace;
use super::response_progress::ResponseInProgress;
use super::timers::idle_timer::{IdleTimer, StalledBody};
use super::timers::reader_timer::{ReaderLimits, TimedReader};
use super::trailers::clean_trailers;

/// The body of a [`ReverseProxy`](crate::proxy::ReverseProxy)'s response: the upstream's body,
/// frame by frame, trailers included, but for fields that count only in a head.
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
    // Boxed: layers outside move each response several times.
    Upstream(Box<TimedReader<UpstreamBody>>),
    /// A body of the proxy's own, or one of the upstream that is all here, until it has been read.
    Whole(Option<Bytes>),
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
            Poll::Ready(mut frame) => {
                self.idle.stop();
                if let Some(Ok(frame)) = &mut frame {
                    clean_trailers(frame);
                }
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
        // The upload of a request goes on until the body of its response is dropped.
        let may_go = |body: &UpstreamBody| body.exchange.in_progress.is_none();
        let reader = TimedReader::begin(body, place, reader).await;
        Self(match reader.into_whole(may_go) {
            Ok(whole) => Kind::Whole(whole),
            Err(reader) => Kind::Upstream(Box::new(reader)),
        })
    }
}

impl ProxyBody {
    /// The body of a response with this status: a 205 has no content, whatever its framing says (RFC
    /// 9110 §15.3.6).
    pub(in crate::proxy) fn with_status(self, status: StatusCode) -> Self {
        match status {
            StatusCode::RESET_CONTENT => Self(Kind::Whole(None)),
            _ => self,
        }
    }
}

/// A body that is complete already, for responses that do not come from an upstream.
impl From<Bytes> for ProxyBody {
    fn from(content: Bytes) -> Self {
        Self(Kind::Whole(
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
            Kind::Upstream(body) => Pin::new(&mut **body).poll_frame(cx),
            Kind::Whole(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Upstream(body) => body.is_end_stream(),
            Kind::Whole(data) => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Upstream(body) => body.size_hint(),
            Kind::Whole(data) => SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
