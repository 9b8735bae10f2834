//! Pending invalidations that the backend refuses whenever it is asked: they delay no other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, GraceScope, Group, Guarded, InvalidationTarget,
    MemoryBackend,
};

use crate::support::sample::Sample;

/// How a remote backend answers the invalidation of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behavior {
    Fails,
    Hangs,
}

#[derive(Debug, Default)]
struct State {
    is_away: bool,
    /// The targets that cannot be invalidated.
    refused: HashSet<InvalidationTarget>,
    behavior: Option<Behavior>,
    /// The targets that were invalidated.
    done: HashSet<InvalidationTarget>,
    tried: usize,
}

#[derive(Clone)]
struct Remote {
    memory: MemoryBackend,
    state: Arc<Mutex<State>>,
}

impl Remote {
    fn new(behavior: Behavior) -> Self {
        let state = State {
            is_away: true,
            behavior: Some(behavior),
            ..State::default()
        };
        Self {
            memory: MemoryBackend::new(1 << 20),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no panic"))
    }

    async fn try_one(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        let refused = self.with(|state| {
            state.tried += 1;
            match state.is_away || state.refused.contains(target) {
                true if state.is_away => Some(Behavior::Fails),
                true => state.behavior,
                false => {
                    state.done.insert(*target);
                    None
                }
            }
        });
        match refused {
            None => Ok(()),
            Some(Behavior::Fails) => Err(BackendError::new("refused")),
            Some(Behavior::Hangs) => std::future::pending().await,
        }
    }
}

impl ForwardBackend for Remote {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.memory
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.try_one(target).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        _: Duration,
    ) -> Result<GraceScope, BackendError> {
        self.try_one(target).await.map(|()| GraceScope::OneCache)
    }
}

async fn resources(backend: &impl Backend, count: usize) -> Vec<InvalidationTarget> {
    let mut targets = Vec::new();
    for number in 0..count {
        let sample = Sample::of(backend, &format!("/{number}"), "").await;
        targets.push(InvalidationTarget::Resource(*sample.key.resource()));
    }
    targets
}

fn undelivered(guarded: &Guarded<Remote>) -> usize {
    guarded.health().expect("it is guarded").undelivered
}

/// Waits until so many are undelivered; returns how long that took.
async fn until_undelivered(guarded: &Guarded<Remote>, count: usize) -> Duration {
    let start = Instant::now();
    while undelivered(guarded) != count {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} are undelivered after a minute, {count} expected",
            undelivered(guarded)
        );
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// A backend that owes all of these, and comes back; some of them it refuses for ever.
async fn after_an_outage(
    behavior: Behavior,
    targets: &[InvalidationTarget],
    refused: &[InvalidationTarget],
    grace: Option<Duration>,
) -> (Remote, Guarded<Remote>) {
    let remote = Remote::new(behavior);
    let guarded = Guarded::new(remote.clone());
    remote.with(|state| state.refused.extend(refused));
    for target in targets {
        let failed = match grace {
            None => Backend::invalidate(&guarded, target).await.is_err(),
            Some(grace) => guarded.invalidate_unknown(target, grace).await.is_err(),
        };
        assert!(failed);
    }
    assert_eq!(undelivered(&guarded), targets.len());
    remote.with(|state| state.is_away = false);
    (remote, guarded)
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_delivered_blocks_no_other() {
    let targets = resources(&MemoryBackend::default(), 600).await;
    let (remote, guarded) = after_an_outage(Behavior::Fails, &targets, &targets[..1], None).await;
    let took = until_undelivered(&guarded, 1).await;
    println!("599 delivered after {took:?}");
    remote.with(|state| {
        assert!(
            targets[1..]
                .iter()
                .all(|target| state.done.contains(target))
        );
        state.refused.clear();
    });
    // It is tried again all the time.
    until_undelivered(&guarded, 0).await;
}

/// Several of both kinds among many.
#[tokio::test(start_paused = true)]
async fn many_that_cannot_be_delivered_block_no_other() {
    let mut targets = resources(&MemoryBackend::default(), 500).await;
    let groups = (0..100).map(|number| InvalidationTarget::Group(Group::from_digest(number)));
    targets.extend(groups);
    let refused: Vec<_> = targets.iter().step_by(97).copied().collect();
    let (remote, guarded) = after_an_outage(Behavior::Fails, &targets, &refused, None).await;
    let took = until_undelivered(&guarded, refused.len()).await;
    println!("all but {} delivered after {took:?}", refused.len());
    remote.with(|state| assert!(refused.iter().all(|target| !state.done.contains(target))));
}

/// One that is never answered, of writes of unknown outcome.
#[tokio::test(start_paused = true)]
async fn one_that_hangs_blocks_no_other() {
    let targets = resources(&MemoryBackend::default(), 100).await;
    let grace = Some(Duration::from_secs(3600));
    let (_, guarded) = after_an_outage(Behavior::Hangs, &targets, &targets[50..51], grace).await;
    let took = until_undelivered(&guarded, 1).await;
    println!("99 delivered after {took:?}");
}

/// One that can be delivered after a while is, however many others fail again and again meanwhile.
#[tokio::test(start_paused = true)]
async fn later_ones_keep_none_from_being_tried() {
    let targets = resources(&MemoryBackend::default(), 50).await;
    let (old, later) = targets.split_at(1);
    let (remote, guarded) = after_an_outage(Behavior::Fails, old, &targets, None).await;
    sleep(Duration::from_secs(10)).await;
    remote.with(|state| assert!(state.tried > 5 && state.refused.remove(&old[0])));
    let start = Instant::now();
    for target in later.iter().cycle() {
        assert!(Backend::invalidate(&guarded, target).await.is_err());
        sleep(Duration::from_millis(200)).await;
        if remote.with(|state| state.done.contains(&old[0])) {
            break;
        }
        // At most one round of attempts, two seconds apart.
        assert!(start.elapsed() < Duration::from_secs(120));
    }
}
