//! The wait of requests for a flight of another client.
//!
//! Knows times, not the table in which they are noted. Start at [`OthersWait::take`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::patience::is_long;
use crate::shares::ClientId;

/// Since when requests of other clients wait for a flight, and how much of that is noted.
///
/// Each of them notes what it has waited when it gives up, and so does the flight when it ends: what
/// has been noted does not count again. One that stays when the others have left counts no more.
#[derive(Debug)]
pub(crate) struct OthersWait {
    /// The client of the flight.
    client: ClientId,
    since: OnceLock<Instant>,
    /// Set where requests have come before the call that count from its beginning.
    awaits_call: OnceLock<()>,
    /// Microseconds. That of std even under loom: it changes under the lock of the table.
    noted: AtomicU64,
}

impl OthersWait {
    pub(in crate::flight) const fn new(client: ClientId) -> Self {
        Self {
            client,
            since: OnceLock::new(),
            awaits_call: OnceLock::new(),
            noted: AtomicU64::new(0),
        }
    }

    /// Notes that a request waits.
    pub(in crate::flight) fn begin(&self) {
        self.since.get_or_init(Instant::now);
    }

    /// Notes that a request waits, whose time counts once the call has begun.
    pub(in crate::flight) fn begin_with_call(&self) {
        let _ = self.awaits_call.set(());
    }

    pub(in crate::flight) fn call_begins(&self) {
        if self.awaits_call.get().is_some() {
            self.begin();
        }
    }

    /// How long ago the first of them came.
    pub(in crate::flight) fn waited(&self) -> Option<Duration> {
        Some(self.since.get()?.elapsed())
    }

    /// Whether the wait is in vain if the flight ends now: unless it was a short one, and nobody waits
    /// any more, or all of it is noted by those who did.
    pub(in crate::flight) fn is_in_vain(&self, is_followed: bool) -> bool {
        let is_noted = self.noted.load(Ordering::Relaxed) > 0;
        let waited = self.waited();
        waited.is_some_and(|waited| is_followed || (is_long(waited) && !is_noted))
    }

    /// The client, and how long requests have waited for its flight beyond what is noted. It counts as
    /// noted then. `None` where that is no time.
    pub(in crate::flight) fn take(&self) -> Option<(ClientId, Duration)> {
        let waited = u64::try_from(self.waited()?.as_micros()).unwrap_or(u64::MAX);
        let noted = self.noted.fetch_max(waited, Ordering::Relaxed);
        let rest = Duration::from_micros(waited.saturating_sub(noted));
        (!rest.is_zero()).then_some((self.client, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wait() -> OthersWait {
        OthersWait::new(ClientId::from_digest(1 << 32))
    }

    async fn pass(seconds: u32) {
        tokio::time::advance(SECOND * seconds).await;
    }

    fn take(wait: &OthersWait) -> Option<Duration> {
        wait.take().map(|(_, waited)| waited)
    }

    #[tokio::test(start_paused = true)]
    async fn each_second_is_noted_once() {
        let wait = wait();
        assert_eq!(take(&wait), None, "nobody waits");
        wait.begin();
        pass(2).await;
        wait.begin();
        pass(1).await;
        assert_eq!(take(&wait), Some(3 * SECOND));
        assert_eq!(take(&wait), None);
        pass(7).await;
        assert_eq!(take(&wait), Some(7 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn some_count_from_the_beginning_of_the_call() {
        let wait = wait();
        wait.begin_with_call();
        pass(5).await;
        assert_eq!(wait.waited(), None);
        wait.call_begins();
        pass(1).await;
        assert_eq!(take(&wait), Some(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_left_counts_once() {
        let wait = wait();
        assert!(!wait.is_in_vain(true), "nobody came");
        wait.begin();
        pass(1).await;
        assert!(wait.is_in_vain(true) && !wait.is_in_vain(false));
        pass(1).await;
        assert!(wait.is_in_vain(false));
        let _ = wait.take();
        pass(9).await;
        assert!(wait.is_in_vain(true) && !wait.is_in_vain(false));
    }
}
