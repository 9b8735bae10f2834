//! The wait of requests for a flight of another client.
//!
//! Knows times, not the table in which they are noted. Start at [`OthersWait::take`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::patience::is_long;
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// A shorter wait holds up nobody, and is not noted: an ordinary request takes as long.
const MIN_NOTED: Duration = Duration::from_millis(10);

/// Since when requests of other clients wait for a flight, and how much of that is noted.
///
/// Each of them notes what it has waited when it gives up, and so does the flight when it ends: what
/// has been noted does not count again. One that stays when the others have left counts no more.
#[derive(Debug)]
pub(crate) struct OthersWait {
    /// The client of the flight.
    client: ClientId,
    since: OnceLock<(Instant, Moment)>,
    /// Set where requests have come before the call that count from its beginning.
    awaits_call: OnceLock<()>,
    /// Microseconds. That of std even under loom: no decision depends on the order in which it changes.
    noted: AtomicU64,
}

/// For how long a client has held up others, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flight) struct Waited {
    pub(in crate::flight) client: ClientId,
    pub(in crate::flight) time: Duration,
    /// With what is noted before.
    pub(in crate::flight) in_all: Duration,
    /// By the monotonic clock.
    pub(in crate::flight) until: Duration,
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

    /// The client of the flight.
    pub(crate) const fn client(&self) -> ClientId {
        self.client
    }

    /// Notes that a request waits.
    pub(in crate::flight) fn begin(&self, now: Moment) {
        self.since.get_or_init(|| (Instant::now(), now));
    }

    /// Notes that a request waits, whose time counts once the call has begun.
    pub(in crate::flight) fn begin_with_call(&self) {
        let _ = self.awaits_call.set(());
    }

    pub(in crate::flight) fn call_begins(&self, now: Moment) {
        if self.awaits_call.get().is_some() {
            self.begin(now);
        }
    }

    /// Whether the first of them has come more than a second ago.
    pub(crate) fn is_long(&self) -> bool {
        let since = self.since.get();
        since.is_some_and(|(since, _)| is_long(since.elapsed()))
    }

    /// Whether the wait is in vain if the flight ends now: unless it was a short one, and nobody waits
    /// any more, or all of it is noted by those who did.
    pub(in crate::flight) fn is_in_vain(&self, is_followed: bool) -> bool {
        let is_noted = self.noted.load(Ordering::Relaxed) > 0;
        self.since.get().is_some() && (is_followed || (self.is_long() && !is_noted))
    }

    /// How much of the wait is noted.
    pub(in crate::flight) fn noted(&self) -> Duration {
        Duration::from_micros(self.noted.load(Ordering::Relaxed))
    }

    /// How long requests have waited beyond what is noted. It counts as noted then. `None` where that
    /// is hardly any time.
    pub(in crate::flight) fn take(&self) -> Option<Waited> {
        let (since, moment) = self.since.get()?;
        let waited = since.elapsed();
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let since_noted = |noted| Duration::from_micros(micros.saturating_sub(noted));
        if since_noted(self.noted.load(Ordering::Relaxed)) < MIN_NOTED {
            return None;
        }
        // Others may do the same at this moment.
        let noted = self.noted.fetch_max(micros, Ordering::Relaxed);
        Some(Waited {
            client: self.client,
            time: since_noted(noted),
            in_all: waited,
            until: moment.monotonic().saturating_add(waited),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::SystemTime;

    const SECOND: Duration = Duration::from_secs(1);

    fn wait() -> OthersWait {
        OthersWait::new(ClientId::from_digest(1 << 32))
    }

    fn now() -> Moment {
        Moment::new(100 * SECOND, SystemTime::UNIX_EPOCH)
    }

    async fn pass(seconds: u32) {
        tokio::time::advance(SECOND * seconds).await;
    }

    /// What was not noted, and until when after the beginning.
    fn take(wait: &OthersWait) -> Option<(Duration, Duration)> {
        wait.take()
            .map(|waited| (waited.time, waited.until - 100 * SECOND))
    }

    #[tokio::test(start_paused = true)]
    async fn each_second_is_noted_once() {
        let wait = wait();
        assert_eq!(take(&wait), None, "nobody waits");
        wait.begin(now());
        pass(2).await;
        wait.begin(now());
        pass(1).await;
        assert_eq!(take(&wait), Some((3 * SECOND, 3 * SECOND)));
        assert_eq!(take(&wait), None);
        pass(7).await;
        assert_eq!(take(&wait), Some((7 * SECOND, 10 * SECOND)));
        assert_eq!(wait.noted(), 10 * SECOND);
    }

    /// As long as any request takes.
    #[tokio::test(start_paused = true)]
    async fn a_moment_is_noted_with_what_follows() {
        let (wait, half) = (wait(), MIN_NOTED / 2);
        wait.begin(now());
        tokio::time::advance(half).await;
        assert_eq!(take(&wait), None);
        tokio::time::advance(half).await;
        assert_eq!(take(&wait), Some((MIN_NOTED, MIN_NOTED)));
    }

    #[tokio::test(start_paused = true)]
    async fn some_count_from_the_beginning_of_the_call() {
        let wait = wait();
        wait.begin_with_call();
        pass(5).await;
        assert!(!wait.is_long() && !wait.is_in_vain(true));
        wait.call_begins(now());
        pass(1).await;
        assert_eq!(take(&wait), Some((SECOND, SECOND)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_left_counts_once() {
        let wait = wait();
        assert!(!wait.is_in_vain(true), "nobody came");
        wait.begin(now());
        pass(1).await;
        assert!(wait.is_in_vain(true) && !wait.is_in_vain(false));
        pass(1).await;
        assert!(wait.is_in_vain(false));
        let _ = wait.take();
        pass(9).await;
        assert!(wait.is_in_vain(true) && !wait.is_in_vain(false));
    }
}
