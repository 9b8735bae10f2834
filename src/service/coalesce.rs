//! One fill per key: a miss leads a flight, or follows those that are under way.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey};
use crate::flight::{Entered, Lead, Reader, Stage, Stream, Terms};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, Refusal};
use crate::stats::Event;

use super::body::{BoxError, ResponseBody};
use super::fetch::{self, Sent};
use super::inner;
use super::lead;
use super::lookup::{Fill, Hit, Seen};
use super::refused;
use super::shared::Shared;
use super::sharing::{SharedHead, Taken};

/// How often a request takes part in a flight of which nothing came, before it goes alone.
const MOST_FLIGHTS: usize = 3;

pub(super) async fn coalesce<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    mut fill: Fill<B::Fence>,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Backend,
    Req: Send + 'static,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    if let Some(hit) = shared.stand_in_unasked(&fill) {
        return Ok(shared.hit(&hit, request.method()));
    }
    shared.count(Event::Fetch(fill.miss.reason));
    tracing::debug!(reason = fill.miss.reason.as_str(), "fetch");
    let sent = Sent::of(&request, shared.now());
    let mut party = Party::of(&shared, &fill, &sent);
    loop {
        match party.enter(&shared, &fill, &sent) {
            Part::Alone => break,
            Part::Follows => {}
            Part::Leads(lead) => match shared.look_again(&mut fill, &sent).await {
                Again::Found(hit) => return Ok(shared.hit(&hit, &sent.method)),
                Again::Elsewhere(variant) => {
                    drop(lead);
                    party.turns_to(variant);
                    continue;
                }
                Again::Nothing => {
                    return lead::lead(shared, inner, request, fill, sent, lead).await;
                }
            },
        }
        let Some((stage, reader)) = party.told(&shared).await else {
            if party.time_left(&shared).is_zero() {
                fill.miss.barred = Some(Refusal::WaitedTooLong);
                break;
            }
            // Whoever is first now calls, too; the others wait for both.
            continue;
        };
        match stage {
            Stage::Shared(head) => match shared.take(&head, reader, &fill, &sent) {
                Taken::Answer(response) => return Ok(response),
                Taken::NotForThis => break,
                Taken::OtherVariant(key) => party.turns_to(key),
                Taken::TooOld => party.wants_newer(),
                Taken::Lost => party.lost(),
            },
            Stage::Refused(refusal) if refused::concerns(refusal, &sent.headers) => break,
            Stage::Refused(_) | Stage::Calling | Stage::Vacant => party.lost(),
        }
        if let Some(hit) = shared.stand_in_unasked(&fill) {
            return Ok(shared.hit(&hit, &sent.method));
        }
    }
    fetch::alone(shared, inner, request, fill, sent).await
}

type Told = Pin<Box<dyn Future<Output = (Stage<SharedHead>, Option<Reader>)> + Send>>;

/// A request among the flights of its key.
struct Party {
    key: CacheKey,
    began: Moment,
    /// Whether it wants no answer to a call that began before it.
    insists: bool,
    flights_left: usize,
    /// What it follows: whichever tells something first.
    follows: Vec<Told>,
}

enum Part<F> {
    /// Nobody's answer can be shared with it.
    Alone,
    Leads(Lead<F, SharedHead>),
    Follows,
}

/// What a second lookup found.
enum Again {
    Found(Hit),
    /// By now it is known that the responses vary: this is the request's own key.
    Elsewhere(CacheKey),
    Nothing,
}

impl Party {
    fn of<B: Backend>(shared: &Shared<B>, fill: &Fill<B::Fence>, sent: &Sent) -> Self {
        let asked = &fill.key.directives;
        let insists = asked.no_cache || asked.max_age.is_some_and(|age| age.is_zero());
        let is_shareable = sent.method == Method::GET
            && !asked.no_store
            && !shared.core.background.is_closing()
            && shared.may_store(fill, sent.at).is_ok();
        Self {
            key: fill.miss.place,
            began: sent.at,
            insists: insists && shared.config.obeys_client,
            flights_left: if is_shareable { MOST_FLIGHTS } else { 0 },
            follows: Vec::new(),
        }
    }

    /// Takes part in the flight of its key.
    fn enter<B: Backend>(
        &mut self,
        shared: &Shared<B>,
        fill: &Fill<B::Fence>,
        sent: &Sent,
    ) -> Part<B::Fence> {
        let core = &shared.core;
        let Some(own) = fill.miss.fence.clone() else {
            return Part::Alone;
        };
        if self.flights_left == 0 || shared.is_refused(&self.key, &sent.headers) {
            return Part::Alone;
        }
        let resource = *self.key.resource();
        let may_join = |flight: &B::Fence| core.backend.may_join(&resource, flight, &own);
        let terms = Terms {
            not_before: self.insists.then_some(self.began),
            ..shared.terms()
        };
        // An answer to conditions, or of a part, is for nobody else; one for all will do for these, too.
        let entered = if sent.is_partial() {
            match core.flights.follow(self.key, terms, may_join) {
                Some(follower) => Entered::Follows(follower),
                None => return Part::Alone,
            }
        } else {
            let (fence, stream) = (own.clone(), || Stream::new(shared.share()));
            core.flights.enter(self.key, fence, terms, may_join, stream)
        };
        match entered {
            Entered::Leads(lead) => Part::Leads(lead),
            Entered::Follows(follower) => {
                follower.hold();
                self.follows.push(Box::pin(follower.told()));
                Part::Follows
            }
        }
    }

    fn time_left<B: Backend>(&self, shared: &Shared<B>) -> Duration {
        let waited = shared.now().since(self.began);
        shared.config.flight.wait.saturating_sub(waited)
    }

    /// Waits for what any of its flights has to tell; `None` if that takes too long.
    async fn told<B: Backend>(
        &mut self,
        shared: &Shared<B>,
    ) -> Option<(Stage<SharedHead>, Option<Reader>)> {
        let patience = shared.config.flight.patience.min(self.time_left(shared));
        let first = poll_fn(|cx| {
            for place in 0..self.follows.len() {
                if let Poll::Ready(told) = self.follows[place].as_mut().poll(cx) {
                    drop(self.follows.swap_remove(place));
                    return Poll::Ready(told);
                }
            }
            Poll::Pending
        });
        inner::within(patience, first).await
    }

    fn lost(&mut self) {
        self.flights_left -= 1;
    }

    fn turns_to(&mut self, variant: CacheKey) {
        self.key = variant;
        self.lost();
    }

    fn wants_newer(&mut self) {
        self.insists = true;
        self.lost();
    }
}

impl<B: Backend> Shared<B> {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            now: self.now(),
            not_before: None,
            patience: self.config.flight.patience,
            longest: self.config.flight.fill,
        }
    }

    /// Looks once more, if a fill has ended since the lookup: it may have brought what this one is about to call for.
    async fn look_again(&self, fill: &mut Fill<B::Fence>, sent: &Sent) -> Again {
        let closed = self.core.flights.closed(&fill.miss.place);
        if closed == fill.miss.closed {
            return Again::Nothing;
        }
        fill.miss.closed = closed;
        match self.look(&fill.key, &sent.headers).await {
            Seen::Usable(hit) | Seen::Renewable(hit, ..) => Again::Found(hit),
            Seen::Fetch(miss) if miss.place != fill.miss.place => {
                fill.miss.place = miss.place;
                Again::Elsewhere(miss.place)
            }
            Seen::Fetch(_) | Seen::GatewayTimeout => Again::Nothing,
        }
    }
}
