//! Pending invalidations of a guarded backend: an acknowledgement settles those pending when its
//! delivery began, and none newer.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower_response_cache::backend::{
    Backend, BackendError, BreakerState, ForwardBackend, GraceScope, Guarded, InvalidationTarget,
    JoinDecision, Lookup, MemoryBackend, MemoryFence, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

use crate::support::sample::{Sample, at};

/// A backend shared with others, whose acknowledgements can be held back, and which can be out of
/// reach.
#[derive(Clone)]
struct Remote {
    memory: MemoryBackend,
    is_away: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    acknowledgements: Arc<Semaphore>,
    /// How long ago the expirations were that have arrived.
    expired: Arc<Mutex<Vec<Duration>>>,
}

impl Remote {
    fn new() -> Self {
        Self {
            memory: MemoryBackend::new(1 << 20),
            is_away: Arc::default(),
            done: Arc::default(),
            acknowledgements: Arc::new(Semaphore::new(0)),
            expired: Arc::default(),
        }
    }

    fn goes_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn check_reachable(&self) -> Result<(), BackendError> {
        let is_away = self.is_away.load(Ordering::SeqCst);
        (!is_away)
            .then_some(())
            .ok_or_else(|| BackendError::new("away"))
    }
}

impl ForwardBackend for Remote {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.memory
    }

    /// Every lookup goes to `get`.
    fn get_now(&self, _: &CacheKey) -> Option<Lookup<MemoryFence>> {
        None
    }

    async fn remove(&self, key: &CacheKey, fence: MemoryFence) -> Result<bool, BackendError> {
        self.check_reachable()?;
        self.memory.remove(key, fence).await
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        self.check_reachable()?;
        self.memory.get(key, now).await
    }

    async fn fence(&self, of: Option<&Resource>) -> Result<Option<MemoryFence>, BackendError> {
        self.check_reachable()?;
        self.memory.fence(of).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.check_reachable()?;
        self.memory.put(key, fence, response, now).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.check_reachable()?;
        self.memory.replace(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.check_reachable()?;
        self.memory.invalidate(target).await?;
        self.done.fetch_add(1, Ordering::SeqCst);
        self.acknowledgements
            .acquire()
            .await
            .expect("open")
            .forget();
        Ok(())
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        _: Duration,
    ) -> Result<GraceScope, BackendError> {
        let done = ForwardBackend::invalidate(self, target).await;
        done.map(|()| GraceScope::OneCache)
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        self.check_reachable()?;
        self.expired.lock().expect("no panic").push(ago);
        self.memory.expire(targets, at, ago).await
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        self.check_reachable()?;
        self.memory.expire_all(now).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.check_reachable()?;
        self.memory.clear().await
    }
}

fn guarded(remote: &Remote) -> Guarded<Remote> {
    const LONG: Duration = Duration::from_secs(60);
    let guarded = Guarded::new(remote.clone()).invalidation_deadline(LONG);
    guarded.failure_threshold(1.0).min_samples(1_000_000)
}

async fn until_done(remote: &Remote, times: usize) {
    while remote.done.load(Ordering::SeqCst) < times {
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_found<F>(lookup: &Result<Lookup<F>, BackendError>) -> bool {
    matches!(lookup, Ok(Lookup::Found(..)))
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_recorded_during_a_delivery_stays_pending() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let sample = Sample::of(&remote, "/a", "old").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    remote.goes_away(true);
    assert!(here.invalidate(&target).await.is_err());
    remote.goes_away(false);
    until_done(&remote, 1).await;
    // Another instance stores; then a write here, which does not reach the backend.
    sample.store(&remote.memory).await;
    remote.goes_away(true);
    assert!(here.invalidate(&target).await.is_err());
    remote.acknowledgements.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    remote.goes_away(false);
    assert!(!is_found(&here.get(&sample.key, at(0)).await));
    until_done(&remote, 2).await;
    assert!(here.get(&sample.key, at(0)).await.is_err(), "not yet");
    remote.acknowledgements.add_permits(1);
    here.drain().await;
    assert!(matches!(
        here.get(&sample.key, at(0)).await,
        Ok(Lookup::Miss(_))
    ));
    sample.store(&here).await;
    assert!(is_found(&here.get(&sample.key, at(0)).await));
}

/// Promise: an expiration that the backend has missed is delivered as one, and nothing is read
/// before; a removal of the same resource that it has missed, too, takes its place.
#[tokio::test(start_paused = true)]
async fn an_expiration_is_delivered_later_unless_a_removal_is_owed() {
    for (removes, all) in [(false, false), (true, false), (false, true)] {
        let remote = Remote::new();
        remote.acknowledgements.add_permits(100);
        let here = guarded(&remote);
        let sample = Sample::of(&remote, "/a", "old").await;
        sample.store(&here).await;
        let fence = sample.fence(&here).await;
        let target = InvalidationTarget::Resource(*sample.key.resource());
        remote.goes_away(true);
        let missed = match all {
            false => here.expire(&[target], at(7), Duration::ZERO).await,
            true => here.expire_all(at(7)).await,
        };
        assert!(missed.is_err());
        if removes {
            assert!(here.invalidate(&target).await.is_err());
            assert!(here.expire(&[target], at(8), Duration::ZERO).await.is_err());
        }
        assert!(here.get(&sample.key, at(0)).await.is_err());
        remote.goes_away(false);
        let early = here.get(&sample.key, at(0)).await;
        assert!(early.is_err(), "nothing is read before");
        here.drain().await;
        let lookup = here.get(&sample.key, at(0)).await.expect("a lookup");
        match (lookup, removes || all) {
            (Lookup::Miss(_), true) => {}
            (Lookup::Found(found, _), false) => {
                let lifetime = found.freshness().lifetime;
                assert_eq!(lifetime, Some(Duration::from_secs(7)));
            }
            (lookup, _) => panic!("{lookup:?}"),
        }
        assert_eq!(sample.put(&here, &fence).await, PutOutcome::Superseded);
    }
}

/// Promise: an expiration that is delivered late says how long ago it was told, the first of
/// several.
#[tokio::test(start_paused = true)]
async fn a_late_expiration_counts_from_when_it_was_told() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let sample = Sample::of(&remote, "/a", "old").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    let targets = [target];
    let expire = |seconds, ago| here.expire(&targets, at(seconds), ago);
    remote.goes_away(true);
    assert!(expire(7, Duration::from_secs(3)).await.is_err());
    sleep(Duration::from_secs(20)).await;
    assert!(expire(27, Duration::ZERO).await.is_err());
    sleep(Duration::from_secs(20)).await;
    remote.goes_away(false);
    here.drain().await;
    expire(100, Duration::ZERO).await.expect("acknowledged");
    let expired = remote.expired.lock().expect("no panic").clone();
    let [late, at_once] = expired[..] else {
        panic!("{expired:?}");
    };
    assert_eq!((late.as_secs(), at_once), (43, Duration::ZERO));
}

/// Promise: an acknowledged expiration settles no removal that is owed.
#[tokio::test(start_paused = true)]
async fn an_expiration_settles_no_removal() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let sample = Sample::of(&remote, "/a", "old").await;
    sample.store(&here).await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    remote.goes_away(true);
    assert!(here.invalidate(&target).await.is_err());
    remote.goes_away(false);
    here.expire(&[target], at(7), Duration::ZERO)
        .await
        .expect("acknowledged");
    assert!(here.get(&sample.key, at(0)).await.is_err(), "still owed");
    remote.acknowledgements.add_permits(100);
    here.drain().await;
    assert_eq!(sample.body(&here).await, None);
}

/// A caller that stops waiting leaves the invalidation pending.
#[tokio::test(start_paused = true)]
async fn an_invalidation_without_a_waiting_caller_is_pending_at_once() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let sample = Sample::of(&remote, "/a", "old").await;
    sample.store(&here).await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    {
        let mut invalidation = std::pin::pin!(here.invalidate(&target));
        let polled = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(invalidation.as_mut().poll(cx).is_ready())
        });
        assert!(!polled.await);
    }
    assert!(here.get(&sample.key, at(0)).await.is_err());
    assert_eq!(here.health().expect("its health").undelivered, 1);
    // The first has not been acknowledged, and no caller waits for it any more.
    remote.acknowledgements.add_permits(2);
    here.drain().await;
    assert_eq!(sample.body(&here).await, None);
}

/// The undelivered write overlapped, which only this instance knows.
#[tokio::test(start_paused = true)]
async fn a_write_that_overlapped_a_pending_invalidation_stores_nothing() {
    let remote = Remote::new();
    remote.acknowledgements.add_permits(100);
    let guarded = Guarded::new(remote.clone());
    let sample = Sample::of(&guarded, "/a", "old").await;
    let fence = guarded.fence(Some(sample.key.resource())).await;
    let fence = fence.expect("it is there").expect("a fence");
    remote.goes_away(true);
    let target = InvalidationTarget::Resource(*sample.key.resource());
    assert!(guarded.invalidate(&target).await.is_err());
    remote.goes_away(false);
    let replaced = guarded.replace(&sample.key, fence, sample.response.clone(), at(0));
    assert_eq!(replaced.await.expect("it is there"), PutOutcome::Superseded);
    let found = guarded
        .get(&sample.key, at(0))
        .await
        .expect("nothing is owed");
    assert!(matches!(found, Lookup::Miss(_)), "{found:?}");
}

/// Responses stored by others are not served here, and responses fetched before the write are not
/// stored for them.
#[tokio::test(start_paused = true)]
async fn a_member_of_a_group_that_is_owed_is_neither_read_nor_stored() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let member = Sample::in_groups(&remote, "/a", r#""one", "two""#, "old").await;
    let other = Sample::in_groups(&remote, "/b", r#""three""#, "other").await;
    for sample in [&member, &other] {
        sample.store(&here).await;
    }
    let before = member.fence(&here).await;
    let target = InvalidationTarget::Group(member.response.groups()[1]);
    remote.goes_away(true);
    assert!(here.invalidate(&target).await.is_err());
    remote.goes_away(false);
    // The backend does it, and its acknowledgement does not come.
    until_done(&remote, 1).await;
    member.store(&remote.memory).await;
    assert_eq!(here.health().expect("its health").undelivered, 1);
    assert!(is_found(&Backend::get(&remote, &member.key, at(0)).await));
    assert_eq!(member.body(&here).await, None);
    assert!(is_found(&here.get(&other.key, at(0)).await), "others stay");
    for fence in [before, member.fence(&here).await] {
        assert_eq!(member.put(&here, &fence).await, PutOutcome::Superseded);
    }
    assert_eq!(
        other.put(&here, &other.fence(&here).await).await,
        PutOutcome::Stored
    );
    remote.acknowledgements.add_permits(100);
    here.drain().await;
    assert_eq!(here.health().expect("its health").undelivered, 0);
    member.store(&here).await;
    assert!(is_found(&here.get(&member.key, at(0)).await));
}

/// The backend was not told: for it, both are of one time.
#[tokio::test(start_paused = true)]
async fn no_request_joins_a_fill_from_before_a_pending_group_invalidation() {
    let remote = Remote::new();
    let here = guarded(&remote);
    let member = Sample::in_groups(&remote, "/a", r#""one""#, "old").await;
    let (flight, resource) = (member.fence(&here).await, *member.key.resource());
    let shares = |flight: &_, own: &_| match here.join_decision(&resource, flight, own) {
        JoinDecision::Join => true,
        JoinDecision::CheckGroups => {
            assert!(here.has_current_groups(&[], flight, own), "in no group");
            here.has_current_groups(member.response.groups(), flight, own)
        }
        JoinDecision::Refuse => false,
    };
    assert!(shares(&flight, &member.fence(&here).await));
    remote.goes_away(true);
    let target = InvalidationTarget::Group(member.response.groups()[0]);
    assert!(here.invalidate(&target).await.is_err());
    remote.goes_away(false);
    let own = member.fence(&here).await;
    let of_a_write = here.fence(Some(&resource)).await.expect("it is there");
    assert_eq!(of_a_write.as_ref(), Some(&own));
    assert!(!shares(&flight, &own));
    assert!(shares(&own, &own), "both came after");
    // Once delivered, the backend refuses by itself.
    remote.acknowledgements.add_permits(100);
    here.drain().await;
    assert!(!shares(&flight, &own), "nor later");
    assert!(!shares(&own, &member.fence(&here).await));
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_group_is_owed_replaces_nothing() {
    for is_delivered in [false, true] {
        let remote = Remote::new();
        remote.acknowledgements.add_permits(100);
        let here = guarded(&remote);
        let member = Sample::in_groups(&remote, "/a", r#""one""#, "old").await;
        let fence = member.fence(&here).await;
        remote.goes_away(true);
        let target = InvalidationTarget::Group(member.response.groups()[0]);
        assert!(here.invalidate(&target).await.is_err());
        remote.goes_away(false);
        if is_delivered {
            here.drain().await;
        }
        assert_eq!(member.replace(&here, &fence).await, PutOutcome::Superseded);
        here.drain().await;
        assert_eq!(member.body(&here).await, None);
        assert_eq!(
            member.replace(&here, &member.fence(&here).await).await,
            PutOutcome::Stored
        );
    }
}

/// Promise: outside of a runtime there are no timers, and nothing panics or hangs for want of them.
#[test]
fn outside_of_a_runtime_drain_delivers_without_waiting() {
    let scenario = async {
        let remote = Remote::new();
        remote.acknowledgements.add_permits(100);
        let guarded = Guarded::new(remote.clone());
        let sample = Sample::of(&guarded, "/a", "old").await;
        remote.goes_away(true);
        let target = InvalidationTarget::Resource(*sample.key.resource());
        assert!(guarded.invalidate(&target).await.is_err());
        assert!(guarded.get(&sample.key, at(0)).await.is_err());
        guarded.drain().await;
        assert!(guarded.get(&sample.key, at(0)).await.is_err());
        remote.goes_away(false);
        guarded.drain().await;
        assert!(guarded.get(&sample.key, at(0)).await.is_ok());
    };
    let mut scenario = pin!(scenario);
    let mut cx = Context::from_waker(Waker::noop());
    let polls = (0..100).find(|_| scenario.as_mut().poll(&mut cx).is_ready());
    assert!(polls.is_some(), "the scenario waits for ever");
}

/// A client that leaves early says nothing of the backend; one that leaves late says that it is
/// slow.
#[tokio::test(start_paused = true)]
async fn slow_operations_that_clients_give_up_open_the_breaker() {
    let remote = Remote::new();
    let guarded = Guarded::new(remote.clone()).invalidation_deadline(Duration::from_millis(100));
    let sample = Sample::of(&guarded, "/a", "old").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    for (patience, state) in [(10, BreakerState::Closed), (60, BreakerState::Open)] {
        for _ in 0..20 {
            let given_up = timeout(Duration::from_millis(patience), guarded.invalidate(&target));
            let _ = given_up.await;
        }
        let health = guarded.health().expect("it is guarded");
        assert_eq!(health.invalidation_breaker, state, "{patience} ms");
    }
}
