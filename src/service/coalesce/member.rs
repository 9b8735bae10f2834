//! One request among the flights of its key.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::Method;

use crate::backend::{Backend, CacheKey};
use crate::flight::{BodyReader, BodyStream, Entered, FlightOutcome, JoinRules, Leader};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;

use crate::service::coalesce::follow::SharedHead;
use crate::service::lookup::Fill;
use crate::service::request::outgoing::Sent;
use crate::state::Shared;
use crate::timeout::with_timeout;

/// How often a request takes part in a flight of which nothing came, before it goes alone.
const MOST_FLIGHTS: usize = 3;
/// How often it looks once more before it calls, because other fills have ended meanwhile.
const MOST_LOOKS: usize = 5;

type Told = Pin<Box<dyn Future<Output = (FlightOutcome<SharedHead>, Option<BodyReader>)> + Send>>;

pub(crate) struct Party {
    key: CacheKey,
    began: Moment,
    /// Whether it wants no answer to a call that began before it.
    insists: bool,
    flights_left: usize,
    looks_left: usize,
    /// How many of its flights brought what may have been their leader's own fault.
    declined: usize,
    /// What it follows, each by its number: whichever tells something first.
    follows: Vec<(u64, Told)>,
}

pub(crate) enum Part<F> {
    /// Nobody's answer can be shared with it.
    Alone,
    Leads(Leader<F, SharedHead>),
    Follows,
    /// It would lead, but what it would call for may be there by now.
    LooksAgain,
}

impl Party {
    pub(crate) fn of<B: Backend>(shared: &Shared<B>, fill: &Fill<B::Fence>, sent: &Sent) -> Self {
        let asked = &fill.key.directives;
        let insists = asked.no_cache || asked.max_age.is_some_and(|age| age.is_zero());
        let is_shareable = sent.method == Method::GET
            && !asked.no_store
            && !shared.core.background.is_closing()
            && fill.miss.barred.is_none();
        Self {
            key: fill.miss.place,
            began: sent.at,
            insists,
            flights_left: if is_shareable { MOST_FLIGHTS } else { 0 },
            looks_left: MOST_LOOKS,
            declined: 0,
            follows: Vec::new(),
        }
    }

    /// Takes part in the flight of its key.
    pub(crate) fn enter<B: Backend>(
        &mut self,
        shared: &Shared<B>,
        fill: &Fill<B::Fence>,
        sent: &Sent,
    ) -> Part<B::Fence> {
        let (core, now) = (&shared.core, shared.now());
        if self.flights_left == 0 || shared.is_refused(&self.key, &sent.headers, now) {
            return Part::Alone;
        }
        let resource = *self.key.resource();
        // Where nothing may be stored, nobody can tell of the writes that concern those who share it either.
        let own = shared.may_store(fill, sent.at).ok();
        let may_join = |flight: &B::Fence| {
            let may_join = |own| core.backend.may_join(&resource, flight, own);
            own.as_ref().is_some_and(may_join)
        };
        let looks = own.is_some() && self.looks_left > 0;
        let terms = JoinRules {
            not_before: self.insists.then_some(self.began),
            completed_fills: looks.then_some(fill.miss.completed_fills),
            ..shared.join_rules(now)
        };
        // An answer to conditions, or of a part, is for nobody else; one for all will do for these, too.
        let entered = if sent.is_partial() {
            match core.flights.join(self.key, terms, may_join) {
                Some(follower) => Entered::Follower(follower),
                None => return Part::Alone,
            }
        } else {
            let (fence, stream) = (own.clone(), || BodyStream::new(shared.share()));
            core.flights.enter(self.key, fence, terms, may_join, stream)
        };
        match entered {
            Entered::Leader(lead) => Part::Leads(lead),
            Entered::LookupOutdated => {
                self.looks_left -= 1;
                Part::LooksAgain
            }
            Entered::Follower(follower) => {
                let number = follower.flight_id();
                if self.follows.iter().all(|(known, _)| *known != number) {
                    follower.detach_call();
                    self.follows.push((number, Box::pin(follower.wait())));
                }
                Part::Follows
            }
        }
    }

    pub(crate) fn time_left<B: Backend>(&self, shared: &Shared<B>) -> Duration {
        let waited = shared.now().since(self.began);
        shared
            .config
            .coalesce
            .coalesce_timeout
            .saturating_sub(waited)
    }

    /// Waits for what any of its flights has to tell; `None` if that takes too long.
    pub(crate) async fn told<B: Backend>(
        &mut self,
        shared: &Shared<B>,
    ) -> Option<(FlightOutcome<SharedHead>, Option<BodyReader>)> {
        let patience = shared
            .config
            .coalesce
            .coalesce_takeover_timeout
            .min(self.time_left(shared));
        let first = poll_fn(|cx| {
            for place in 0..self.follows.len() {
                if let Poll::Ready(told) = self.follows[place].1.as_mut().poll(cx) {
                    drop(self.follows.swap_remove(place));
                    return Poll::Ready(told);
                }
            }
            Poll::Pending
        });
        with_timeout(patience, first).await
    }

    pub(crate) fn lost(&mut self) {
        self.flights_left -= 1;
    }

    /// The answer may have been of its leader's making. If that goes on, it is not.
    pub(crate) fn declined<B: Backend>(&mut self, shared: &Shared<B>) {
        self.declined += 1;
        self.lost();
        if self.declined == MOST_FLIGHTS {
            shared.remember_refused(&self.key, Refusal::NoLifetime);
        }
    }

    /// A later lookup ended at another key.
    pub(crate) fn looked_at(&mut self, place: CacheKey) {
        // That the responses vary may be known from an answer that is not stored yet.
        if place != self.key.primary() {
            self.key = place;
        }
    }

    pub(crate) fn turns_to(&mut self, variant: CacheKey) {
        self.key = variant;
        self.lost();
    }

    pub(crate) fn wants_newer(&mut self) {
        self.insists = true;
        self.lost();
    }
}
