//! How busy the inner service is, as it says itself.
//!
//! The cache knows what it has sent. How many of these requests wait inside of the inner service,
//! in a queue of its own, only that knows. Start with [`OriginMonitor`].

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Extensions;

use crate::error::BoxError;

use super::Distribution;
use super::distribution::{Histogram, WAITS};
use super::limit_counts::LimitCounts;

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
    /// on its way to, and is no call in [`Stats::origin_calls`](super::Stats::origin_calls). `error` is a value of the service's own type of errors. Default: `false`.
    fn is_overload(&self, error: &dyn Any) -> bool {
        let _ = error;
        false
    }

    /// Returns an error of the inner service as one that can be written to the log. `error` is a
    /// value of the service's own type of errors, of which the cache knows nothing else.
    ///
    /// Failures that stale responses hide are logged with it. Default: a
    /// [`BoxError`](crate::BoxError) or an [`io::Error`](std::io::Error) as it is, and `None` for
    /// other types.
    fn as_error<'e>(&self, error: &'e dyn Any) -> Option<&'e (dyn Error + 'static)> {
        known_error(error)
    }
}

/// An error of a type that services use often.
pub(crate) fn known_error(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error);
    }
    let error: &(dyn Error + 'static) = error.downcast_ref::<BoxError>()?.as_ref();
    Some(error)
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
    /// The servers that requests are sent to; 0 if that is not known.
    pub servers: usize,
    /// Those of them that fail their health checks, or could not be connected to three times in a
    /// row, and were tried in vain in the last five minutes.
    pub servers_down: usize,
    /// Those of them that could not be connected to, either, and that were not tried again since:
    /// they may be back.
    pub servers_unknown: usize,
    /// Requests that were refused since the start, because none ended in time.
    pub refused: u64,
    /// Requests that were sent once more since the start, to the same server or to another one.
    pub repeated: u64,
    /// What limits of connections, uploads and WebSockets have done.
    pub limits: LimitCounts,
    /// How long requests have waited, those that were refused or whose client left included. Those
    /// that did not wait are not among them. Metrics count them as waits for the
    /// [readiness](super::WaitedFor::Readiness) of the service.
    pub wait_durations: Distribution,
}

/// Says whether a call is held back before the origin, in a queue of the inner service, or still waits
/// for its client: an extension of the request. Clones say the same.
///
/// A service that knows nothing of it holds no call back.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallProgress(Arc<CallFlags>);

#[derive(Debug, Default)]
struct CallFlags {
    is_held_back: AtomicBool,
    awaits_content: AtomicBool,
}

impl CallProgress {
    /// Adds one to a request.
    pub(crate) fn begin(request: &mut Extensions) -> Self {
        let progress = Self::default();
        request.insert(progress.clone());
        progress
    }

    /// Returns that of a request; one that nothing reads, if it has none.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy says it"))]
    pub(crate) fn from_request(request: &Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_default()
    }

    /// Returns whether the call is held back, or was refused while it was.
    pub(crate) fn is_held_back(&self) -> bool {
        self.0.is_held_back.load(Ordering::Relaxed)
    }

    /// Returns whether the origin is waited for: it has all that it needs to answer.
    pub(crate) fn awaits_origin(&self) -> bool {
        !self.is_held_back() && !self.0.awaits_content.load(Ordering::Relaxed)
    }

    /// Says whether the content of the request is still on its way from the client.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy says it"))]
    pub(crate) fn set_awaits_content(&self, awaits_content: bool) {
        self.0
            .awaits_content
            .store(awaits_content, Ordering::Relaxed);
    }

    /// Says whether the call is held back from now on.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy says it"))]
    pub(crate) fn set_held_back(&self, is_held_back: bool) {
        self.0.is_held_back.store(is_held_back, Ordering::Relaxed);
    }
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
