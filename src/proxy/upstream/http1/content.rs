//! The content of a response, which drives the connection that it comes from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Http1Connection;
use super::idle::IdleConnections;

/// The content of an upstream's response. Dropping it early closes its HTTP/1.1 connection, or
/// resets its HTTP/2 stream.
#[derive(Debug)]
pub(in crate::proxy) struct UpstreamContent {
    body: Incoming,
    /// `None` if a task drives the connection, or the content has ended.
    connection: Option<(Box<Http1Connection>, Arc<IdleConnections>)>,
    /// Held until the exchange has ended.
    _exchange: Option<Arc<()>>,
}

impl UpstreamContent {
    /// Content that comes by itself.
    pub(in crate::proxy::upstream) fn driven_by_task(body: Incoming) -> Self {
        Self::counted(body, None)
    }

    /// Content that comes by itself, of an exchange that counts for as long as this is held.
    pub(in crate::proxy::upstream) fn counted(body: Incoming, exchange: Option<Arc<()>>) -> Self {
        Self {
            body,
            connection: None,
            _exchange: exchange,
        }
    }

    /// Content that is read from its connection, which others may use afterwards.
    pub(super) fn read_from(
        body: Incoming,
        connection: Box<Http1Connection>,
        idle: &Arc<IdleConnections>,
    ) -> Self {
        if body.is_end_stream() {
            idle.put(connection);
            return Self::driven_by_task(body);
        }
        Self {
            body,
            connection: Some((connection, idle.clone())),
            _exchange: None,
        }
    }

    /// Leaves the connection to others.
    fn leave(&mut self) {
        if let Some((connection, idle)) = self.connection.take() {
            idle.put(connection);
        }
    }
}

impl Body for UpstreamContent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some((connection, _)) = &mut this.connection else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        // Only the driver brings more, which wakes the task by itself.
        let mut quiet = Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut this.body).poll_frame(&mut quiet);
        if polled.is_pending() {
            connection.drive(cx);
            polled = Pin::new(&mut this.body).poll_frame(&mut quiet);
        }
        match &polled {
            Poll::Ready(None) => this.leave(),
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.leave(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
