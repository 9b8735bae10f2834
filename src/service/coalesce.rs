//! One fill per key: a miss leads a flight, or follows the one that is under way.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey};
use crate::flight::{Entered, Follower, Stage};
use crate::semantics::reason::{FetchReason, Reason, Refusal};
use crate::stats::Event;

use super::body::{BoxError, ResponseBody};
use super::fetch::{self, Sent};
use super::inner;
use super::lead;
use super::lookup::Fill;
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
    let reason = fill.miss.reason;
    shared.count(Event::Fetch(reason));
    tracing::debug!(reason = reason.as_str(), "fetch");
    let sent = Sent::of(&request, shared.now());
    let mut flight_key = fill.miss.place;
    for _ in 0..MOST_FLIGHTS {
        let Some(entered) = shared.enter(&fill, flight_key, &sent) else {
            break;
        };
        let follower = match entered {
            Entered::Leads(lead) => {
                return lead::lead(shared, inner, request, fill, sent, lead).await;
            }
            Entered::Follows(follower) => follower,
        };
        match shared.told(follower).await {
            Some(Stage::Shared(head)) => match shared.take(&head, fill.key.key, &sent, reason) {
                Taken::Answer(response) => return Ok(response),
                Taken::OtherVariant(key) => flight_key = key,
                Taken::NotForThis => break,
            },
            Some(Stage::Apart) => break,
            Some(Stage::Calling | Stage::Vacant) => {
                if let Some(hit) = shared.stand_in_unasked(&fill) {
                    return Ok(shared.hit(&hit, &sent.method));
                }
            }
            None => {
                fill.miss.barred = Some(Refusal::WaitedTooLong);
                break;
            }
        }
    }
    fetch::alone(shared, inner, request, fill, sent).await
}

impl<B: Backend> Shared<B> {
    /// Takes part in the flight of a key; `None` where there is nothing to share.
    fn enter(
        &self,
        fill: &Fill<B::Fence>,
        key: CacheKey,
        sent: &Sent,
    ) -> Option<Entered<B::Fence, SharedHead>> {
        let own = fill.miss.fence.clone()?;
        let core = &self.core;
        if sent.method != Method::GET || core.uncacheable.is_remembered(&key, sent.at) {
            return None;
        }
        // Who asks for something newer than what is stored wants no answer to an earlier call either.
        let wants_newer = matches!(
            fill.miss.reason,
            FetchReason::RequestNoCache | FetchReason::RequestMaxAge
        );
        let may_join =
            |flight: &B::Fence| !wants_newer && core.backend.may_join(key.resource(), flight, &own);
        let longest = self.config.flight.fill;
        Some(
            core.flights
                .enter(key, own.clone(), sent.at, longest, may_join),
        )
    }

    /// Waits for what a flight has to tell; `None` if that takes too long.
    async fn told(&self, follower: Follower<SharedHead>) -> Option<Stage<SharedHead>> {
        inner::within(self.config.flight.wait, follower.told()).await
    }
}
