//! Moves a body from the inner service to all who read it, and into the store.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::config::CoalesceOptions;
use crate::flight::{BodyEnd, BodyStream, Capacity};
use crate::semantics::reason::Refusal;

use crate::body::capture::{Capture, keepable};
use crate::error::BoxError;
use crate::timeout::with_timeout;

/// Frames that are moved before the head is sent: all there are of a body that is here already.
const AT_ONCE: usize = 2;

/// One fill's body under way. While it is collected for the store it runs at the inner service's pace; after that, when
/// what the capture held has been let go of, at the pace of its slowest reader.
pub(crate) struct Pump<Res> {
    body: Pin<Box<Res>>,
    stream: BodyStream,
    capture: Capture,
    ends_by: Option<Instant>,
    stall: Duration,
}

/// What comes next.
enum Next {
    Frame(Frame<Bytes>),
    End,
    Failed(BoxError),
    Abandoned,
    TooSlow,
}

impl<Res> Pump<Res>
where
    Res: Body<Data = Bytes>,
    Res::Error: Into<BoxError>,
{
    /// `passed` is how long it has taken until the head.
    pub(crate) fn new(
        body: Res,
        stream: BodyStream,
        capture: Capture,
        limits: CoalesceOptions,
        passed: Duration,
    ) -> Self {
        Self {
            body: Box::pin(body),
            stream,
            capture,
            ends_by: Instant::now().checked_add(limits.fill_timeout.saturating_sub(passed)),
            stall: limits.slow_reader_timeout,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut frames = 0_usize;
        loop {
            frames = frames.saturating_add(1);
            if frames == AT_ONCE + 1 {
                // The rest is not for whoever is about to send the head.
                yield_now().await;
            }
            consume_budget().await;
            if room(&self.stream, self.stall).await == Capacity::NoReaders {
                return;
            }
            match self.next().await {
                Next::Abandoned => return,
                Next::TooSlow => self.capture.give_up(Refusal::TooSlow),
                Next::Frame(frame) => match frame.into_data() {
                    Ok(data) => self.pass_on(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        return self.end(trailers);
                    }
                },
                Next::End => return self.end(None),
                Next::Failed(error) => {
                    self.capture.give_up(Refusal::BodyFailed);
                    return self.stream.end(BodyEnd::Failed(Arc::from(error)));
                }
            }
        }
    }

    fn pass_on(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let data = keepable(&data);
        self.capture.data(&data);
        if !self.stream.push(data) {
            self.capture.give_up(Refusal::Budget);
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.stream.share().release_reserved();
        // Slow readers then hold no more than what is stored.
        let stream = &self.stream;
        self.capture
            .end_as(trailers.clone(), |whole| stream.replace_chunks(whole));
        self.stream.end(BodyEnd::Complete(trailers));
    }

    async fn next(&mut self) -> Next {
        let is_kept = !self.capture.is_over();
        let next = poll_fn(|cx| {
            if self.stream.poll_abandoned(cx).is_ready() {
                return Poll::Ready(Next::Abandoned);
            }
            self.body.as_mut().poll_frame(cx).map(|frame| match frame {
                None => Next::End,
                Some(Ok(frame)) => Next::Frame(frame),
                Some(Err(error)) => Next::Failed(error.into()),
            })
        });
        if is_kept {
            let until = |at: Instant| at.saturating_duration_since(Instant::now());
            let left = self.ends_by.map_or(Duration::MAX, until);
            with_timeout(left, next).await.unwrap_or(Next::TooSlow)
        } else {
            next.await
        }
    }
}

/// However it ends, by a panic of the body or with the runtime, its readers are told.
impl<Res> Drop for Pump<Res> {
    fn drop(&mut self) {
        self.stream.end(BodyEnd::Failed(Arc::new(GivenUp)));
    }
}

/// The error of readers whose source is gone.
#[derive(Debug)]
struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response ended before its body was whole")
    }
}

impl Error for GivenUp {}

/// Waits for the slowest reader, as long as that may take.
async fn room(stream: &BodyStream, stall: Duration) -> Capacity {
    loop {
        match with_timeout(stall, poll_fn(|cx| stream.poll_capacity(cx))).await {
            Some(room) => return room,
            None => stream.drop_slowest_readers(),
        }
    }
}
