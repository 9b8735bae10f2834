//! The pace at which a client sends its content.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::proxy::error::ProxyErrorKind;

use super::pace::{ClientPace, LowestRate, Verdict};
use super::places::ClientPlace;
use super::timers::poll_until::poll_until;

/// The wait of whole content for a place.
type PlaceWait = Pin<Box<dyn Future<Output = Result<(), ProxyErrorKind>> + Send>>;

/// Watches the client's content: gives the place of a slow one back, and takes it again before the
/// content is whole.
pub(super) struct StallWatch {
    place: ClientPlace,
    lowest: LowestRate,
    pace: ClientPace,
    timer: Option<Pin<Box<Sleep>>>,
    /// Resolves when others end the request, while that has no place.
    ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    place_wait: Option<PlaceWait>,
}

impl StallWatch {
    pub(super) fn new(place: ClientPlace, lowest: LowestRate) -> Self {
        Self {
            place,
            lowest,
            pace: ClientPace::new(lowest),
            timer: None,
            ended: None,
            place_wait: None,
        }
    }

    /// So much content has arrived before the request has a place.
    pub(super) fn collected(&mut self, length: usize) {
        self.pace.end_wait();
        self.pace.moved(length);
    }

    /// No content is there, and the request has no place yet; ready if the client is too slow.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pace.begin_wait();
        loop {
            let (verdict, next) = self.pace.check();
            if verdict == Verdict::TooSlow {
                self.place.count_too_slow();
                return Poll::Ready(());
            }
            ready!(poll_until(&mut self.timer, next, cx));
        }
    }

    /// The request is about to have a place: what follows counts anew.
    pub(super) fn restart(&mut self) {
        self.pace = ClientPace::new(self.lowest);
        self.timer = None;
    }

    /// So much content has arrived.
    pub(super) fn resume(&mut self, length: usize) {
        self.pace.end_wait();
        if self.pace.moved(length) && self.place.take_again() {
            self.ended = None;
        }
    }

    /// No content is there; ready if the client is too slow, or others end the request.
    pub(super) fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pace.begin_wait();
        loop {
            let (verdict, next) = self.pace.check();
            match verdict {
                Verdict::TooSlow => {
                    self.place.count_too_slow();
                    return Poll::Ready(());
                }
                Verdict::Slow if self.ended.is_none() => {
                    let ended = self.place.give_back().cancelled_owned();
                    self.ended = Some(Box::pin(ended));
                }
                _ => {}
            }
            let ended = self.ended.as_mut();
            if ended.is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(());
            }
            ready!(poll_until(&mut self.timer, next, cx));
        }
    }

    /// The content is whole; ready with a place, or the reason why there is none.
    pub(super) fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyErrorKind>> {
        if self.place_wait.is_none() {
            if self.place.has_place() {
                return Poll::Ready(Ok(()));
            }
            let place = self.place.clone();
            self.place_wait = Some(Box::pin(async move { place.take_or_be_ended().await }));
        }
        let Some(wait) = &mut self.place_wait else {
            return Poll::Ready(Ok(()));
        };
        let taken = ready!(wait.as_mut().poll(cx));
        self.place_wait = None;
        Poll::Ready(taken)
    }
}
