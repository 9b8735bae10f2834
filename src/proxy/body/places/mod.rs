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
//!
//! Start at [`Places::take_for`]; which request is next is up to [`PlaceQueue`].

mod client_place;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::proxy::error::ProxyErrorKind;
use crate::stats::{OriginLoad, WaitTimes};

pub(in crate::proxy) use self::client_place::{ClientPlace, ResponsePlace};
use self::queue::PlaceQueue;
use crate::proxy::body::bounded_waits::{BoundedWait, BoundedWaits, ClientNetwork};

/// The fewest requests that may wait for the beginning of their content at once, however few places
/// there are: content comes a round trip after its head, with each honest client.
const MIN_AWAITED: usize = 1024;

/// The places before all upstreams; see
/// [`max_concurrent_requests`](crate::proxy::ReverseProxy::max_concurrent_requests). Clones share
/// them.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Places {
    pub(in crate::proxy) queue_timeout: Duration,
    /// `None` for half of the places.
    max_uploads: Option<usize>,
    shared: Arc<SharedPlaces>,
}

#[derive(Debug)]
struct SharedPlaces {
    queue: PlaceQueue,
    /// The requests that are with upstreams, or about to be, before their content is whole.
    uploads: PlaceQueue,
    /// The requests that have given their place back.
    without: BoundedWaits,
    /// The requests whose content has not begun, or is collected.
    awaited: BoundedWaits,
    counts: Arc<PlaceCounts>,
}

/// What has happened before places. Those that replace others go on with their counts.
#[derive(Debug, Default)]
struct PlaceCounts {
    waiting: AtomicUsize,
    /// For a place for uploads: the origin may take more.
    waiting_uploads: AtomicUsize,
    wait_times: WaitTimes,
    overloaded: AtomicU64,
    refused_uploads: AtomicU64,
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
    /// Those of them that waited because of
    /// [`max_uploads`](crate::proxy::ReverseProxy::max_uploads).
    pub refused_uploads: u64,
    /// Requests that were with upstreams without counting, while their clients were slow; one may
    /// count several times.
    pub given_back: u64,
    /// Requests that ended because too many others of slow clients were with upstreams, or waited
    /// for their content.
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
        let waits = [BoundedWaits::default(), BoundedWaits::default()];
        let options = (max, None, queue_timeout);
        Self::with_counts(options, waits, Arc::default())
    }

    fn with_counts(
        (max, max_uploads, queue_timeout): (usize, Option<usize>, Duration),
        [without, awaited]: [BoundedWaits; 2],
        counts: Arc<PlaceCounts>,
    ) -> Self {
        Self {
            queue_timeout,
            max_uploads,
            shared: Arc::new(SharedPlaces {
                queue: PlaceQueue::new(max),
                uploads: PlaceQueue::new(max_uploads.unwrap_or(max.div_ceil(2))),
                without,
                awaited,
                counts,
            }),
        }
    }

    /// These places in succession to earlier ones: the same ones if there are as many, otherwise
    /// with their counts.
    pub(in crate::proxy) fn succeeding(self, earlier: &Self) -> Self {
        let (max, before) = (self.shared.queue.max(), &earlier.shared);
        if max == before.queue.max() && self.shared.uploads.max() == before.uploads.max() {
            return Self {
                shared: before.clone(),
                ..self
            };
        }
        let waits = [before.without.clone(), before.awaited.clone()];
        let options = (max, self.max_uploads, self.queue_timeout);
        Self::with_counts(options, waits, before.counts.clone())
    }

    pub(in crate::proxy) fn stats(&self) -> LoadStats {
        let counts = &self.shared.counts;
        LoadStats {
            overloaded: counts.overloaded.load(Ordering::Relaxed),
            refused_uploads: counts.refused_uploads.load(Ordering::Relaxed),
            given_back: counts.given_back.load(Ordering::Relaxed),
            ended_for_others: self.shared.without.ended() + self.shared.awaited.ended(),
            too_slow: counts.too_slow.load(Ordering::Relaxed),
            refused_tunnels: 0,
            ended_tunnels: 0,
        }
    }

    /// How many places are taken, and what waits for one.
    pub(in crate::proxy) fn load(&self) -> OriginLoad {
        let shared = &self.shared;
        let counts = &shared.counts;
        OriginLoad {
            in_flight: shared.queue.taken(),
            max_in_flight: Some(shared.queue.max()),
            waiting: counts.waiting.load(Ordering::Relaxed),
            refused: counts.overloaded.load(Ordering::Relaxed),
            wait_durations: counts.wait_times.distribution(),
            ..OriginLoad::default()
        }
    }

    /// Other places, as many as `max`.
    pub(in crate::proxy) fn with_max(&self, max: usize) -> Self {
        self.with_options(max, self.max_uploads)
    }

    /// Other places, of which so many are for uploads.
    pub(in crate::proxy) fn with_max_uploads(&self, max: usize) -> Self {
        self.with_options(self.shared.queue.max(), Some(max))
    }

    fn with_options(&self, max: usize, max_uploads: Option<usize>) -> Self {
        let options = (max, max_uploads, self.queue_timeout);
        Self::with_counts(options, Default::default(), Arc::default())
    }

    /// Begins the wait of a request for its content, which ends others beyond a bound: each takes
    /// memory, and costs its client no more than a few bytes.
    pub(in crate::proxy::body) fn await_content(&self, client: ClientNetwork) -> BoundedWait {
        let max = self.shared.queue.max().max(MIN_AWAITED);
        self.shared.awaited.begin(max, client)
    }

    /// Waits for a place of a client.
    pub(in crate::proxy) async fn take(
        &self,
        client: ClientNetwork,
    ) -> Result<RequestPlace, ProxyErrorKind> {
        let waiting = &self.shared.counts.waiting;
        self.wait_in(&self.shared.queue, client, waiting).await?;
        Ok(self.place_of(client))
    }

    /// Waits for a place for an upload of a client, which it has until its content is whole.
    pub(in crate::proxy::body) async fn take_for_upload(
        &self,
        client: ClientNetwork,
    ) -> Result<UploadPlace, ProxyErrorKind> {
        let counts = &self.shared.counts;
        let waiting = &counts.waiting_uploads;
        let taken = self.wait_in(&self.shared.uploads, client, waiting).await;
        if taken.is_err() {
            counts.refused_uploads.fetch_add(1, Ordering::Relaxed);
        }
        let place = taken.map(|()| UploadPlace {
            places: self.shared.clone(),
            client,
        });
        place.map_err(|_| ProxyErrorKind::TooManyUploads)
    }

    /// Waits until a client has taken a place.
    async fn wait_in(
        &self,
        queue: &PlaceQueue,
        client: ClientNetwork,
        number: &AtomicUsize,
    ) -> Result<(), ProxyErrorKind> {
        let Some(waiting) = queue.wait(client) else {
            return Ok(());
        };
        let counts = &self.shared.counts;
        let wait = CountedWait::begin(counts, number);
        let granted = timeout(self.queue_timeout, waiting.granted()).await;
        drop(wait);
        granted.map_err(|_| {
            counts.overloaded.fetch_add(1, Ordering::Relaxed);
            ProxyErrorKind::Overloaded
        })
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
            None => Ok(ResponsePlace::Plain(self.take(client).await?)),
        }
    }

    fn try_take(&self, client: ClientNetwork) -> Option<RequestPlace> {
        let queue = &self.shared.queue;
        queue.try_take(client).then(|| self.place_of(client))
    }

    /// A place that a client has taken.
    fn place_of(&self, client: ClientNetwork) -> RequestPlace {
        RequestPlace {
            places: self.shared.clone(),
            client,
        }
    }
}

/// A request that waits for a place, until this is dropped.
struct CountedWait<'p> {
    counts: &'p PlaceCounts,
    number: &'p AtomicUsize,
    began: Instant,
}

impl<'p> CountedWait<'p> {
    fn begin(counts: &'p PlaceCounts, number: &'p AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self {
            counts,
            number,
            began: Instant::now(),
        }
    }
}

impl Drop for CountedWait<'_> {
    fn drop(&mut self) {
        self.number.fetch_sub(1, Ordering::Relaxed);
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
pub(in crate::proxy) struct RequestPlace {
    places: Arc<SharedPlaces>,
    client: ClientNetwork,
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.places.queue.give_back(self.client);
    }
}

/// A place for an upload that is taken until this is dropped.
#[derive(Debug)]
pub(in crate::proxy::body) struct UploadPlace {
    places: Arc<SharedPlaces>,
    client: ClientNetwork,
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        self.places.uploads.give_back(self.client);
    }
}
