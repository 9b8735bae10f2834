//! How busy the inner service is, as it says itself.
//!
//! The cache knows what it has sent. How many of these requests wait inside of the inner service,
//! in a queue of its own, only that knows. Start with [`OriginMonitor`].

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::Distribution;
use super::distribution::{Histogram, WAITS};

/// Says how busy an inner service with a queue of its own is.
///
/// [`CacheLayer::origin_monitor`](crate::CacheLayer::origin_monitor) takes one. Then
/// [`Stats::origin`](super::Stats::origin), the metrics, the page for operators and the alerts
/// include that queue. [`ReverseProxy`](crate::proxy::ReverseProxy) is one.
///
/// ```
/// use std::any::Any;
/// use std::sync::Arc;
/// use tokio::sync::Semaphore;
/// use tower_response_cache::stats::{OriginLoad, OriginMonitor};
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// /// The places before a service, of which there are ten.
/// struct Places(Arc<Semaphore>);
///
/// impl OriginMonitor for Places {
///     fn load(&self) -> OriginLoad {
///         let mut load = OriginLoad::default();
///         load.max_in_flight = Some(10);
///         load.in_flight = 10 - self.0.available_permits();
///         load
///     }
/// }
///
/// let places = Arc::new(Semaphore::new(10));
/// let layer = CacheLayer::new(MemoryBackend::default()).origin_monitor(Places(places));
/// assert_eq!(layer.handle().stats().origin.expect("a monitor").in_flight, 0);
/// ```
pub trait OriginMonitor: Send + Sync + 'static {
    /// Returns the load of this moment. It is read for statistics, not on the way of requests.
    fn load(&self) -> OriginLoad;

    /// Returns whether an error of the inner service means that it had no place for the request.
    ///
    /// The request then counts as [`Overload`](super::RequestResult::Overload), and not as the
    /// [`Miss`](super::RequestResult::Miss) or [`Bypass`](super::RequestResult::Bypass) that it was
    /// on its way to. `error` is a value of the service's own type of errors. Default: `false`.
    fn is_overload(&self, error: &dyn Any) -> bool {
        let _ = error;
        false
    }
}

/// The load of an inner service that has a queue of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OriginLoad {
    /// Requests that are in progress.
    pub in_flight: usize,
    /// The most requests that may be in progress at a time; `None` if that is not bounded.
    pub max_in_flight: Option<usize>,
    /// Requests that wait for one in progress to end.
    pub waiting: usize,
    /// Requests that were refused since the start, because none ended in time.
    pub refused: u64,
    /// Requests that were sent once more since the start, to the same server or to another one.
    pub repeated: u64,
    /// How long requests have waited, those that were refused or whose client left included. Those
    /// that did not wait are not among them.
    pub wait_durations: Distribution,
}

/// Counts times by how long they are, for [`OriginLoad::wait_durations`].
pub struct WaitTimes(Histogram);

impl WaitTimes {
    /// Creates a count without any.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new(WAITS))
    }

    /// Counts one time.
    pub fn observe(&self, time: Duration) {
        self.0.observe_time(time);
    }

    /// Returns the distribution of the times so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.0.distribution()
    }
}

impl Default for WaitTimes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.distribution().count();
        f.debug_struct("WaitTimes").field("count", &count).finish()
    }
}
