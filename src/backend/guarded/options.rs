//! The limits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::breaker::{Breaker, BreakerOptions};
use super::undelivered::Undelivered;
use super::{Backend, Counts, Guard, Guarded};

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) lookup: Duration,
    pub(super) invalidation: Duration,
    pub(super) store: Duration,
    pub(super) most_undelivered: usize,
    pub(super) breaker: BreakerOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookup: Duration::from_millis(50),
            invalidation: Duration::from_millis(250),
            store: Duration::from_secs(2),
            most_undelivered: 16_384,
            breaker: BreakerOptions::default(),
        }
    }
}

impl<B: Backend> Guarded<B> {
    /// Guards a backend with the default limits.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self::with(backend, Options::default())
    }

    fn with(backend: B, options: Options) -> Self {
        Self(Arc::new(Guard {
            backend,
            breaker: Breaker::new(options.breaker),
            undelivered: Undelivered::new(options.most_undelivered),
            is_replaying: AtomicBool::new(false),
            counts: Counts::default(),
            options,
        }))
    }

    /// The same backend with other limits, as if it had never been asked: clones made before keep theirs, and what they
    /// still have to deliver.
    fn change(self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.0.options;
        change(&mut options);
        Self::with(self.0.backend.clone(), options)
    }

    /// How long a lookup may take, and with it a request longer than without a backend; 50 ms by default. A request for
    /// something that varies takes two, and one that misses while others fill may look again.
    ///
    /// # Panics
    /// When it is nothing.
    #[must_use]
    pub fn lookup_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "some time");
        self.change(|options| options.lookup = deadline)
    }

    /// How long an invalidation may take; 250 ms by default. A write takes longer by that than without a backend: once for
    /// its target, once for all else that it invalidates (in portions of 32), and once more where write-through could not
    /// store. What is not acknowledged by then is delivered later, and the write answered.
    ///
    /// # Panics
    /// When it is nothing.
    #[must_use]
    pub fn invalidation_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "some time");
        self.change(|options| options.invalidation = deadline)
    }

    /// How long a store may take, which no request waits for; 2 s by default.
    ///
    /// # Panics
    /// When it is nothing.
    #[must_use]
    pub fn store_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "some time");
        self.change(|options| options.store = deadline)
    }

    /// The part of the operations (0 to 1) that must have failed or been slow, and how many there must have been, for the
    /// backend not to be asked any more; half of ten by default.
    ///
    /// # Panics
    /// When `ratio` is not above 0 and at most 1, or `least` is 0.
    #[must_use]
    pub fn breaker(self, ratio: f64, least: u32) -> Self {
        assert!(ratio > 0.0 && ratio <= 1.0, "a part of the operations");
        assert!(least > 0, "at least one");
        self.change(|options| {
            options.breaker.ratio = ratio;
            options.breaker.least = least;
        })
    }

    /// After which time one operation finds out whether the backend is well again; twice as long after each that fails, up
    /// to `longest`. 500 ms and 5 s by default; both are taken for at least a millisecond, and a day at most.
    #[must_use]
    pub fn reopen_after(self, pause: Duration, longest: Duration) -> Self {
        let pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.change(|options| {
            options.breaker.pause = pause;
            options.breaker.longest_pause = longest.clamp(pause, LONGEST_PAUSE);
        })
    }

    /// For how many resources undelivered invalidations are remembered, before everything is cleared instead; 16,384 by
    /// default, of about 40 bytes each.
    #[must_use]
    pub fn most_undelivered(self, most: usize) -> Self {
        self.change(|options| options.most_undelivered = most)
    }
}
