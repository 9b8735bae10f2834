//! Moves a body from the inner service to all its readers, and into the store.

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

use crate::flight::{BodyEnd, BodyStream, Capacity};
use crate::semantics::reason::Refusal;

use crate::body::capture::Capture;
use crate::body::kept_chunks::keepable;
use crate::error::BoxError;
use crate::timeout::with_timeout;

/// Frames moved before the head is sent: enough for a body that is in memory already.
const AT_ONCE: usize = 2;

/// The body of one fill on its way. While it is collected for the store it runs at the inner
/// service's pace; when it is not, at the pace of its slowest reader.
pub(crate) struct Pump<Res> {
    body: Pin<Box<Res>>,
    stream: BodyStream,
    capture: Capture,
    ends_by: Option<Instant>,
    slow_reader_timeout: Duration,
}

/// The next event of a body.
enum PumpEvent {
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
    /// A pump that stops collecting after `time_left`, and lets the slowest reader hold up the
    /// others for `slow_reader_timeout` at most.
    pub(crate) fn new(
        body: Res,
        stream: BodyStream,
        capture: Capture,
        time_left: Duration,
        slow_reader_timeout: Duration,
    ) -> Self {
        Self {
            body: Box::pin(body),
            stream,
            capture,
            ends_by: Instant::now().checked_add(time_left),
            slow_reader_timeout,
        }
    }

    /// Moves the body until it has ended, failed, or has no readers and no capture any more.
    pub(crate) async fn run(mut self) {
        let mut frames = 0_usize;
        loop {
            frames = frames.saturating_add(1);
            if frames == AT_ONCE + 1 {
                // The task that sends the head goes on first.
                yield_now().await;
            }
            consume_budget().await;
            if wait_for_room(&self.stream, self.slow_reader_timeout).await == Capacity::NoReaders {
                return;
            }
            match self.next().await {
                PumpEvent::Abandoned => return,
                PumpEvent::TooSlow => self.capture.give_up(Refusal::TooSlow),
                PumpEvent::Frame(frame) => match frame.into_data() {
                    Ok(data) => self.push_data(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        return self.end(trailers);
                    }
                },
                PumpEvent::End => return self.end(None),
                PumpEvent::Failed(error) => {
                    self.capture.give_up(Refusal::BodyFailed);
                    return self.stream.end(BodyEnd::Failed(Arc::from(error)));
                }
            }
        }
    }

    /// Gives a chunk to the store and to the readers. Empty chunks are dropped.
    fn push_data(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let data = keepable(&data);
        self.capture.data(&data);
        if !self.stream.push(data) {
            self.capture.give_up(Refusal::Budget);
        }
    }

    /// Ends the body cleanly for the store and for the readers.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.stream.share().release_reserved();
        // Slow readers read from the stored bytes, and hold no others.
        let stream = &self.stream;
        self.capture
            .end_with(trailers.clone(), |whole| stream.replace_chunks(whole));
        self.stream.end(BodyEnd::Complete(trailers));
    }

    /// The next event of the body, or of the deadline while it is being collected.
    async fn next(&mut self) -> PumpEvent {
        let is_kept = !self.capture.is_over();
        let next = poll_fn(|cx| {
            if self.stream.poll_abandoned(cx).is_ready() {
                return Poll::Ready(PumpEvent::Abandoned);
            }
            self.body.as_mut().poll_frame(cx).map(|frame| match frame {
                None => PumpEvent::End,
                Some(Ok(frame)) => PumpEvent::Frame(frame),
                Some(Err(error)) => PumpEvent::Failed(error.into()),
            })
        });
        if is_kept {
            let until = |at: Instant| at.saturating_duration_since(Instant::now());
            let left = self.ends_by.map_or(Duration::MAX, until);
            with_timeout(left, next).await.unwrap_or(PumpEvent::TooSlow)
        } else {
            next.await
        }
    }
}

/// Ends the readers, however the pump ends: a panic of the body and the end of the runtime
/// included.
impl<Res> Drop for Pump<Res> {
    fn drop(&mut self) {
        self.stream.end(BodyEnd::Failed(Arc::new(PumpDropped)));
    }
}

/// The error of readers whose pump was dropped.
#[derive(Debug)]
struct PumpDropped;

impl fmt::Display for PumpDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response ended before its body was whole")
    }
}

impl Error for PumpDropped {}

/// Waits for room in the stream, and gives up readers that stall.
async fn wait_for_room(stream: &BodyStream, timeout: Duration) -> Capacity {
    loop {
        match with_timeout(timeout, poll_fn(|cx| stream.poll_capacity(cx))).await {
            Some(room) => return room,
            None => stream.drop_slowest_readers(),
        }
    }
}
