//! The content of a response.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::BoxError;

use super::idle_timer::{IdleTimer, StalledBody};
use super::in_flight::RequestInFlight;
use super::response_progress::ResponseInProgress;

/// The body of a [`ReverseProxy`](crate::proxy::ReverseProxy)'s response: the upstream's body,
/// frame by frame, trailers included.
///
/// It ends with an error when the upstream closes the connection early, or pauses for longer than
/// [`idle_timeout`](crate::proxy::ReverseProxy::idle_timeout) while the body is being read.
/// Dropping it early closes the HTTP/1.1 connection, or resets the HTTP/2 stream.
#[derive(Debug)]
pub struct ProxyBody(Kind);

#[derive(Debug)]
enum Kind {
    Upstream {
        body: Incoming,
        idle: IdleTimer,
        _in_progress: Option<ResponseInProgress>,
        _in_flight: Option<RequestInFlight>,
    },
    /// A body of the proxy's own, until it has been read.
    Text(Option<Bytes>),
}

impl ProxyBody {
    pub(in crate::proxy) fn new(
        body: Incoming,
        idle_timeout: Duration,
        in_progress: Option<ResponseInProgress>,
        in_flight: Option<RequestInFlight>,
    ) -> Self {
        Self(Kind::Upstream {
            body,
            idle: IdleTimer::new(idle_timeout),
            _in_progress: in_progress,
            _in_flight: in_flight,
        })
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
        let (body, idle) = match &mut self.0 {
            Kind::Upstream { body, idle, .. } => (body, idle),
            Kind::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                idle.stop();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => idle
                .poll_timeout(cx)
                .map(|()| Some(Err(StalledBody::Upstream.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Upstream { body, .. } => body.is_end_stream(),
            Kind::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Upstream { body, .. } => body.size_hint(),
            Kind::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
