//! Which fills are under way.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{self, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::follower::{Follower, HandOver};
use super::news::Stage;
use super::open::{Flight, Open, Terms};
use super::stream::Stream;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// Few under loom, which makes each of them anew in every interleaving.
const STRIPES: usize = if cfg!(trc_loom) { 2 } else { 64 };

/// The fills under way, by key: at most one a key is open to followers who come after its call has begun.
///
/// Bounded by the requests in flight: an entry lives as long as its [`Lead`].
pub(crate) struct Flights<F, H> {
    stripes: Box<[Stripe<F, H>]>,
}

struct Stripe<F, H> {
    open: Mutex<Open<F, H>>,
    /// How many flights have been closed.
    closed: AtomicU64,
}

/// A request's part in a flight.
pub(crate) enum Entered<F, H> {
    /// Nobody else is on it: call the inner service.
    Leads(Lead<F, H>),
    /// Somebody else is.
    Follows(Follower<H>),
    /// Nobody is, but others have been meanwhile.
    Changed,
}

impl<F, H> Default for Flights<F, H> {
    fn default() -> Self {
        let stripe = || Stripe {
            open: Mutex::default(),
            closed: AtomicU64::new(0),
        };
        Self {
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
        }
    }
}

impl<F, H> Stripe<F, H> {
    fn lock(&self) -> MutexGuard<'_, Open<F, H>> {
        // Nothing in here panics between two steps that belong together.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F, H> Flights<F, H> {
    fn stripe(&self, key: &CacheKey) -> &Stripe<F, H> {
        &self.stripes[key.resource().digest() as usize % STRIPES]
    }

    /// Joins the flight that is open for a key, or opens one in its place.
    ///
    /// `may_join` tells whether a flight with that fence may answer this request: no write of the resource lies between
    /// that fence's capture and the request's start. Whoever follows a flight that is replaced goes on following it.
    ///
    /// Without a fence nobody can tell: then it takes a flight whose call has not begun, and the new one waits for its turn.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: CacheKey,
        fence: Option<F>,
        terms: Terms,
        may_join: impl Fn(&F) -> bool,
        stream: impl FnOnce() -> Stream,
    ) -> Entered<F, H> {
        let open = self.stripe(&key).lock();
        match open.joinable(key, terms, may_join) {
            Some(flight) => Entered::Follows(flight.follower()),
            None if terms
                .closed
                .is_some_and(|closed| closed != self.closed(&key)) =>
            {
                Entered::Changed
            }
            None => Entered::Leads(self.open(open, key, fence, terms, stream())),
        }
    }

    /// Joins the flight that is open for a key, if there is one.
    pub(crate) fn follow(
        &self,
        key: CacheKey,
        terms: Terms,
        may_join: impl Fn(&F) -> bool,
    ) -> Option<Follower<H>> {
        let open = self.stripe(&key).lock();
        open.joinable(key, terms, may_join).map(Flight::follower)
    }

    /// Opens a flight for a key unless there is one, of whatever fence.
    pub(crate) fn lead(
        self: &Arc<Self>,
        key: CacheKey,
        fence: F,
        terms: Terms,
        stream: impl FnOnce() -> Stream,
    ) -> Option<Lead<F, H>> {
        let open = self.stripe(&key).lock();
        if open.is_on(&key, terms) {
            return None;
        }
        Some(self.open(open, key, Some(fence), terms, stream()))
    }

    fn open(
        self: &Arc<Self>,
        mut open: MutexGuard<'_, Open<F, H>>,
        key: CacheKey,
        fence: Option<F>,
        terms: Terms,
        stream: Stream,
    ) -> Lead<F, H> {
        // std's: loom's cannot be static, and nothing depends on its order.
        static NUMBERS: atomic::AtomicU64 = atomic::AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (flight, replaced) = open.open(key, fence, number, terms, stream);
        drop(open);
        drop(replaced);
        Lead {
            flights: self.clone(),
            key,
            flight,
        }
    }

    /// How many flights near this key have been closed: if that has not changed since before a lookup, no fill has ended
    /// since that the lookup has not seen.
    pub(crate) fn closed(&self, key: &CacheKey) -> u64 {
        self.stripe(key).closed.load(Ordering::Acquire)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }
}

impl<F, H> fmt::Debug for Flights<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// The leader's end of a flight. Dropped, it closes the flight; followers who were told nothing until then find it
/// vacant.
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

    /// Opens the same flight under another key of its resource, unless there is a later one: its answer turned out to be that
    /// of a variant, which will be looked for there.
    pub(crate) fn is_also(&self, key: CacheKey) {
        let mut open = self.flights.stripe(&self.key).lock();
        if self.flight.variant.set(key).is_ok() {
            let replaced = open.is_also(key, &self.flight);
            drop(open);
            drop(replaced);
        }
    }

    /// What must be waited for before [`begins`](Self::begins), and for how long at most.
    pub(crate) fn turn(&self) -> Option<(Duration, impl Future<Output = Stage<H>>)> {
        let turn = self.flight.turn.as_ref()?;
        turn.before.hold();
        Some((turn.patience, turn.before.listener.told()))
    }

    /// The call begins as soon as this has returned: whoever needs a later one does not get in any more.
    pub(crate) fn begins(&self, now: Moment) {
        let mut open = self.flights.stripe(&self.key).lock();
        let replaced = open.begins(self.key, &self.flight, now);
        drop(open);
        drop(replaced);
    }

    /// The body that all read.
    pub(crate) fn stream(&self) -> &Stream {
        &self.flight.stream
    }

    /// Names the call that followers may want to go on by itself. Whether somebody waits for it already.
    pub(crate) fn calls(&self, call: Weak<dyn HandOver>) -> bool {
        let _ = self.flight.call.set(call);
        self.flight.news.was_asked_for()
    }

    /// Whether anybody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.flight.news.has_listeners()
    }

    /// Tells the followers, once. Whoever enters later is told the same, until the flight closes.
    pub(crate) fn tell(&self, stage: Stage<H>) {
        self.flight.news.tell(stage);
    }

    /// The same, and lets nobody else in; unless something was told before, which stands.
    pub(crate) fn ends_with(&self, stage: Stage<H>) {
        if !self.flight.news.is_out() {
            self.close();
            self.tell(stage);
        }
    }

    /// Lets nobody else in. Those who follow go on following.
    pub(crate) fn close(&self) {
        let stripe = self.flights.stripe(&self.key);
        let mut open = stripe.lock();
        let closed = open.remove(self.key, &self.flight);
        stripe.closed.fetch_add(1, Ordering::Release);
        drop(open);
        drop(closed);
    }

    /// Waits until nobody follows any more, and lets nobody in then.
    pub(crate) async fn abandoned(&self) {
        loop {
            poll_fn(|cx| self.flight.news.poll_alone(cx)).await;
            let mut open = self.flights.stripe(&self.key).lock();
            if !self.is_followed() {
                let closed = open.remove(self.key, &self.flight);
                drop(open);
                drop(closed);
                return;
            }
        }
    }
}

impl<F, H> Drop for Lead<F, H> {
    fn drop(&mut self) {
        self.close();
        self.tell(Stage::Vacant);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::key::{DigestSeed, Resource};
    use crate::semantics::reason::Refusal;

    use crate::flight::{Budget, Share};

    fn key() -> CacheKey {
        let seed = DigestSeed::default();
        CacheKey::plain(Resource::new(&seed, "", "test.example", "/a"))
    }

    fn terms(seconds: u64) -> Terms {
        Terms {
            now: Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH),
            not_before: None,
            closed: None,
            patience: Duration::from_secs(10),
            longest: Duration::from_secs(30),
        }
    }

    fn stream() -> Stream {
        Stream::new(Share::new(Arc::<Budget>::default(), u64::MAX))
    }

    fn enter(flights: &Arc<Flights<u64, ()>>, fence: u64, seconds: u64) -> Entered<u64, ()> {
        let may_join = |flight: &u64| *flight == fence;
        flights.enter(key(), Some(fence), terms(seconds), may_join, stream)
    }

    fn follow(flights: &Arc<Flights<u64, ()>>) -> Follower<()> {
        match enter(flights, 1, 0) {
            Entered::Follows(follower) => follower,
            Entered::Changed | Entered::Leads(_) => panic!("there is a flight"),
        }
    }

    fn lead(flights: &Arc<Flights<u64, ()>>, fence: u64, seconds: u64) -> Lead<u64, ()> {
        match enter(flights, fence, seconds) {
            Entered::Leads(lead) => {
                lead.begins(terms(seconds).now);
                lead
            }
            Entered::Changed | Entered::Follows(_) => panic!("there is nobody to follow"),
        }
    }

    #[test]
    fn a_flight_is_closed_by_its_own_leader_only() {
        let flights = Arc::default();
        let first = lead(&flights, 1, 0);
        assert!(matches!(enter(&flights, 1, 0), Entered::Follows(_)));
        // Another fence, then another age: each opens a flight of its own in its place.
        let second = lead(&flights, 2, 0);
        let third = lead(&flights, 2, 21);
        drop((first, second));
        assert!(matches!(enter(&flights, 2, 21), Entered::Follows(_)));
        drop(third);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    }

    #[test]
    fn a_flight_is_found_by_its_variants_key_too() {
        let flights = Arc::default();
        let variant = CacheKey::record(*key().resource());
        let leader = lead(&flights, 1, 0);
        leader.is_also(variant);
        assert!(flights.lead(variant, 1, terms(0), stream).is_none());
        drop(leader);
        let other = flights.lead(variant, 1, terms(0), stream);
        let leader = lead(&flights, 1, 0);
        leader.is_also(variant);
        drop(leader);
        assert_eq!(
            flights.len(),
            0,
            "the later one took the place, and left it"
        );
        drop(other);
        let earlier = lead(&flights, 1, 0);
        let later = flights.lead(variant, 1, terms(0), stream);
        earlier.is_also(variant);
        drop(earlier);
        assert_eq!(flights.len(), 1, "the later one's place is not touched");
        drop(later);
    }

    #[test]
    fn patience_is_for_those_who_have_no_head_yet() {
        let flights = Arc::default();
        let leader = lead(&flights, 1, 0);
        assert!(flights.lead(key(), 2, terms(9), stream).is_none());
        leader.tell(Stage::Shared(Arc::new(())));
        assert!(matches!(enter(&flights, 1, 29), Entered::Follows(_)));
        assert!(flights.follow(key(), terms(29), |_| true).is_some());
        assert!(flights.follow(key(), terms(30), |_| true).is_none());
        assert!(flights.lead(key(), 2, terms(30), stream).is_some());
    }

    fn without_fence(flights: &Arc<Flights<u64, ()>>, seconds: u64) -> Entered<u64, ()> {
        flights.enter(key(), None, terms(seconds), |_| false, stream)
    }

    fn next_lead(flights: &Arc<Flights<u64, ()>>, seconds: u64) -> Lead<u64, ()> {
        match without_fence(flights, seconds) {
            Entered::Leads(lead) => lead,
            Entered::Changed | Entered::Follows(_) => panic!("there is nobody to follow"),
        }
    }

    #[test]
    fn without_a_fence_only_a_call_that_has_not_begun_is_joined() {
        let flights = Arc::default();
        let running = next_lead(&flights, 0);
        assert!(running.turn().is_none(), "nobody was there");
        assert!(matches!(without_fence(&flights, 0), Entered::Follows(_)));
        assert!(matches!(enter(&flights, 1, 0), Entered::Follows(_)));
        running.begins(terms(0).now);
        let next = next_lead(&flights, 0);
        assert!(matches!(without_fence(&flights, 0), Entered::Follows(_)));
        let Some((patience, turn)) = next.turn() else {
            panic!("the other one is running");
        };
        assert_eq!(patience, Duration::from_secs(10));
        let mut turn = by_hand(turn);
        assert!(!turn.poll_once());
        assert_eq!(flights.len(), 2);
        running.tell(Stage::Shared(Arc::new(())));
        assert!(turn.poll_once());
        drop(turn);
        next.begins(terms(1).now);
        drop(running);
        assert_eq!(flights.len(), 1, "it has taken the place of the other one");
        drop(next_lead(&flights, 1));
        drop(next);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn with_a_fence_a_call_without_one_is_not_joined_once_it_has_begun() {
        let flights = Arc::default();
        let running = next_lead(&flights, 0);
        running.begins(terms(0).now);
        assert!(flights.follow(key(), terms(0), |_| true).is_none());
        let fenced = lead(&flights, 1, 0);
        assert!(fenced.turn().is_none(), "it waits for nobody");
        // Nor does what waits take anything from those who have one.
        let next = next_lead(&flights, 0);
        assert!(next.turn().is_some());
        let follower = follow(&flights);
        fenced.tell(Stage::Shared(Arc::new(())));
        assert!(matches!(
            by_hand(follower.told()).now(),
            Some((Stage::Shared(_), _))
        ));
        drop((running, fenced, next));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn whoever_waits_for_a_turn_is_no_follower() {
        let flights = Arc::default();
        let running = next_lead(&flights, 0);
        running.begins(terms(0).now);
        let next = next_lead(&flights, 4);
        assert!(!running.is_followed());
        let turn = next.turn().map(|(patience, _)| patience);
        assert_eq!(turn, Some(Duration::from_secs(6)), "what is left");
        drop(next);
        assert!(next_lead(&flights, 10).turn().is_none(), "it hangs");
        drop(running);
    }

    #[test]
    fn only_calls_that_hang_make_patience_grow() {
        let flights = Arc::default();
        let mut running = next_lead(&flights, 0);
        running.begins(terms(0).now);
        for seconds in 1..5 {
            let next = next_lead(&flights, seconds);
            running.tell(Stage::Vacant);
            next.begins(terms(seconds).now);
            running = next;
        }
        let patience = |lead: &Lead<u64, ()>| lead.turn().map(|(patience, _)| patience);
        let next = next_lead(&flights, 5);
        assert_eq!(patience(&next), Some(Duration::from_secs(9)));
        next.begins(terms(14).now);
        let later = next_lead(&flights, 14);
        assert_eq!(patience(&later), Some(Duration::from_secs(20)));
    }

    #[test]
    fn nobody_gets_into_a_flight_that_was_abandoned() {
        let flights = Arc::default();
        let leader = lead(&flights, 1, 0);
        let follower = follow(&flights);
        let mut abandoned = by_hand(leader.abandoned());
        assert!(!abandoned.poll_once());
        drop(follower);
        assert!(abandoned.poll_once());
        drop(abandoned);
        assert_eq!(flights.len(), 0);
    }

    /// A future polled by hand.
    struct ByHand<F>(std::pin::Pin<Box<F>>);

    fn by_hand<F: Future>(future: F) -> ByHand<F> {
        ByHand(Box::pin(future))
    }

    impl<F: Future> ByHand<F> {
        fn poll_once(&mut self) -> bool {
            self.now().is_some()
        }

        /// Its output, if it needs no more waiting: whoever would wait for ever fails here.
        fn now(&mut self) -> Option<F::Output> {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match self.0.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }

    #[test]
    fn followers_of_a_leader_who_said_nothing_find_it_vacant() {
        let flights = Arc::default();
        let leader = lead(&flights, 1, 0);
        let follower = follow(&flights);
        assert!(leader.is_followed());
        drop(leader);
        let told = by_hand(follower.told()).now();
        assert!(matches!(told, Some((Stage::Vacant, _))));

        let leader = lead(&flights, 1, 0);
        let follower = follow(&flights);
        leader.tell(Stage::Refused(Refusal::Private));
        drop(leader);
        let told = by_hand(follower.told()).now();
        assert!(matches!(told, Some((Stage::Refused(Refusal::Private), _))));
    }
}
