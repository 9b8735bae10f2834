//! Moves a body from the inner service to all who read it, and into the store.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::FlightLimits;
use crate::flight::{Ended, Lead, Room, Stream};
use crate::semantics::reason::Refusal;

use super::body::BoxError;
use super::capture::{Capture, keepable};

/// One fill's body under way. While it is collected for the store it runs at the inner service's pace; after that at
/// the pace of its slowest reader.
pub(super) struct Pump<Res, F, H> {
    body: Pin<Box<Res>>,
    stream: Stream,
    capture: Capture,
    lead: Arc<Lead<F, H>>,
    ends_by: Instant,
    stall: Duration,
}

/// What comes next.
enum Next<E> {
    Frame(Frame<Bytes>),
    End,
    Failed(E),
    Abandoned,
    TooSlow,
}

impl<Res, F, H> Pump<Res, F, H>
where
    Res: Body<Data = Bytes>,
    Res::Error: Into<BoxError>,
{
    pub(super) fn new(
        body: Res,
        stream: Stream,
        capture: Capture,
        lead: Arc<Lead<F, H>>,
        limits: FlightLimits,
    ) -> Self {
        Self {
            body: Box::pin(body),
            stream,
            capture,
            lead,
            ends_by: Instant::now() + limits.fill,
            stall: limits.stall,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            if room(&self.stream, self.stall).await == Room::Nobody {
                return;
            }
            match self.next().await {
                Next::Abandoned => return,
                Next::TooSlow => self.give_up(Refusal::TooSlow),
                Next::Frame(frame) => match frame.into_data() {
                    Ok(data) => self.pass_on(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        self.capture.end(trailers.clone());
                        return self.stream.end(Ended::Cleanly(trailers));
                    }
                },
                Next::End => {
                    self.capture.end(None);
                    return self.stream.end(Ended::Cleanly(None));
                }
                Next::Failed(error) => {
                    self.capture.give_up(Refusal::BodyFailed);
                    self.lead.close();
                    return self.stream.end(Ended::Failed(Arc::from(error.into())));
                }
            }
        }
    }

    fn pass_on(&mut self, data: Bytes) {
        let data = keepable(&data);
        self.capture.data(&data);
        self.stream.push(data);
        if self.capture.is_over() {
            self.stop_keeping();
        }
    }

    fn give_up(&mut self, refusal: Refusal) {
        self.capture.give_up(refusal);
        self.stop_keeping();
    }

    fn stop_keeping(&self) {
        self.lead.close();
        self.stream.drop_what_was_read();
    }

    async fn next(&mut self) -> Next<Res::Error> {
        let is_kept = !self.capture.is_over();
        let next = poll_fn(|cx| {
            if self.stream.poll_abandoned(cx).is_ready() {
                return Poll::Ready(Next::Abandoned);
            }
            self.body.as_mut().poll_frame(cx).map(|frame| match frame {
                None => Next::End,
                Some(Ok(frame)) => Next::Frame(frame),
                Some(Err(error)) => Next::Failed(error),
            })
        });
        if is_kept {
            timeout_at(self.ends_by, next)
                .await
                .unwrap_or(Next::TooSlow)
        } else {
            next.await
        }
    }
}

/// Waits for the slowest reader, as long as that may take.
async fn room(stream: &Stream, stall: Duration) -> Room {
    loop {
        match timeout(stall, poll_fn(|cx| stream.poll_room(cx))).await {
            Ok(room) => return room,
            Err(_) => stream.give_up_slowest(),
        }
    }
}
