//! Places before upstreams: a bounded number of requests at a time.
//!
//! ```text
//!  request --wait, bounded--> place --end of the response--> free
//!                             |   ^
//!          its client is slow |   | it is fast again, and a place is free
//!                             v   |
//!                          no place: one of a bounded number, others end it
//! ```
//!
//! Content that has become whole is passed on only with a place: no more requests are with
//! upstreams than there are places, but for those that wait for their clients.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::proxy::error::ProxyErrorKind;
use crate::stats::{OriginLoad, WaitTimes};

use super::bounded_waits::{BoundedWait, BoundedWaits, ClientNetwork};

/// The places before all upstreams; see
/// [`max_concurrent_requests`](crate::proxy::ReverseProxy::max_concurrent_requests). Clones share
/// them.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Places {
    pub(in crate::proxy) queue_timeout: Duration,
    shared: Arc<SharedPlaces>,
}

#[derive(Debug)]
struct SharedPlaces {
    max: usize,
    free: Semaphore,
    /// The requests that have given their place back.
    without: BoundedWaits,
    counts: Arc<PlaceCounts>,
}

/// What has happened before places. Those that replace others go on with their counts.
#[derive(Debug, Default)]
struct PlaceCounts {
    waiting: AtomicUsize,
    wait_times: WaitTimes,
    overloaded: AtomicU64,
    given_back: AtomicU64,
    too_slow: AtomicU64,
}

/// Counts of what clients did to the places before upstreams, and to WebSockets, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadStats {
    /// Requests that waited for longer than
    /// [`queue_timeout`](crate::proxy::ReverseProxy::queue_timeout), and were not sent or not sent
    /// whole.
    pub overloaded: u64,
    /// Requests that were with upstreams without counting, while their clients were slow; one may
    /// count several times.
    pub given_back: u64,
    /// Requests that ended because too many others of slow clients were with upstreams.
    pub ended_for_others: u64,
    /// Requests that ended because their clients were slower than
    /// [`min_upload_rate`](crate::proxy::ReverseProxy::min_upload_rate) or
    /// [`min_download_rate`](crate::proxy::ReverseProxy::min_download_rate).
    pub too_slow: u64,
    /// Requests for WebSockets whose `Upgrade` was ignored because of
    /// [`max_tunnels`](crate::proxy::ReverseProxy::max_tunnels).
    pub refused_tunnels: u64,
    /// WebSockets that were closed because their clients had most of them, and another one had to
    /// have its share.
    pub ended_tunnels: u64,
}

impl Places {
    pub(in crate::proxy) fn new(max: usize, queue_timeout: Duration) -> Self {
        Self::with_counts(max, queue_timeout, BoundedWaits::default(), Arc::default())
    }

    fn with_counts(
        max: usize,
        queue_timeout: Duration,
        without: BoundedWaits,
        counts: Arc<PlaceCounts>,
    ) -> Self {
        Self {
            queue_timeout,
            shared: Arc::new(SharedPlaces {
                max,
                free: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
                without,
                counts,
            }),
        }
    }

    /// These places in succession to earlier ones: the same ones if there are as many, otherwise
    /// with their counts.
    pub(in crate::proxy) fn succeeding(self, earlier: &Self) -> Self {
        let (max, before) = (self.shared.max, &earlier.shared);
        if max == before.max {
            return Self {
                shared: before.clone(),
                ..self
            };
        }
        let (without, counts) = (before.without.clone(), before.counts.clone());
        Self::with_counts(max, self.queue_timeout, without, counts)
    }

    pub(in crate::proxy) fn stats(&self) -> LoadStats {
        let counts = &self.shared.counts;
        LoadStats {
            overloaded: counts.overloaded.load(Ordering::Relaxed),
            given_back: counts.given_back.load(Ordering::Relaxed),
            ended_for_others: self.shared.without.ended(),
            too_slow: counts.too_slow.load(Ordering::Relaxed),
            refused_tunnels: 0,
            ended_tunnels: 0,
        }
    }

    /// How many places are taken, and what waits for one.
    pub(in crate::proxy) fn load(&self) -> OriginLoad {
        let shared = &self.shared;
        let max = shared.max.min(Semaphore::MAX_PERMITS);
        let counts = &shared.counts;
        OriginLoad {
            in_flight: max.saturating_sub(shared.free.available_permits()),
            max_in_flight: Some(shared.max),
            waiting: counts.waiting.load(Ordering::Relaxed),
            refused: counts.overloaded.load(Ordering::Relaxed),
            wait_durations: counts.wait_times.distribution(),
            ..OriginLoad::default()
        }
    }

    /// Other places, as many as `max`.
    pub(in crate::proxy) fn with_max(&self, max: usize) -> Self {
        Self::new(max, self.queue_timeout)
    }

    /// Waits for a place.
    pub(in crate::proxy) async fn take(&self) -> Result<RequestPlace, ProxyErrorKind> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        let waiting = Waiting::begin(&self.shared.counts);
        let acquired = timeout(self.queue_timeout, self.shared.free.acquire()).await;
        drop(waiting);
        match acquired {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(RequestPlace(self.shared.clone()))
            }
            _ => {
                let counts = &self.shared.counts;
                counts.overloaded.fetch_add(1, Ordering::Relaxed);
                Err(ProxyErrorKind::Overloaded)
            }
        }
    }

    /// Waits for a place of a request, which it shares with its content, if that has `shared` one.
    pub(in crate::proxy) async fn take_for(
        &self,
        shared: Option<&ClientPlace>,
        client: ClientNetwork,
    ) -> Result<ResponsePlace, ProxyErrorKind> {
        match shared {
            Some(place) => {
                place.take().await?;
                Ok(ResponsePlace::Shared(place.clone()))
            }
            None => Ok(ResponsePlace::Plain(self.take().await?, client)),
        }
    }

    fn try_take(&self) -> Option<RequestPlace> {
        let permit = self.shared.free.try_acquire().ok()?;
        permit.forget();
        Some(RequestPlace(self.shared.clone()))
    }
}

/// A request that waits for a place, until this is dropped.
struct Waiting<'p> {
    counts: &'p PlaceCounts,
    began: Instant,
}

impl<'p> Waiting<'p> {
    fn begin(counts: &'p PlaceCounts) -> Self {
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            counts,
            began: Instant::now(),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counts.wait_times.observe(self.began.elapsed());
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new(1024, Duration::from_secs(10))
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct RequestPlace(Arc<SharedPlaces>);

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.0.free.add_permits(1);
    }
}

/// The place of a request that is given back while its client is slow. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ClientPlace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Places,
    client: ClientNetwork,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Not taken yet.
    None,
    Taken(#[expect(dead_code, reason = "held")] RequestPlace),
    GivenBack(BoundedWait),
}

impl ClientPlace {
    /// No place yet.
    pub(super) fn new(places: &Places, client: ClientNetwork) -> Self {
        Self::with_state(places, client, State::None)
    }

    fn with_state(places: &Places, client: ClientNetwork, state: State) -> Self {
        Self(Arc::new(Inner {
            places: places.clone(),
            client,
            state: Mutex::new(state),
        }))
    }

    /// Waits for a place.
    pub(in crate::proxy) async fn take(&self) -> Result<(), ProxyErrorKind> {
        let place = self.0.places.take().await?;
        self.set(State::Taken(place));
        Ok(())
    }

    /// Waits for a place, unless the request has one. Others that have none may end the wait.
    pub(super) async fn take_or_be_ended(&self) -> Result<(), ProxyErrorKind> {
        let ended = match &*self.lock() {
            State::Taken(_) => return Ok(()),
            State::GivenBack(wait) => wait.ended().clone(),
            State::None => CancellationToken::new(),
        };
        tokio::select! {
            taken = self.take() => taken,
            () = ended.cancelled() => Err(ProxyErrorKind::RequestTimeout),
        }
    }

    /// Takes a place again if one is free. Returns whether the request has one.
    pub(in crate::proxy) fn take_again(&self) -> bool {
        if self.has_place() {
            return true;
        }
        let Some(place) = self.0.places.try_take() else {
            return false;
        };
        self.set(State::Taken(place));
        true
    }

    pub(super) fn has_place(&self) -> bool {
        matches!(*self.lock(), State::Taken(_))
    }

    /// Gives the place back. The returned token is cancelled if other requests end this one.
    ///
    /// It may wake others: hold no lock that they take.
    pub(super) fn give_back(&self) -> CancellationToken {
        if let State::GivenBack(wait) = &*self.lock() {
            return wait.ended().clone();
        }
        let places = &self.0.places.shared;
        places.counts.given_back.fetch_add(1, Ordering::Relaxed);
        let wait = places.without.begin(places.max, self.0.client);
        let ended = wait.ended().clone();
        self.set(State::GivenBack(wait));
        ended
    }

    /// Counts that the request has ended because its client was too slow.
    pub(super) fn count_too_slow(&self) {
        let counts = &self.0.places.shared.counts;
        counts.too_slow.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let before = std::mem::replace(&mut *self.lock(), state);
        drop(before);
    }
}

/// The place of a request while its response is on its way.
#[derive(Debug)]
pub(in crate::proxy) enum ResponsePlace {
    /// That of a request without content.
    Plain(RequestPlace, ClientNetwork),
    /// That of a request whose content may be on its way, too.
    Shared(ClientPlace),
}

impl ResponsePlace {
    /// The place as one that can be given back.
    pub(super) fn into_client_place(self) -> ClientPlace {
        match self {
            Self::Plain(place, client) => {
                let shared = place.0.clone();
                let places = Places {
                    queue_timeout: Duration::ZERO,
                    shared,
                };
                ClientPlace::with_state(&places, client, State::Taken(place))
            }
            Self::Shared(place) => place,
        }
    }
}
