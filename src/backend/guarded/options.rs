//! The limits of a guarded backend.

use std::sync::Arc;
use std::time::Duration;

use super::Guarded;
use super::guard::{Guard, GuardOptions};
use crate::backend::Backend;

const MIN_HALF_OPEN_DELAY: Duration = Duration::from_millis(1);
const MAX_HALF_OPEN_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// # Deadlines
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::backend::{Guarded, MemoryBackend};
///
/// let backend = Guarded::new(MemoryBackend::default())
///     .lookup_deadline(Duration::from_millis(20))
///     .invalidation_deadline(Duration::from_millis(100));
/// ```
impl<B: Backend> Guarded<B> {
    /// Sets the deadline of a lookup: the longest time by which a slow backend delays a request.
    ///
    /// Default: 50 ms. A lookup that takes several round trips has the deadline for each, and for at
    /// most eight: with Redis, the first miss of a resource takes two, and one that has to open a
    /// connection takes two to four more. A request for a response that
    /// varies makes two lookups, and a miss that ran concurrently with a fill may repeat its lookup. A write whose response may be stored makes
    /// one before its call. A lookup that takes longer is a miss whose response is not stored. One
    /// that is answered in time counts as a success, whatever its share of the deadline.
    ///
    /// A network that is busy is no slow backend: a lookup may take a second longer for each 8 MiB
    /// of responses that the backend [transfers](Backend::transferred_bytes) meanwhile, but not
    /// more than ten times its deadline in all.
    ///
    /// # Panics
    /// If `deadline` is zero.
    #[must_use]
    pub fn lookup_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "lookup_deadline must not be zero");
        self.with_options(|options| options.lookup_deadline = deadline)
    }

    /// Sets the deadline of an invalidation, which delays the response of a write.
    ///
    /// Default: 250 ms. A write waits up to this long for its own target, again for each batch of
    /// up to 32 further targets, and once more if write-through could not store its response.
    /// Write-through has a second more for each MiB of the response. If an
    /// invalidation is not acknowledged in time, the write is answered and the invalidation is
    /// delivered later.
    ///
    /// # Panics
    /// If `deadline` is zero.
    #[must_use]
    pub fn invalidation_deadline(self, deadline: Duration) -> Self {
        assert!(
            !deadline.is_zero(),
            "invalidation_deadline must not be zero"
        );
        self.with_options(|options| options.invalidation_deadline = deadline)
    }

    /// Sets the deadline of storing a response. No request waits for it.
    ///
    /// Default: 2 s, and a second more for each MiB of the response. A store that takes longer is
    /// cancelled; the response may be stored nevertheless. A large body that a backend keeps apart
    /// from its response has the same time to be read, and a request that wants it waits for that.
    ///
    /// # Panics
    /// If `deadline` is zero.
    #[must_use]
    pub fn store_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "store_deadline must not be zero");
        self.with_options(|options| options.store_deadline = deadline)
    }
}

/// # Circuit breaker
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::backend::{Guarded, MemoryBackend};
///
/// let backend = Guarded::new(MemoryBackend::default())
///     .failure_threshold(0.3)
///     .min_samples(50)
///     .half_open_after(Duration::from_millis(250))
///     .max_half_open_delay(Duration::from_secs(10));
/// ```
impl<B: Backend> Guarded<B> {
    /// Sets the ratio of failed operations, among those of the last ten seconds, at which the
    /// circuit breaker opens.
    ///
    /// Default: 0.5, at least half of them. The circuit breaker of invalidations has the same
    /// options.
    ///
    /// # Panics
    /// If `ratio` is 0, negative, greater than 1 or NaN.
    #[must_use]
    pub fn failure_threshold(self, ratio: f64) -> Self {
        assert!(
            ratio > 0.0 && ratio <= 1.0,
            "failure_threshold must be above 0 and at most 1"
        );
        self.with_options(|options| options.breaker.failure_threshold = ratio)
    }

    /// Sets the number of operations in the last ten seconds below which the circuit breaker stays
    /// closed.
    ///
    /// Default: 10. This many failures in a row open it whatever the ratio and however long they
    /// take, once 250 ms have passed since the first of them. So a backend that hangs, and is asked
    /// less than once a second, costs ten requests a deadline; then as many as are probes: all that
    /// are more than [`max_half_open_delay`](Self::max_half_open_delay) apart.
    ///
    /// # Panics
    /// If `count` is 0.
    #[must_use]
    pub fn min_samples(self, count: u32) -> Self {
        assert!(count > 0, "min_samples must be at least 1");
        self.with_options(|options| options.breaker.min_samples = count)
    }

    /// Sets the time after which an open circuit breaker becomes half-open: it lets one operation
    /// through, the probe. If the probe fails, the time to the next one doubles.
    ///
    /// Default: 500 ms. The time varies at random by up to a quarter. Values below a millisecond
    /// count as a millisecond, values of more than a day as a day.
    #[must_use]
    pub fn half_open_after(self, delay: Duration) -> Self {
        let delay = delay.clamp(MIN_HALF_OPEN_DELAY, MAX_HALF_OPEN_DELAY);
        self.with_options(|options| options.breaker.half_open_after = delay)
    }

    /// Sets the longest time between two probes.
    ///
    /// Default: 5 s. Values of more than a day count as a day. A value below
    /// [`half_open_after`](Self::half_open_after) keeps the time between probes from growing.
    #[must_use]
    pub fn max_half_open_delay(self, delay: Duration) -> Self {
        let delay = delay.min(MAX_HALF_OPEN_DELAY);
        self.with_options(|options| options.breaker.max_half_open_delay = delay)
    }
}

/// # Undelivered invalidations
///
/// ```
/// use tower_response_cache::backend::{Guarded, MemoryBackend};
///
/// let backend = Guarded::new(MemoryBackend::default()).max_undelivered(100_000);
/// ```
impl<B: Backend> Guarded<B> {
    /// Sets how many resources and groups with an undelivered invalidation are remembered. If there
    /// are more, the whole backend is cleared instead.
    ///
    /// Default: 16,384, of about 70 bytes each. With 0 the backend is cleared after any failed
    /// invalidation.
    #[must_use]
    pub fn max_undelivered(self, count: usize) -> Self {
        self.with_options(|options| options.max_undelivered = count)
    }

    /// Creates a guard with other options for the same backend. Its health starts anew; clones of
    /// the old guard keep their options and their undelivered invalidations.
    fn with_options(self, change: impl FnOnce(&mut GuardOptions)) -> Self {
        let mut options = self.0.options;
        change(&mut options);
        Self(Arc::new(Guard::new(
            self.0.backend.get_ref().clone(),
            options,
        )))
    }
}
