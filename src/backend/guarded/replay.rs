//! Delivers what could not be delivered.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::undelivered::Due;
use super::{Backend, Guard, count};
use crate::backend::BackendError;
use crate::timeout::{sleep, with_timeout};

/// After an attempt that failed, beyond what the breaker says.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether there is more to do, and after which time.
enum Next {
    Done,
    After(Duration),
}

impl<B: Backend> Guard<B> {
    /// Sees to it that somebody does. Called while values are dropped, too, and outside of any runtime: then whoever asks
    /// next finds one.
    pub(super) fn replay_aside(self: &Arc<Self>) {
        if self.is_replaying.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.is_replaying.swap(true, Ordering::AcqRel) {
            return;
        }
        let replaying = Replaying {
            guard: Arc::downgrade(self),
            is_the_one: true,
        };
        drop(runtime.spawn(replaying.run()));
    }

    /// Delivers all there is, however long that takes.
    pub(super) async fn replay(&self) {
        let mut pause = PAUSE;
        while let Next::After(wait) = self.deliver_one(&mut pause).await {
            if !wait.is_zero() && !sleep(wait).await {
                return;
            }
        }
    }

    async fn deliver_one(&self, pause: &mut Duration) -> Next {
        let Some(due) = self.undelivered.next() else {
            return Next::Done;
        };
        let begun = self.undelivered.begin();
        let turn = match self.breaker.admit() {
            Ok(permit) => self.turn_with(permit, self.options.invalidation),
            // It will have closed by then, or let us find out.
            Err(wait) => return Next::After(wait.min(LONGEST_PAUSE)),
        };
        let told = with_timeout(self.options.invalidation, self.tell(due)).await;
        match turn.ended(told) {
            Ok(()) => {
                self.undelivered.settle(due, begun);
                count(&self.counts.replayed);
                *pause = PAUSE;
                Next::After(Duration::ZERO)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "not delivered");
                let wait = *pause;
                *pause = (wait * 2).min(LONGEST_PAUSE);
                Next::After(wait)
            }
        }
    }

    async fn tell(&self, due: Due) -> Result<(), BackendError> {
        match due {
            Due::This(target) => self.backend.invalidate(&target).await,
            Due::Everything => self.backend.clear().await,
        }
    }
}

/// The one who does it. It keeps nothing alive, and is replaced if it ends with its runtime.
struct Replaying<B: Backend> {
    guard: Weak<Guard<B>>,
    is_the_one: bool,
}

impl<B: Backend> Replaying<B> {
    async fn run(mut self) {
        let mut pause = PAUSE;
        loop {
            let Some(guard) = self.guard.upgrade() else {
                return;
            };
            let next = guard.deliver_one(&mut pause).await;
            drop(guard);
            match next {
                Next::Done if self.is_done() => return,
                Next::Done => {}
                Next::After(Duration::ZERO) => tokio::task::yield_now().await,
                Next::After(wait) => {
                    // Outside of a runtime there is no timer: the next request tries again.
                    if !sleep(wait).await {
                        return;
                    }
                }
            }
        }
    }

    /// Makes place for the next one, unless something was added since it was last looked.
    fn is_done(&mut self) -> bool {
        let Some(guard) = self.guard.upgrade() else {
            return true;
        };
        guard.is_replaying.store(false, Ordering::Release);
        // Under its lock, so that whoever adds something sees that nobody is on it, or is seen here.
        self.is_the_one =
            guard.undelivered.next().is_some() && !guard.is_replaying.swap(true, Ordering::AcqRel);
        !self.is_the_one
    }
}

impl<B: Backend> Drop for Replaying<B> {
    fn drop(&mut self) {
        // Nobody is started here: a runtime that ends would drop him at once, and so on.
        if self.is_the_one
            && let Some(guard) = self.guard.upgrade()
        {
            guard.is_replaying.store(false, Ordering::Release);
        }
    }
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        let (targets, is_everything) = self.undelivered.count();
        if targets > 0 || is_everything {
            tracing::error!(
                targets,
                is_everything,
                "invalidations are lost: others may serve what is stored until it expires"
            );
        }
    }
}
