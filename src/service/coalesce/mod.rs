//! One fill per key: a miss leads a flight, or follows those that are under way.

pub(crate) mod alone;
pub(crate) mod follow;
pub(crate) mod lead;
pub(crate) mod member;
pub(crate) mod shared_call;
pub(crate) mod uncacheable;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;
use crate::flight::{FlightOutcome, JoinRules, Leader};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, Reason, Refusal};
use crate::stats::Event;

use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::coalesce::follow::{SharedHead, Taken};
use crate::service::coalesce::member::{Part, Party};
use crate::service::lookup::{Fill, Hit, Miss, Seen};
use crate::service::request::outgoing::Sent;
use crate::state::Shared;

pub(crate) async fn coalesce<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    mut request: Request<Req>,
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
    let (method, headers) = (request.method(), request.headers());
    if let Some(response) = shared.answer_from_parts(&mut fill, method, headers).await {
        return Ok(response);
    }
    if fill.key.directives.only_if_cached {
        return Ok(shared.gateway_timeout());
    }
    let sent = shared.sent(&mut request, &fill);
    if let Some(hit) = shared.stand_in_unasked(&fill) {
        return Ok(shared.hit(&hit, sent.wanted()));
    }
    let mine = match take_part(&shared, &mut fill, &sent).await {
        Turn::Answer(response) => return Ok(response),
        Turn::Leads(lead) => Some(lead),
        Turn::Alone => None,
    };
    shared.fetches(fill.miss.reason);
    match mine {
        Some(lead) => lead::lead(shared, inner, request, fill, sent, lead).await,
        None => alone::alone(shared, inner, request, fill, sent).await,
    }
}

/// What came of others' calls.
enum Turn<Res, F> {
    /// All that was wanted.
    Answer(Response<ResponseBody<Res>>),
    /// Nothing: this request calls, and others may follow it.
    Leads(Leader<F, SharedHead>),
    /// Nothing: this request calls for itself.
    Alone,
}

async fn take_part<B, Res>(
    shared: &Shared<B>,
    fill: &mut Fill<B::Fence>,
    sent: &Sent,
) -> Turn<Res, B::Fence>
where
    B: Backend,
{
    let mut party = Party::of(shared, fill, sent);
    loop {
        let told = match party.enter(shared, fill, sent) {
            Part::Alone => return Turn::Alone,
            Part::Leads(lead) => return Turn::Leads(lead),
            Part::Follows => party.told(shared).await,
            Part::LooksAgain => {
                if let Some(hit) = shared.look_again(fill, sent).await {
                    return Turn::Answer(shared.hit(&hit, sent.wanted()));
                }
                party.looked_at(fill.miss.place);
                continue;
            }
        };
        let Some((stage, reader)) = told else {
            if party.time_left(shared).is_zero() {
                fill.miss.barred = Some(Refusal::WaitedTooLong);
                return Turn::Alone;
            }
            // Whoever is first now calls, too, with a fence of its own time; the others wait for both.
            fill.miss.completed_fills = Miss::<B::Fence>::OUTDATED;
            continue;
        };
        match stage {
            FlightOutcome::Shared(head) => match shared.take(&head, reader, fill, sent) {
                Taken::Answer(response) => {
                    shared.fetches(fill.miss.reason);
                    return Turn::Answer(response);
                }
                Taken::NotForThis => return Turn::Alone,
                Taken::OtherVariant(key) => party.turns_to(key),
                Taken::TooOld => party.wants_newer(),
                Taken::Lost => party.lost(),
            },
            FlightOutcome::Refused(refusal) if uncacheable::concerns(refusal, &sent.headers) => {
                return Turn::Alone;
            }
            FlightOutcome::Declined => party.declined(shared),
            FlightOutcome::Refused(_) | FlightOutcome::Vacant => party.lost(),
        }
        if let Some(hit) = shared.stand_in_unasked(fill) {
            return Turn::Answer(shared.hit(&hit, sent.wanted()));
        }
    }
}

impl<B: Backend> Shared<B> {
    pub(crate) fn join_rules(&self, now: Moment) -> JoinRules {
        JoinRules {
            now,
            not_before: None,
            completed_fills: None,
            takeover_timeout: self.config.coalesce.coalesce_takeover_timeout,
            fill_timeout: self.config.coalesce.fill_timeout,
        }
    }

    fn fetches(&self, reason: FetchReason) {
        self.count(Event::Fetch(reason));
        tracing::debug!(reason = reason.as_str(), "fetch");
    }

    /// Looks once more: a fill that has ended since may have brought what this one is about to call for. If not, what this
    /// lookup found counts from now on, its fence too.
    async fn look_again(&self, fill: &mut Fill<B::Fence>, sent: &Sent) -> Option<Hit> {
        match self.look(&fill.key, &sent.headers).await {
            Seen::Usable(hit) | Seen::Renewable(hit, ..) => Some(hit),
            Seen::Fetch(miss) => {
                fill.miss = miss;
                None
            }
            Seen::GatewayTimeout => None,
        }
    }
}
