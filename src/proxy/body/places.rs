//! Places before upstreams: a bounded number of requests at a time.
//!
//! ```text
//!  request --wait, bounded--> place --end of the response--> free
//!                             |   ^
//!          content stalls     |   | content goes on, if a place is free
//!                             v   |
//!                          no place: one of a bounded number, the oldest ends with 408
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::proxy::error::ProxyErrorKind;

use super::bounded_waits::{BoundedWait, BoundedWaits};

/// A client that sends nothing of its content for this long gives its place back.
const STALLED_AFTER: Duration = Duration::from_millis(100);

/// Less content than this does not end a pause: a client that sends a byte now and then stalls.
const MIN_PIECE: usize = 1024;

/// The places before all upstreams; see
/// [`max_concurrent_requests`](crate::proxy::ReverseProxy::max_concurrent_requests). Clones share
/// them.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Places {
    max: usize,
    pub(in crate::proxy) queue_timeout: Duration,
    free: Arc<Semaphore>,
    stalled: BoundedWaits,
}

impl Places {
    pub(in crate::proxy) fn new(max: usize, queue_timeout: Duration) -> Self {
        Self {
            max,
            queue_timeout,
            free: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            stalled: BoundedWaits::default(),
        }
    }

    /// Other places, as many as `max`.
    pub(in crate::proxy) fn with_max(&self, max: usize) -> Self {
        Self::new(max, self.queue_timeout)
    }

    /// Waits for a place.
    pub(in crate::proxy) async fn take(&self) -> Result<RequestPlace, ProxyErrorKind> {
        let free = self.free.clone();
        let permit = match free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match timeout(self.queue_timeout, free.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(ProxyErrorKind::Overloaded),
            },
        };
        Ok(RequestPlace(permit))
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new(1024, Duration::from_secs(10))
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct RequestPlace(
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

/// The place of a request with content, which is given back while its client stalls. Clones share
/// it.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct UploadPlace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Places,
    place: Mutex<Option<RequestPlace>>,
}

impl UploadPlace {
    /// No place yet.
    pub(super) fn new(places: &Places) -> Self {
        Self(Arc::new(Inner {
            places: places.clone(),
            place: Mutex::default(),
        }))
    }

    /// Waits for a place.
    pub(in crate::proxy) async fn take(&self) -> Result<(), ProxyErrorKind> {
        let place = self.0.places.take().await?;
        self.set(Some(place));
        Ok(())
    }

    /// Takes a place again if one is free. Content that was begun does not wait for one.
    pub(in crate::proxy) fn take_again(&self) {
        let is_taken = self
            .0
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if let (false, Ok(permit)) = (is_taken, self.0.places.free.clone().try_acquire_owned()) {
            self.set(Some(RequestPlace(permit)));
        }
    }

    fn give_back(&self) {
        self.set(None);
    }

    fn set(&self, place: Option<RequestPlace>) {
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// Watches a client's content for pauses.
#[derive(Debug)]
pub(super) struct StallWatch {
    place: UploadPlace,
    timer: Pin<Box<Sleep>>,
    state: StallState,
    /// The content since the last pause began, in bytes.
    received: usize,
}

#[derive(Debug)]
enum StallState {
    Flowing,
    /// The timer runs.
    Paused,
    Stalled(BoundedWait),
}

impl StallWatch {
    pub(super) fn new(place: UploadPlace) -> Self {
        Self {
            place,
            timer: Box::pin(sleep(STALLED_AFTER)),
            state: StallState::Flowing,
            received: 0,
        }
    }

    /// So much content has arrived; `usize::MAX` with its end.
    pub(super) fn resume(&mut self, length: usize) {
        self.received = self.received.saturating_add(length);
        if self.received < MIN_PIECE {
            return;
        }
        self.received = 0;
        if let StallState::Stalled(_) = self.state {
            self.place.take_again();
        }
        self.state = StallState::Flowing;
    }

    /// No content is there; ready if too many others have stalled since this one did.
    pub(super) fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                StallState::Flowing => {
                    self.timer.as_mut().reset(Instant::now() + STALLED_AFTER);
                    self.state = StallState::Paused;
                }
                StallState::Paused => {
                    std::task::ready!(self.timer.as_mut().poll(cx));
                    self.place.give_back();
                    let places = &self.place.0.places;
                    self.state = StallState::Stalled(places.stalled.begin(places.max));
                }
                StallState::Stalled(wait) => return Pin::new(wait).poll(cx),
            }
        }
    }
}
