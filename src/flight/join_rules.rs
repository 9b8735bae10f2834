//! The rules by which a request may join a flight, and by which a flight waits for another.
//!
//! They depend on the flight's fence, its age and the start of its call, which [`Flight`] holds.
//! Knows the flights of a key, not the table with its locks. Start at [`JoinRules`], then
//! [`Flight::joinable`].

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::announcement::Announcement;
use super::follower::{CallDriver, Follower};
use super::hold_ups::let_downs::LetDowns;
use super::hold_ups::others_wait::{OthersWait, Waited};
use super::stream::BodyStream;
use crate::backend::JoinDecision;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// The flights that a request may join, and the condition under which it may open one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinRules {
    /// The time at which the request joins.
    pub(crate) now: Moment,
    /// The earliest start of a call whose response the request accepts. `None` accepts any, for
    /// a request without `no-cache` or `max-age=0`.
    pub(crate) not_before: Option<Moment>,
    /// The value of [`Flights::completed_fills`](super::Flights::completed_fills) from before the
    /// request's lookup. If it has changed, a fill has ended that the lookup may have missed, and
    /// [`Flights::enter`](super::Flights::enter) opens no flight. `None` skips this check.
    pub(crate) completed_fills: Option<u64>,
    /// The time after which another request calls too, if a call has no outcome by then. It is
    /// doubled for each call in a row that was overtaken like that.
    pub(crate) takeover_timeout: Duration,
    /// The age at which a flight counts as dead, with or without an outcome.
    pub(crate) fill_timeout: Duration,
    /// Whether the request joins only a flight that has an outcome already: it waits for no flight.
    pub(crate) only_answered: bool,
    /// The client of the request, if it is known.
    pub(crate) client: Option<ClientId>,
    /// The clients whose flights the request has followed in vain.
    pub(crate) let_downs: LetDowns,
}

/// A flight that a request may join.
pub(super) struct Joinable<'f, F, H> {
    pub(super) flight: &'f Flight<F, H>,
    /// The backend's decision on the flight's fence. It is asked once: after an invalidation in
    /// between, a second decision could differ, and would not hold for the time before.
    decision: JoinDecision,
}

/// A flight that requests can find in the table, or that still has followers.
pub(super) struct Flight<F, H> {
    /// The backend's fence from before the call. Without one it is unknown whether a write came
    /// after the call began.
    fence: Option<F>,
    pub(super) opened: Moment,
    pub(super) predecessors: Vec<Predecessor<F, H>>,
    /// Whether it is for requests alone that could not join the current flight of its key, since
    /// that has begun too early for them. The others join the current one.
    pub(super) is_beside: bool,
    /// How many flights without an outcome it has overtaken in a row, unless it waits for the
    /// last of them with success.
    pub(super) overtaken: u32,
    pub(super) call: OnceLock<CallStart>,
    /// The client of the leader's request.
    pub(super) client: Option<ClientId>,
    /// The wait of requests of other clients, once there was one.
    pub(super) others_wait: OnceLock<Arc<OthersWait>>,
    /// Set when another flight of its page is open at the same time.
    pub(super) has_rivals: OnceLock<()>,
    /// Set when a request joins that may have begun after an invalidation that the flight's fence
    /// does not know of.
    joined_under_other_fence: OnceLock<()>,
    pub(super) id: u64,
    pub(super) announcement: Arc<Announcement<H>>,
    /// Made for the first who reads the body, or writes it: many flights need none.
    pub(super) stream: OnceLock<BodyStream>,
    pub(super) driver: OnceLock<Weak<dyn CallDriver>>,
    /// The second key under which the flight is found, once its response turned out to vary.
    pub(super) variant_key: OnceLock<CacheKey>,
}

/// The beginning of a flight's call.
pub(super) struct CallStart {
    pub(super) at: Moment,
    pub(super) overtaken: u32,
}

/// A running flight of the same key whose outcome comes before this flight's call may begin.
pub(super) struct Predecessor<F, H> {
    /// Whether its client is another one than that of the flight that waits.
    is_of_other: bool,
    /// An observer of that flight.
    pub(super) observer: Follower<F, H>,
    /// The longest time to wait for it.
    pub(super) max_wait: Duration,
}

impl<F, H> Flight<F, H> {
    /// A flight whose call has not begun.
    ///
    /// `before` are the flights of the same key, the latest first, in whose place, or after which,
    /// this one is opened. Without a fence the new flight has to wait for them, as long as they may
    /// still have an outcome.
    pub(super) fn new(fence: Option<F>, id: u64, rules: JoinRules, before: &[&Self]) -> Self {
        let is_unsettled = |flight: &&&Self| !flight.announcement.is_published();
        let unsettled = before.iter().filter(is_unsettled);
        let mut alive = unsettled.filter(|flight| flight.is_alive(rules));
        let (predecessors, displaced) = match fence {
            None => (alive.map(|flight| flight.precede(rules)).collect(), None),
            Some(_) => (Vec::new(), alive.next()),
        };
        // One that may still bring a response was not too slow.
        let overtaken = match displaced {
            Some(flight) => flight.overtaken(),
            None => (before.first().filter(is_unsettled))
                .map_or(0, |flight| flight.overtaken_with_this()),
        };
        Self {
            fence,
            opened: rules.now,
            predecessors,
            is_beside: rules.not_before.is_some() && displaced.is_some(),
            overtaken,
            call: OnceLock::new(),
            client: rules.client,
            others_wait: OnceLock::new(),
            has_rivals: OnceLock::new(),
            joined_under_other_fence: OnceLock::new(),
            id,
            announcement: Arc::default(),
            stream: OnceLock::new(),
            driver: OnceLock::new(),
            variant_key: OnceLock::new(),
        }
    }

    /// Notes that the call begins. Only the first call has an effect.
    pub(super) fn begin_call(&self, now: Moment) {
        let mut predecessors = self.predecessors.iter();
        let has_waited = !self.predecessors.is_empty()
            && predecessors.all(|predecessor| predecessor.observer.has_outcome());
        let overtaken = if has_waited { 0 } else { self.overtaken };
        let start = CallStart { at: now, overtaken };
        let _ = self.call.set(start);
        if let Some(wait) = self.others_wait.get() {
            wait.call_begins(now);
        }
    }

    /// This flight, if a request may join: the flight is alive and its response cannot be older
    /// than a write that was answered before the request began.
    ///
    /// Before the call has begun that is true for every request. Afterwards it takes a fence, and
    /// `decide`, which compares it with the request's own. If the request `avoids` the flight's client,
    /// the response must be there.
    pub(super) fn joinable(
        &self,
        (rules, avoids): (JoinRules, &impl Fn(ClientId) -> bool),
        decide: &impl Fn(&F) -> JoinDecision,
    ) -> Option<Joinable<'_, F, H>> {
        if !self.is_alive(rules) {
            return None;
        }
        if rules.only_answered && !self.announcement.is_published() {
            return None;
        }
        if self.is_beside && rules.not_before.is_none() {
            return None;
        }
        if self.is_avoided(rules, avoids) && !self.is_whole() {
            return None;
        }
        let is_older = |than: Moment| self.has_begun_before(than);
        if rules.not_before.is_some_and(is_older) {
            return None;
        }
        let decision = (self.fence.as_ref()).map_or(JoinDecision::Refuse, decide);
        let may_join = decision != JoinDecision::Refuse || self.call.get().is_none();
        let flight = self;
        may_join.then_some(Joinable { flight, decision })
    }

    /// Whether a request waits for no call of this flight's client, which is not its own.
    fn is_avoided(&self, rules: JoinRules, avoids: &impl Fn(ClientId) -> bool) -> bool {
        let other = self.client.filter(|_| !self.is_of_client(rules.client));
        other.is_some_and(avoids)
    }

    fn has_begun_before(&self, than: Moment) -> bool {
        let start = self.call.get();
        start.is_some_and(|start| start.at.monotonic() < than.monotonic())
    }

    /// The stream that the leader and all followers read the body from, made if there is none yet.
    pub(super) fn stream(&self, new_stream: impl FnOnce() -> BodyStream) -> &BodyStream {
        self.stream.get_or_init(new_stream)
    }

    /// Whether the call has begun and has no outcome yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.call.get().is_some() && !self.announcement.is_published()
    }

    /// How long requests of other clients have waited for it, as far as it is not noted. It counts as
    /// noted then.
    pub(super) fn take_wait(&self) -> Option<Waited> {
        self.others_wait.get()?.take()
    }

    /// Whether others wait for it though its time is over, and it has brought no whole response.
    pub(super) fn is_overdue(&self, rules: JoinRules) -> bool {
        let is_followed = || self.announcement.has_followers();
        let wait = self.others_wait.get();
        let is_in_vain = wait.is_some_and(|wait| wait.is_in_vain(is_followed()));
        is_in_vain && !self.is_whole() && !self.is_alive(rules)
    }

    /// Whether others have waited for it, and its whole response is not there.
    pub(super) fn keeps_waiting(&self) -> bool {
        self.others_wait.get().is_some() && !self.is_whole()
    }

    /// Whether it is of this client, which is known.
    pub(super) fn is_of_client(&self, client: Option<ClientId>) -> bool {
        client.is_some() && self.client == client
    }

    /// Notes that a request waits for it, if that is of another client. The time before its call is
    /// not that of its client, where that waits for another one itself.
    fn note_other(&self, rules: JoinRules) -> Option<Arc<OthersWait>> {
        let client = self.client.filter(|_| rules.client != self.client)?;
        if self.is_whole() {
            return None;
        }
        let wait = || Arc::new(OthersWait::new(client));
        let wait = self.others_wait.get_or_init(wait);
        let mut predecessors = self.predecessors.iter();
        let waits_for_other = predecessors.any(|predecessor| predecessor.is_of_other);
        match waits_for_other && self.call.get().is_none() {
            true => wait.begin_with_call(),
            false => wait.begin(rules.now),
        }
        Some(wait.clone())
    }

    /// Whether all followers so far have joined under the flight's fence.
    pub(super) fn is_followed_under_its_fence(&self) -> bool {
        self.joined_under_other_fence.get().is_none()
    }

    /// Whether its call was to begin when that of another flight has an outcome.
    pub(super) fn comes_after(&self, other: &Self) -> bool {
        let mut predecessors = self.predecessors.iter();
        predecessors.any(|predecessor| predecessor.observer.flight_id == other.id)
    }

    /// This flight as the predecessor of one that a request opens.
    fn precede(&self, rules: JoinRules) -> Predecessor<F, H> {
        Predecessor {
            is_of_other: self.client != rules.client,
            observer: self.observer(rules),
            max_wait: self.time_left(rules),
        }
    }

    /// A new observer: it only learns the outcome.
    fn observer(&self, rules: JoinRules) -> Follower<F, H> {
        Follower {
            flight_id: self.id,
            others_wait: self.note_other(rules),
            time_left: Duration::ZERO,
            flight_fence: None,
            listener: self.announcement.observe(),
            reader: None,
            driver: self.driver.get().cloned(),
        }
    }
}

impl<F: Clone, H> Joinable<'_, F, H> {
    /// Adds a follower: it reads the body, and the call goes on for its sake. `new_stream` makes
    /// the stream of the body, if it is the first.
    ///
    /// Called under the lock of the table, as `begin_call`.
    pub(super) fn follow(
        self,
        rules: JoinRules,
        new_stream: impl FnOnce() -> BodyStream,
    ) -> Follower<F, H> {
        let Self { flight, decision } = self;
        if decision != JoinDecision::Join {
            let _ = flight.joined_under_other_fence.set(());
        }
        // A call that has not begun comes after all invalidations that concern the request.
        let checks_groups = decision == JoinDecision::CheckGroups && flight.call.get().is_some();
        Follower {
            flight_id: flight.id,
            others_wait: flight.note_other(rules),
            time_left: flight.time_left(rules),
            flight_fence: flight.fence.clone().filter(|_| checks_groups),
            listener: flight.announcement.follow(),
            reader: flight.stream(new_stream).reader(),
            driver: flight.driver.get().cloned(),
        }
    }
}
