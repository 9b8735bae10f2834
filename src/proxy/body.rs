//! The content of an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::BoxError;

use super::expect::Answered;
use super::idle::{Idle, Stalled};

/// The body of a [`ReverseProxy`](super::ReverseProxy)'s answer: the upstream's, frame by frame, with its trailers.
///
/// It ends with an error where the upstream breaks off, or is silent for longer than
/// [`idle_timeout`](super::ReverseProxy::idle_timeout) while somebody waits for it. Dropping it gives the connection up.
#[derive(Debug)]
pub struct ProxyBody(Kind);

#[derive(Debug)]
enum Kind {
    Upstream {
        body: Incoming,
        idle: Idle,
        _answered: Option<Answered>,
    },
    Own(Option<Bytes>),
}

impl ProxyBody {
    pub(super) fn new(body: Incoming, idle: Duration, answered: Option<Answered>) -> Self {
        Self(Kind::Upstream {
            body,
            idle: Idle::new(idle),
            _answered: answered,
        })
    }

    pub(super) fn text(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for ProxyBody {
    fn from(content: Bytes) -> Self {
        Self(Kind::Own(
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
            Kind::Own(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                idle.end();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => idle
                .poll_nothing(cx)
                .map(|()| Some(Err(Stalled::Upstream.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Upstream { body, .. } => body.is_end_stream(),
            Kind::Own(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Upstream { body, .. } => body.size_hint(),
            Kind::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
