//! A body that is given up when its reader stops, so that no upstream waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::BoxError;

use super::idle_timer::StalledBody;

/// A body with a timer for the pauses of its reader.
///
/// The timer costs nothing until a frame was read that is not the last: a reader that stops before
/// the first frame is one that was just given the response.
#[derive(Debug)]
pub(in crate::proxy::body) struct TimedReader<B: Send + Unpin + 'static> {
    timeout: Duration,
    kind: Kind<B>,
}

#[derive(Debug)]
enum Kind<B: Send + Unpin + 'static> {
    Untimed(B),
    Timed(Arc<Timed<B>>),
    /// Between the others.
    Empty,
}

/// A body and its timer. The timer wakes this, not a task.
struct Timed<B>(Mutex<State<B>>);

struct State<B> {
    /// `None` once it was given up.
    body: Option<B>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the last frame was read; `None` while the reader waits for more.
    read_at: Option<Instant>,
    timeout: Duration,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> TimedReader<B> {
    pub(in crate::proxy::body) fn new(body: B, timeout: Duration) -> Self {
        Self {
            timeout,
            kind: Kind::Untimed(body),
        }
    }

    fn start_timer(&mut self) {
        if let Kind::Untimed(body) = std::mem::replace(&mut self.kind, Kind::Empty) {
            let timed = Arc::new(Timed(Mutex::new(State {
                body: Some(body),
                timer: None,
                read_at: None,
                timeout: self.timeout,
            })));
            timed.frame_read();
            self.kind = Kind::Timed(timed);
        }
    }
}

impl<B: Send + 'static> Timed<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame_read(self: &Arc<Self>) {
        let mut state = self.lock();
        state.read_at = Some(Instant::now());
        if state.timer.is_none() {
            let given_up = self.run_timer(&mut state);
            drop(state);
            drop(given_up);
        }
    }

    /// Starts or continues the timer. Returns the body if its reader has stopped for too long.
    fn run_timer(self: &Arc<Self>, state: &mut State<B>) -> Option<B> {
        let read_at = state.read_at?;
        let until = read_at + state.timeout;
        let timer = state
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().reset(until);
        let waker = Waker::from(self.clone());
        if timer
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            return None;
        }
        state.timer = None;
        state.body.take()
    }
}

impl<B: Send + 'static> Wake for Timed<B> {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        if state.read_at.is_none() {
            // The reader waits; the next frame starts the timer again.
            let timer = state.timer.take();
            drop(state);
            return drop(timer);
        }
        let given_up = self.run_timer(&mut state);
        drop(state);
        drop(given_up);
    }
}

impl<B> fmt::Debug for Timed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").finish_non_exhaustive()
    }
}

impl<B: Send + Unpin + 'static> Drop for TimedReader<B> {
    fn drop(&mut self) {
        if let Kind::Timed(timed) = &self.kind {
            let mut state = timed.lock();
            // A running timer holds a reference to itself, by its waker.
            let (body, timer) = (state.body.take(), state.timer.take());
            drop(state);
            drop((body, timer));
        }
    }
}

impl<B> Body for TimedReader<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Untimed(body) => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                if matches!(polled, Poll::Ready(Some(Ok(_)))) && !body.is_end_stream() {
                    self.start_timer();
                }
                polled
            }
            Kind::Timed(timed) => {
                let mut state = timed.lock();
                state.read_at = None;
                let Some(body) = &mut state.body else {
                    return Poll::Ready(Some(Err(StalledBody::Reader.into())));
                };
                let polled = Pin::new(&mut *body).poll_frame(cx);
                let is_more = !body.is_end_stream();
                drop(state);
                if matches!(polled, Poll::Ready(Some(Ok(_)))) && is_more {
                    timed.frame_read();
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Untimed(body) => body.is_end_stream(),
            Kind::Timed(timed) => {
                let state = timed.lock();
                state.body.as_ref().is_some_and(Body::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Untimed(body) => body.size_hint(),
            Kind::Timed(timed) => {
                let state = timed.lock();
                state
                    .body
                    .as_ref()
                    .map_or_else(SizeHint::default, Body::size_hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::advance;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Frames, each after a while; the last one is known to be it.
    struct Frames {
        left: usize,
        delay: Pin<Box<Sleep>>,
        _held: Arc<()>,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.delay.as_mut().poll(cx));
            self.left -= 1;
            self.delay.as_mut().reset(Instant::now() + TIMEOUT * 3);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }
    }

    /// A body, and a count of one more for as long as it is held.
    fn body(frames: usize) -> (TimedReader<Frames>, Arc<()>) {
        let held = Arc::new(());
        let frames = Frames {
            left: frames,
            delay: Box::pin(sleep_until(Instant::now())),
            _held: held.clone(),
        };
        (TimedReader::new(frames, TIMEOUT), held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_when_its_reader_stops() {
        let (mut body, held) = body(3);
        body.frame().await.expect("a frame").expect("no error");
        advance(TIMEOUT - Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        // A source that takes long is no stopped reader.
        body.frame().await.expect("a frame").expect("no error");
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(TIMEOUT).await;
        assert_eq!(Arc::strong_count(&held), 1);
        let error = body
            .frame()
            .await
            .expect("an end")
            .expect_err("it is given up");
        assert_eq!(error.downcast_ref(), Some(&StalledBody::Reader));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_read_is_kept_and_a_dropped_one_is_not() {
        let (mut whole, held) = body(5);
        let mut frames = 0;
        while let Some(frame) = whole.frame().await {
            frame.expect("no error");
            frames += 1;
            tokio::time::sleep(TIMEOUT / 2).await;
        }
        assert_eq!((frames, Arc::strong_count(&held)), (5, 2));
        drop(whole);
        assert_eq!(Arc::strong_count(&held), 1);
        let (mut early, held) = body(5);
        early.frame().await.expect("a frame").expect("no error");
        drop(early);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    /// Most responses are one frame: they have no timer.
    #[tokio::test(start_paused = true)]
    async fn a_single_frame_starts_no_timer() {
        let (mut body, held) = body(1);
        body.frame().await.expect("a frame").expect("no error");
        assert!(matches!(body.kind, Kind::Untimed(_)));
        tokio::time::sleep(TIMEOUT * 2).await;
        assert_eq!(Arc::strong_count(&held), 2);
    }
}
