//! The time of one response over HTTP/2: a client that takes nothing of it loses it, whatever else
//! happens on its connection.
//!
//! hyper does not poll a body while the client's window is closed, so the body cannot notice. The
//! task of its stream does: it is polled by [`StreamExecutor`], which body and response tell
//! [whose turn](Turn) it is. When the task ends, the stream is reset, and what it held is freed.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// The largest piece of a response that is passed on at once. A client that takes less within the
/// timeout is one that takes nothing.
const MAX_PIECE: usize = 32 * 1024;

thread_local! {
    /// Whose turn it is in the stream that is polled now; `None` outside of streams.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The same as before: neither has done anything.
    Unchanged,
    /// The service, for the response or for more of it.
    Service,
    /// The client, to take what it was given.
    Client,
}

/// Says whose turn it is in the stream that is polled now. Returns whether there is one.
pub fn set_turn(turn: Turn) -> bool {
    let is_stream = TURN.get().is_some();
    if is_stream {
        TURN.set(Some(turn));
    }
    is_stream
}

/// Runs the streams of a connection, each as long as its client takes something.
#[derive(Clone, Copy, Debug)]
pub struct StreamExecutor {
    timeout: Duration,
}

impl StreamExecutor {
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(TimedStream {
            stream,
            timeout: self.timeout,
            client_since: None,
            timer: None,
        });
    }
}

pin_project! {
    struct TimedStream<F> {
        #[pin]
        stream: F,
        timeout: Duration,
        // Since when it is the client's turn.
        client_since: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for TimedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let outer = TURN.replace(Some(Turn::Unchanged));
        let polled = this.stream.poll(cx);
        let turn = TURN.replace(outer);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        match turn {
            Some(Turn::Client) => *this.client_since = Some(Instant::now()),
            Some(Turn::Service) => *this.client_since = None,
            Some(Turn::Unchanged) | None => {}
        }
        let Some(since) = *this.client_since else {
            *this.timer = None;
            return Poll::Pending;
        };
        let at = since + *this.timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                tracing::debug!("stream reset: its client takes nothing of the response");
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

pin_project! {
    /// A body in pieces of bounded length, if it is that of a stream.
    ///
    /// hyper gives each to HTTP/2 as a whole once the client takes some of it. The last one is a
    /// copy: a client that does not take it keeps no other part of a stored response.
    pub struct InPieces<B> {
        #[pin]
        body: B,
        left: Bytes,
        is_stream: bool,
    }
}

impl<B> InPieces<B> {
    pub fn new(body: B, is_stream: bool) -> Self {
        Self {
            body,
            left: Bytes::new(),
            is_stream,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for InPieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.left.is_empty() {
            let frame = match ready!(this.body.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) if *this.is_stream && !data.is_empty() => *this.left = data,
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = match this.left.len() > MAX_PIECE {
            true => this.left.split_to(MAX_PIECE),
            false => Bytes::copy_from_slice(&std::mem::take(this.left)),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, left) = (self.body.size_hint(), self.left.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(left));
        }
        hint.set_lower(hint.lower().saturating_add(left));
        hint
    }
}
