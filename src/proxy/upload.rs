//! A request's content on its way to an upstream.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::error::BoxError;

use super::expect::{Expectation, Opening};
use super::idle::{Idle, Stalled};

/// Bodies of requests, whatever they were.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Since when it is the upstream's turn.
#[derive(Clone, Debug)]
pub(super) struct Turn(Arc<Mutex<Option<Instant>>>);

impl Turn {
    pub(super) fn upstreams() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// The upstream is there: its time begins, unless the client is waited for already.
    pub(super) fn begins(&self) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = since.map(|_| Instant::now());
    }

    /// The upstream has got what there was.
    fn is_upstreams(&self) {
        self.set(Some(Instant::now()));
    }

    /// The client is waited for.
    fn is_clients(&self) {
        self.set(None);
    }

    /// `None` while the client is waited for.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// A request's body, to be sent when `expectation` allows it.
pub(super) fn upload<B>(
    body: B,
    turn: Turn,
    idle: Duration,
    expectation: Option<&Expectation>,
) -> RequestBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        let none = Empty::new().map_err(|never| match never {});
        return none.boxed_unsync();
    }
    let upload = Upload {
        body,
        opening: expectation.map(Expectation::opening),
        idle: Idle::new(idle),
        turn,
    };
    upload.boxed_unsync()
}

pin_project! {
    struct Upload<B> {
        #[pin]
        body: B,
        opening: Option<Opening>,
        idle: Idle,
        turn: Turn,
    }
}

impl<B> Body for Upload<B>
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
        if let Some(opening) = upload.opening {
            ready!(opening.as_mut().poll(cx))?;
            *upload.opening = None;
        }
        match upload.body.poll_frame(cx) {
            Poll::Ready(frame) => {
                upload.idle.end();
                upload.turn.is_upstreams();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                upload.turn.is_clients();
                let idle = upload.idle.poll_nothing(cx);
                idle.map(|()| Some(Err(Stalled::Client.into())))
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
