//! Moves a body from the inner service to all its readers, and into the store.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
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

use crate::body::capture::Capture;
use crate::body::first_frames::{FirstFrames, Rest};
use crate::body::kept_chunks::keepable;
use crate::body::origin::OriginBody;
use crate::error::{BodyError, SharedError};
use crate::timeout::{with_deadline, with_timeout};

/// The shortest time between two looks at readers that stop.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The time after the last byte of a body of known length in which its end may come, unless its head
/// announces trailers.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The periods of the time for collecting a body: of a second each by default.
const PERIODS: u32 = 30;

/// The bytes that a body may hold without moving, also where room is scarce.
const SMALL: u64 = 16 * 1024;

/// The body of one fill on its way. While it is collected for the store it runs at the inner
/// service's pace; when it is not, at the pace of its slowest reader.
pub(crate) struct Pump {
    stream: BodyStream,
    capture: Capture,
    collecting: CollectingTime,
    /// The time for the end of the body after its last byte, and since when that is waited for.
    end_timeout: Duration,
    whole_since: Option<Instant>,
    slow_reader_timeout: Duration,
    /// Whether the readers know how the body has ended.
    has_ended: bool,
}

/// The time for collecting a body, in [`PERIODS`], at whose ends its progress is looked at.
struct CollectingTime {
    period: Duration,
    /// The end of this period; `None` if it is beyond all time.
    ends: Option<Instant>,
    /// The periods that have ended.
    ended: u32,
    /// The bytes that were here at the beginning of this period, and of the second half.
    before: u64,
    at_half: u64,
}

impl CollectingTime {
    fn new(time: Duration) -> Self {
        let period = time / PERIODS;
        Self {
            period,
            ends: Instant::now().checked_add(period),
            ended: 0,
            before: 0,
            at_half: 0,
        }
    }

    /// Ends a period, at whose end so many bytes are here. Returns why the body is not collected
    /// any more: it is not whole after the last period, or it hardly moves while room is scarce.
    fn end_period(&mut self, bytes: u64, is_scarce: bool) -> Option<Refusal> {
        self.ended += 1;
        let is_stuck = bytes > SMALL && bytes - self.before <= self.before / 4;
        self.before = bytes;
        if self.ended == PERIODS / 2 {
            self.at_half = bytes;
        }
        if self.ended < PERIODS {
            self.ends = self.ends.and_then(|end| end.checked_add(self.period));
            return (is_scarce && is_stuck).then_some(Refusal::Budget);
        }
        Some(match bytes > self.at_half {
            true => Refusal::Endless,
            false => Refusal::TooSlow,
        })
    }
}

/// The next event of a body.
enum PumpEvent<E> {
    Frame(Frame<Bytes>),
    End,
    Failed(BodyError<E>),
    Abandoned,
    PeriodOver,
}

impl Pump {
    /// A pump that stops collecting after `time_left`. Announced trailers are waited for as long as
    /// any other chunk.
    pub(crate) fn new(
        stream: BodyStream,
        capture: Capture,
        (time_left, has_trailers): (Duration, bool),
        limits: CoalesceOptions,
    ) -> Self {
        let end_timeout = match has_trailers {
            true => END_TIMEOUT.max(limits.coalesce_takeover_timeout),
            false => END_TIMEOUT,
        };
        Self {
            stream,
            capture,
            collecting: CollectingTime::new(time_left),
            end_timeout,
            whole_since: None,
            slow_reader_timeout: limits.slow_reader_timeout,
            has_ended: false,
        }
    }

    /// Moves the body until it has ended, failed, or has no readers and no capture any more.
    ///
    /// `share` is called at the clean end; it is dropped if the body fails before, or is not
    /// collected any more.
    pub(crate) async fn run<Res>(mut self, first: FirstFrames<Res>, share: impl FnOnce())
    where
        Res: Body<Data = Bytes, Error: Send + 'static>,
    {
        let mut share = Some(share);
        let FirstFrames { chunks, rest } = first;
        for chunk in chunks.into_iter().flatten() {
            self.push(chunk);
        }
        let mut body = match rest {
            Rest::Ended(trailers) => {
                self.share_at_end(share);
                return self.end(trailers).await;
            }
            Rest::Failed(error) => return self.fail(error),
            Rest::Panicked => return,
            Rest::More(body) => body,
        };
        self.note_progress(&mut share);
        // The task that sends the head goes on first.
        yield_now().await;
        loop {
            consume_budget().await;
            if self.wait_for_room().await == Capacity::NoReaders {
                return;
            }
            match self.next(body.as_mut()).await {
                PumpEvent::Abandoned => return,
                PumpEvent::PeriodOver => {
                    self.end_period();
                    share = share.filter(|_| !self.capture.is_over());
                }
                PumpEvent::Frame(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.push(keepable(&data));
                        self.note_progress(&mut share);
                    }
                    Err(frame) => {
                        self.share_at_end(share);
                        let trailers = frame.into_trailers().ok();
                        return self.end(trailers).await;
                    }
                },
                PumpEvent::End => {
                    self.share_at_end(share);
                    return self.end(None).await;
                }
                PumpEvent::Failed(error) => return self.fail(error),
            }
        }
    }

    /// Looks at the progress of the body, and gives it up if that is not enough.
    fn end_period(&mut self) {
        let is_scarce = self.stream.share().is_scarce();
        let refusal = self.collecting.end_period(self.capture.length(), is_scarce);
        if let Some(refusal) = refusal {
            self.capture.give_up(refusal);
        }
    }

    /// Ends a body that has broken off.
    fn fail<E: Send + 'static>(&mut self, error: BodyError<E>) {
        self.capture.give_up(Refusal::BodyFailed);
        self.tell_end(BodyEnd::Failed(error.into_shared()));
    }

    /// Gives a chunk, which may be kept, to the store and to the readers.
    fn push(&mut self, data: Bytes) {
        self.capture.data(&data);
        if !self.stream.push(data) {
            self.capture.give_up(Refusal::Budget);
        }
    }

    /// Notes since when all bytes are here. A response that is not collected is left to its client:
    /// no reader waits for another.
    fn note_progress(&mut self, share: &mut Option<impl FnOnce()>) {
        let is_whole = self.stream.is_whole();
        self.whole_since = is_whole.then(|| self.whole_since.unwrap_or_else(Instant::now));
        if self.capture.is_over() {
            *share = None;
        }
    }

    /// Shares the response at the clean end of its body, unless bytes are missing. Before, the body
    /// may fail yet, or go on, although all announced bytes are here.
    fn share_at_end(&self, share: Option<impl FnOnce()>) {
        if let Some(share) = share.filter(|_| self.stream.has_announced_length()) {
            share();
        }
    }

    /// Waits for room in the stream, which is that of a reader alone. One that stops is given up if
    /// memory for such bodies runs short.
    async fn wait_for_room(&mut self) -> Capacity {
        let at_once = self
            .stream
            .poll_capacity(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(room) = at_once {
            return room;
        }
        loop {
            let stream = &self.stream;
            let room = poll_fn(|cx| stream.poll_capacity(cx));
            // Boxed, because most bodies wait for no reader.
            let room = Box::pin(wait_for_readers(stream, self.slow_reader_timeout, room));
            if let Some(room) = room.await {
                return room;
            }
        }
    }

    /// Ends the body cleanly for the store and for the readers. One that is not collected any more
    /// is left to the readers.
    async fn end(&mut self, trailers: Option<HeaderMap>) {
        let is_left_to_readers = self.capture.is_over();
        self.stream.share().release_reserved();
        // Slow readers read from the stored bytes, and hold no others.
        let stream = &self.stream;
        self.capture
            .end_with(trailers.clone(), |whole| stream.replace_chunks(whole));
        self.tell_end(BodyEnd::Complete(trailers));
        if is_left_to_readers {
            Box::pin(watch_readers(&self.stream, self.slow_reader_timeout)).await;
        }
    }

    /// Ends the readers.
    fn tell_end(&mut self, end: BodyEnd) {
        self.has_ended = true;
        self.stream.end(end);
    }

    /// The next event of the body, or of the period while it is being collected.
    async fn next<Res>(&mut self, mut body: Pin<&mut OriginBody<Res>>) -> PumpEvent<Res::Error>
    where
        Res: Body<Data = Bytes>,
    {
        let is_kept = !self.capture.is_over();
        let next = poll_fn(|cx| {
            if self.stream.poll_abandoned(cx).is_ready() {
                return Poll::Ready(PumpEvent::Abandoned);
            }
            body.as_mut().poll_frame(cx).map(|frame| match frame {
                None => PumpEvent::End,
                Some(Ok(frame)) => PumpEvent::Frame(frame),
                Some(Err(error)) => PumpEvent::Failed(error),
            })
        });
        if let Some(since) = self.whole_since {
            let end = with_deadline(since + self.end_timeout, next).await;
            return end.unwrap_or(PumpEvent::End);
        }
        match self.collecting.ends.filter(|_| is_kept) {
            Some(at) => with_deadline(at, next)
                .await
                .unwrap_or(PumpEvent::PeriodOver),
            None => next.await,
        }
    }
}

/// Ends the readers, however the pump ends: a panic of the body and the end of the runtime
/// included.
impl Drop for Pump {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tell_end(BodyEnd::Failed(SharedError::cache(PumpDropped)));
        }
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

/// Waits for the readers of a body that has ended and will not be stored. Those that stop are
/// dropped if their bytes crowd out those of others.
pub(crate) async fn watch_readers(stream: &BodyStream, slow_reader_timeout: Duration) {
    while stream.is_crowding() {
        let read = poll_fn(|cx| stream.poll_read(cx));
        let _ = wait_for_readers(stream, slow_reader_timeout, read).await;
    }
}

/// Waits until the readers let the source go on. `None` if they have not in time: those that have
/// read nothing in the second half of it were dropped then, if their bytes crowd out those of others.
async fn wait_for_readers<T>(
    stream: &BodyStream,
    slow_reader_timeout: Duration,
    ready: impl Future<Output = T>,
) -> Option<T> {
    let mut ready = pin!(ready);
    let half = (slow_reader_timeout / 2).max(MIN_INTERVAL);
    if let Some(outcome) = with_timeout(half, ready.as_mut()).await {
        return Some(outcome);
    }
    stream.begin_stall();
    let outcome = with_timeout(half, ready).await;
    if outcome.is_none() {
        stream.drop_stalled_readers();
    }
    outcome
}
