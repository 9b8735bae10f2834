//! A body that is given up when its reader stops, so that no upstream waits for it.
//!
//! ```text
//!  read to its end ------------------------------------------> the place is free
//!  the reader is slow ---------------------------------------> the place is given back
//!  it pauses for too long, is too slow, or others end it ----> the body is dropped
//! ```

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::error::BoxError;
use crate::proxy::body::pace::{ClientPace, LowestRate, Verdict};
use crate::proxy::body::places::{ClientPlace, ResponsePlace};

use super::idle_timer::StalledBody;
use super::poll_until::poll_until;

/// A frame that was read, or the end of a body.
type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// The limits of a response's reader.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct ReaderLimits {
    /// The longest pause.
    pub(in crate::proxy) timeout: Duration,
    pub(in crate::proxy) lowest_rate: LowestRate,
}

/// A body with a timer for the pauses of its reader.
///
/// A body whose only frame is there with the head has no timer, nor a place.
#[derive(Debug)]
pub(in crate::proxy::body) struct TimedReader<B: Send + Unpin + 'static>(Kind<B>);

#[derive(Debug)]
enum Kind<B: Send + Unpin + 'static> {
    /// All of the body was read.
    Whole {
        body: B,
        first: Option<Polled>,
    },
    Timed(Arc<Timed<B>>),
}

/// A body and its timer. The timer wakes this, not a task.
struct Timed<B>(Mutex<State<B>>);

struct State<B> {
    /// `None` once it was given up.
    body: Option<B>,
    /// The frame that was there with the head.
    first: Option<Polled>,
    timer: Option<Pin<Box<Sleep>>>,
    pace: ClientPace,
    timeout: Duration,
    /// `None` once the body was read to its end.
    place: Option<ClientPlace>,
    /// Resolves when others end the request, while that has no place.
    ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static> TimedReader<B> {
    /// Reads what there is of a body.
    pub(in crate::proxy::body) async fn begin(
        mut body: B,
        place: ResponsePlace,
        limits: ReaderLimits,
    ) -> Self {
        let mut first = None;
        if !body.is_end_stream() {
            let look = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx)));
            first = match look.await {
                Poll::Ready(polled) => Some(polled),
                Poll::Pending => None,
            };
        }
        if matches!(first, Some(None | Some(Err(_)))) || body.is_end_stream() {
            drop(place);
            return Self(Kind::Whole { body, first });
        }
        let timed = Arc::new(Timed(Mutex::new(State {
            body: Some(body),
            first,
            timer: None,
            pace: ClientPace::new(limits.lowest_rate),
            timeout: limits.timeout,
            place: Some(place.into_client_place()),
            ended: None,
        })));
        timed.reader_pauses();
        Self(Kind::Timed(timed))
    }

    /// The data of a body that was read to its end with one frame at most, if the body `may_go`.
    pub(in crate::proxy::body) fn into_whole(
        mut self,
        may_go: impl FnOnce(&B) -> bool,
    ) -> Result<Option<Bytes>, Self> {
        let Kind::Whole { body, first } = &mut self.0 else {
            return Err(self);
        };
        if body.is_end_stream() && may_go(body) {
            match first {
                None | Some(None) => return Ok(None),
                Some(Some(Err(_))) => {}
                Some(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_mut() {
                        return Ok(Some(std::mem::take(data)));
                    }
                }
            }
        }
        Err(self)
    }
}

impl<B> State<B> {
    /// Whether others have ended the request.
    fn is_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let ended = self.ended.as_mut();
        ended.is_some_and(|ended| Pin::new(&mut unconstrained(ended)).poll(cx).is_ready())
    }

    /// Sets the timer; whether it has passed already.
    fn is_timer_over(&mut self, until: Instant, cx: &mut Context<'_>) -> bool {
        let over = poll_fn(|cx| poll_until(&mut self.timer, until, cx));
        // A timer that is out of its task's budget would wake the state that is locked here.
        Pin::new(&mut unconstrained(over)).poll(cx).is_ready()
    }

    /// The reader has got a frame, and there are more.
    fn frame_read(&mut self, length: usize) {
        let is_fast_again = self.pace.moved(length);
        let place = self.place.as_ref().filter(|_| is_fast_again);
        if place.is_some_and(ClientPlace::take_again) {
            self.ended = None;
        }
    }
}

impl<B: Send + 'static> Timed<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader_pauses(self: &Arc<Self>) {
        let mut state = self.lock();
        state.pace.begin_wait();
        let has_timer = state.timer.is_some();
        drop(state);
        if !has_timer {
            self.look();
        }
    }

    /// Looks at the reader's pause, and sets the timer for the next look.
    fn look(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            let mut state = self.lock();
            let Some(since) = state.pace.pauses_since() else {
                // The next frame starts the timer again.
                let timer = state.timer.take();
                drop(state);
                return drop(timer);
            };
            let (verdict, next) = state.pace.check();
            let end = since + state.timeout;
            let is_too_slow = verdict == Verdict::TooSlow;
            if is_too_slow || Instant::now() >= end || state.is_ended(&mut cx) {
                return give_up(state, is_too_slow);
            }
            if let (Verdict::Slow, None, Some(place)) = (verdict, &state.ended, &state.place) {
                let place = place.clone();
                drop(state);
                let ended = place.give_back().cancelled_owned();
                self.lock().ended = Some(Box::pin(ended));
            } else if !state.is_timer_over(next.min(end), &mut cx) {
                return;
            }
        }
    }
}

/// Drops a body whose reader does not read.
fn give_up<B>(mut state: MutexGuard<'_, State<B>>, is_too_slow: bool) {
    let (body, first) = (state.body.take(), state.first.take());
    let (place, timer) = (state.place.take(), state.timer.take());
    let ended = state.ended.take();
    drop(state);
    if let (Some(place), true) = (&place, is_too_slow) {
        place.count_too_slow();
    }
    drop((body, first, place, timer, ended));
}

impl<B: Send + 'static> Wake for Timed<B> {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl<B> fmt::Debug for Timed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").finish_non_exhaustive()
    }
}

impl<B: Send + Unpin + 'static> Drop for TimedReader<B> {
    fn drop(&mut self) {
        if let Kind::Timed(timed) = &self.0 {
            // A running timer holds a reference to itself, by its waker.
            give_up(timed.lock(), false);
        }
    }
}

impl<B> Body for TimedReader<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        let timed = match &mut self.0 {
            Kind::Whole { body, first } => {
                return match first.take() {
                    Some(first) => Poll::Ready(first),
                    None => Pin::new(body).poll_frame(cx),
                };
            }
            Kind::Timed(timed) => timed,
        };
        let mut state = timed.lock();
        state.pace.end_wait();
        let first = state.first.take();
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(StalledBody::Reader.into())));
        };
        let polled = match first {
            Some(first) => Poll::Ready(first),
            None => Pin::new(&mut *body).poll_frame(cx),
        };
        let is_end = body.is_end_stream();
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) if !is_end => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                state.frame_read(length);
                drop(state);
                timed.reader_pauses();
            }
            Poll::Ready(_) => {
                let (place, ended) = (state.place.take(), state.ended.take());
                drop(state);
                drop((place, ended));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { body, first } => first.is_none() && body.is_end_stream(),
            Kind::Timed(timed) => {
                let state = timed.lock();
                let is_end = state.body.as_ref().is_some_and(Body::is_end_stream);
                is_end && state.first.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { body, first } => with_first(body.size_hint(), first.as_ref()),
            Kind::Timed(timed) => {
                let state = timed.lock();
                let hint = state.body.as_ref().map(Body::size_hint);
                with_first(hint.unwrap_or_default(), state.first.as_ref())
            }
        }
    }
}

/// The size of a body with a frame that was taken from it.
fn with_first(hint: SizeHint, first: Option<&Polled>) -> SizeHint {
    let Some(Some(Ok(frame))) = first else {
        return hint;
    };
    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
    let mut whole = SizeHint::new();
    whole.set_lower(hint.lower() + length);
    if let Some(upper) = hint.upper() {
        whole.set_upper(upper + length);
    }
    whole
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::{advance, sleep_until};

    use crate::proxy::body::bounded_waits::ClientNetwork;
    use crate::proxy::body::places::Places;

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
    async fn body(frames: usize) -> (TimedReader<Frames>, Arc<()>) {
        let none = LowestRate {
            rate: 0,
            window: TIMEOUT,
        };
        body_with(&Places::default(), none, frames).await
    }

    async fn body_with(
        places: &Places,
        lowest_rate: LowestRate,
        frames: usize,
    ) -> (TimedReader<Frames>, Arc<()>) {
        let held = Arc::new(());
        let frames = Frames {
            left: frames,
            delay: Box::pin(sleep_until(Instant::now())),
            _held: held.clone(),
        };
        let place = places
            .take(ClientNetwork::default())
            .await
            .expect("a place");
        let place = ResponsePlace::Plain(place);
        let limits = ReaderLimits {
            timeout: TIMEOUT,
            lowest_rate,
        };
        let reader = TimedReader::begin(frames, place, limits).await;
        (reader, held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_when_its_reader_stops() {
        let (mut body, held) = body(3).await;
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
        let (mut whole, held) = body(5).await;
        let mut frames = 0;
        while let Some(frame) = whole.frame().await {
            frame.expect("no error");
            frames += 1;
            tokio::time::sleep(TIMEOUT / 2).await;
        }
        assert_eq!((frames, Arc::strong_count(&held)), (5, 2));
        drop(whole);
        assert_eq!(Arc::strong_count(&held), 1);
        let (mut early, held) = body(5).await;
        early.frame().await.expect("a frame").expect("no error");
        drop(early);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    /// Most responses are one frame: they have no timer.
    #[tokio::test(start_paused = true)]
    async fn a_single_frame_starts_no_timer() {
        let (mut body, held) = body(1).await;
        body.frame().await.expect("a frame").expect("no error");
        assert!(matches!(body.0, Kind::Whole { .. }));
        tokio::time::sleep(TIMEOUT * 2).await;
        assert_eq!(Arc::strong_count(&held), 2);
    }

    /// A slow reader needs no place; one that was read to its end neither.
    #[tokio::test(start_paused = true)]
    async fn the_place_of_a_slow_reader_is_given_back() {
        let places = Places::new(1, Duration::ZERO);
        let (mut slow, held) = body_with(&places, LowestRate::DEFAULT, 3).await;
        assert!(places.take(ClientNetwork::default()).await.is_err());
        slow.frame().await.expect("a frame").expect("no error");
        tokio::time::sleep(Duration::from_millis(101)).await;
        let place = places
            .take(ClientNetwork::default())
            .await
            .expect("the place of the slow one");
        assert_eq!(places.stats().given_back, 1);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(place);
        let (mut whole, _) = body_with(&places, LowestRate::DEFAULT, 2).await;
        whole.frame().await.expect("a frame").expect("no error");
        whole.frame().await.expect("a frame").expect("no error");
        assert!(whole.is_end_stream());
        places
            .take(ClientNetwork::default())
            .await
            .expect("the place of the whole one");
    }

    /// A reader that never pauses for long, but is below the lowest rate.
    #[tokio::test(start_paused = true)]
    async fn a_reader_below_the_lowest_rate_is_given_up() {
        let places = Places::new(1, Duration::ZERO);
        let (mut slow, held) = body_with(&places, LowestRate::DEFAULT, 10).await;
        let mut frames = 0;
        while let Some(Ok(_)) = slow.frame().await {
            frames += 1;
            tokio::time::sleep(TIMEOUT / 4).await;
        }
        assert_eq!((frames, Arc::strong_count(&held)), (4, 1));
        assert_eq!(places.stats().too_slow, 1);
    }
}
