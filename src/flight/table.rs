//! Which fills are under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const STRIPES: usize = 64;

/// What followers of a fill are told. `H` is what they share, once there is a head.
#[derive(Debug)]
pub(crate) enum Stage<H> {
    /// The inner service has been, or is about to be, called.
    Calling,
    /// There is a head that may be stored: take what is yours.
    Shared(Arc<H>),
    /// The answer is for nobody else: everybody goes alone, at once.
    Apart,
    /// Nothing came of it: one of the followers takes over.
    Vacant,
}

impl<H> Clone for Stage<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Calling => Self::Calling,
            Self::Shared(head) => Self::Shared(head.clone()),
            Self::Apart => Self::Apart,
            Self::Vacant => Self::Vacant,
        }
    }
}

/// The fills under way, by key: at most one a key is open to followers.
///
/// Bounded by the requests in flight: an entry lives as long as its [`Lead`].
#[derive(Debug)]
pub(crate) struct Flights<F, H> {
    stripes: Box<[Mutex<Open<F, H>>]>,
}

type Open<F, H> = HashMap<CacheKey, Arc<Flight<F, H>>>;

#[derive(Debug)]
struct Flight<F, H> {
    fence: F,
    began: Moment,
    stage: watch::Sender<Stage<H>>,
}

/// A request's part in a flight.
#[derive(Debug)]
pub(crate) enum Entered<F, H> {
    /// Nobody else is on it: call the inner service.
    Leads(Lead<F, H>),
    /// Somebody else is.
    Follows(Follower<H>),
}

impl<F, H> Default for Flights<F, H> {
    fn default() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl<F, H> Flights<F, H> {
    fn stripe(&self, key: &CacheKey) -> MutexGuard<'_, Open<F, H>> {
        let stripe = &self.stripes[key.resource().digest() as usize % STRIPES];
        // Nothing in here panics between two steps that belong together.
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight that is open for a key, or opens one in its place.
    ///
    /// `may_join` tells whether a flight with that fence may answer this request: no write of the resource lies between
    /// that fence's capture and the request's start. One older than `longest` is taken for dead and replaced. Whoever
    /// follows a flight that is replaced goes on following it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: CacheKey,
        fence: F,
        now: Moment,
        longest: Duration,
        may_join: impl FnOnce(&F) -> bool,
    ) -> Entered<F, H> {
        let open = self.stripe(&key);
        if let Some(flight) = open.get(&key)
            && now.since(flight.began) < longest
            && may_join(&flight.fence)
        {
            return Entered::Follows(Follower {
                stage: flight.stage.subscribe(),
            });
        }
        Entered::Leads(self.open(open, key, fence, now))
    }

    /// Opens a flight for a key unless there is one, of whatever fence.
    pub(crate) fn lead(
        self: &Arc<Self>,
        key: CacheKey,
        fence: F,
        now: Moment,
        longest: Duration,
    ) -> Option<Lead<F, H>> {
        let open = self.stripe(&key);
        let is_taken = open
            .get(&key)
            .is_some_and(|flight| now.since(flight.began) < longest);
        (!is_taken).then(|| self.open(open, key, fence, now))
    }

    fn open(
        self: &Arc<Self>,
        mut open: MutexGuard<'_, Open<F, H>>,
        key: CacheKey,
        fence: F,
        began: Moment,
    ) -> Lead<F, H> {
        let flight = Arc::new(Flight {
            fence,
            began,
            stage: watch::Sender::new(Stage::Calling),
        });
        let replaced = open.insert(key, flight.clone());
        drop(open);
        drop(replaced);
        Lead {
            flights: self.clone(),
            key,
            flight,
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        let open = |stripe: &Mutex<Open<F, H>>| stripe.lock().map_or(0, |open| open.len());
        self.stripes.iter().map(open).sum()
    }
}

/// The leader's end of a flight. Dropped, it closes the flight; followers who were told nothing until then find it
/// vacant.
#[derive(Debug)]
pub(crate) struct Lead<F, H> {
    flights: Arc<Flights<F, H>>,
    key: CacheKey,
    flight: Arc<Flight<F, H>>,
}

impl<F, H> Lead<F, H> {
    /// The key of the flight.
    pub(crate) fn key(&self) -> CacheKey {
        self.key
    }

    /// Whether anybody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.flight.stage.receiver_count() > 0
    }

    /// Tells the followers. Whoever enters later is told the same, until the flight closes.
    pub(crate) fn tell(&self, stage: Stage<H>) {
        self.flight.stage.send_replace(stage);
    }

    /// Lets nobody else in. Those who follow go on following.
    pub(crate) fn close(&self) {
        let mut open = self.flights.stripe(&self.key);
        let is_ours = open
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        let closed = if is_ours {
            open.remove(&self.key)
        } else {
            None
        };
        drop(open);
        drop(closed);
    }
}

impl<F, H> Drop for Lead<F, H> {
    fn drop(&mut self) {
        self.close();
        self.flight.stage.send_if_modified(|stage| {
            let untold = matches!(stage, Stage::Calling);
            if untold {
                *stage = Stage::Vacant;
            }
            untold
        });
    }
}

/// A follower's end of a flight.
#[derive(Debug)]
pub(crate) struct Follower<H> {
    stage: watch::Receiver<Stage<H>>,
}

impl<H> Follower<H> {
    /// Waits until there is something to be told. Dropping the future is leaving.
    pub(crate) async fn told(mut self) -> Stage<H> {
        let told = self
            .stage
            .wait_for(|stage| !matches!(stage, Stage::Calling));
        match told.await {
            Ok(stage) => stage.clone(),
            Err(_) => Stage::Vacant,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::key::{DigestSeed, Resource};

    const LONGEST: Duration = Duration::from_secs(30);

    fn key() -> CacheKey {
        let seed = DigestSeed::default();
        CacheKey::plain(Resource::new(&seed, "", "test.example", "/a"))
    }

    fn enter(flights: &Arc<Flights<u64, ()>>, fence: u64, seconds: u64) -> Entered<u64, ()> {
        let now = Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH);
        flights.enter(key(), fence, now, LONGEST, |flight| *flight == fence)
    }

    fn lead(flights: &Arc<Flights<u64, ()>>, fence: u64, seconds: u64) -> Lead<u64, ()> {
        match enter(flights, fence, seconds) {
            Entered::Leads(lead) => lead,
            Entered::Follows(_) => panic!("there is nobody to follow"),
        }
    }

    #[test]
    fn a_flight_is_closed_by_its_own_leader_only() {
        let flights = Arc::default();
        let first = lead(&flights, 1, 0);
        assert!(matches!(enter(&flights, 1, 0), Entered::Follows(_)));
        // Another fence, then another age: each opens a flight of its own in its place.
        let second = lead(&flights, 2, 0);
        let third = lead(&flights, 2, 31);
        drop((first, second));
        assert!(matches!(enter(&flights, 2, 31), Entered::Follows(_)));
        drop(third);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    }

    #[tokio::test]
    async fn followers_of_a_leader_who_said_nothing_find_it_vacant() {
        let flights = Arc::default();
        let leader = lead(&flights, 1, 0);
        let Entered::Follows(follower) = enter(&flights, 1, 0) else {
            panic!("there is a flight");
        };
        assert!(leader.is_followed());
        drop(leader);
        assert!(matches!(follower.told().await, Stage::Vacant));

        let leader = lead(&flights, 1, 0);
        let Entered::Follows(follower) = enter(&flights, 1, 0) else {
            panic!("there is a flight");
        };
        leader.tell(Stage::Apart);
        drop(leader);
        assert!(matches!(follower.told().await, Stage::Apart));
    }
}
