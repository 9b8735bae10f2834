//! Calls the inner service for a fill.

use std::future::poll_fn;
use std::task::Poll;

use http::{Request, Response};
use tower_service::Service;

use crate::backend::Backend;
use crate::body::origin::OriginBody;
use crate::body::response::ResponseBody;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;
use crate::service::bounds::{InnerBody, InnerService};
use crate::service::fill_data::{FetchInfo, Fill};
use crate::service::parts::fetch_missing_range::{Completed, complete, narrow};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::state::LayerState;
use crate::state::fill_queue::FillQueue;

use super::queue_full::overloaded;
use super::stale_on_failure::{is_failure, stale_in_place_of_failure};
use super::stored_content::check_content;
use super::validation::{add_validators, confirm_stored, contradicted};

/// The result of asking the inner service.
pub(crate) enum FetchOutcome<Res, E> {
    /// Its response, with the stored body where a 304 confirmed that.
    Response(Response<OriginBody<Res>>, FetchInfo),
    /// A response of the cache in place of a failure: a stale one, 502 or 503.
    Replacement(Response<ResponseBody<Res>>),
    /// Its error.
    Error(E),
}

/// Waits for readiness, adds the cache's own validators or range, and calls the inner service.
///
/// `outgoing.at` becomes the time of the call. `begins` is called right before it, and returns
/// whether the response may consist of stored content for all who have joined until then.
///
/// Cancelling this drops the call.
pub(crate) async fn fetch_from_origin<S, B, Req, Res>(
    state: &LayerState<B>,
    mut inner: S,
    mut request: Request<Req>,
    fill: &mut Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
    begins: impl FnOnce(Moment) -> bool,
) -> FetchOutcome<Res, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Res: InnerBody,
{
    let max_waiting = state.config.coalesce.max_waiting_fills;
    let queue = &state.shared.origin.fill_queue;
    let called = match ready_in_queue(queue, max_waiting, &mut inner).await {
        None => return FetchOutcome::Replacement(overloaded(state, fill, outgoing)),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => {
            outgoing.at = state.now();
            let is_for_all = begins(outgoing.at);
            check_content(state, &mut fill.miss, is_for_all);
            if let Some(stored) = fill.miss.confirmable() {
                add_validators(state, &mut request, fill, stored, outgoing);
            }
            if let Some(held) = &fill.miss.parts {
                narrow(&mut request, held);
            }
            inner.call(request).await
        }
    };
    let response = match called {
        Ok(response) => response,
        Err(error) => {
            let stale =
                stale_in_place_of_failure(state, fill, outgoing, StaleUse::IfUnreachable, None);
            return stale.map_or(FetchOutcome::Error(error), FetchOutcome::Replacement);
        }
    };
    let status = response.status();
    if is_failure(status)
        && let Some(stale) =
            stale_in_place_of_failure(state, fill, outgoing, StaleUse::IfError, Some(status))
    {
        return FetchOutcome::Replacement(stale);
    }
    interpret(state, response, fill, outgoing)
}

/// Interprets a response to the cache's own validators or range.
fn interpret<B: Backend, Res, E>(
    state: &LayerState<B>,
    response: Response<Res>,
    fill: &Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
) -> FetchOutcome<Res, E> {
    let info = FetchInfo {
        reason: fill.miss.reason,
        status: response.status(),
    };
    let completed = match &fill.miss.parts {
        Some(held) => complete(state, response, held, outgoing),
        None => Completed::Response(response.map(OriginBody::streaming)),
    };
    let response = match completed {
        Completed::Response(response) => response,
        Completed::Contradiction => {
            let response = Responder::new(state).bad_gateway(info, "part-is-another");
            return FetchOutcome::Replacement(response);
        }
    };
    let Some(stored) = outgoing.validated.take() else {
        return FetchOutcome::Response(response, info);
    };
    match confirm_stored(state, response, stored, outgoing) {
        Some(response) => FetchOutcome::Response(response, info),
        None => FetchOutcome::Replacement(contradicted(state, fill, outgoing)),
    }
}

/// Waits until a service is ready for one call, in a queue of at most `max` fills. `None` if that
/// is full. A service that is ready at once needs no place.
async fn ready_in_queue<S: Service<Request<Req>>, Req>(
    queue: &FillQueue,
    max: usize,
    service: &mut S,
) -> Option<Result<(), S::Error>> {
    let mut place = None;
    poll_fn(|cx| match service.poll_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(Some(ready)),
        Poll::Pending => {
            place = place.take().or_else(|| queue.enter(max));
            match place {
                Some(_) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    })
    .await
}

/// Waits until a service is ready for one call.
pub(crate) async fn ready<S: Service<Request<Req>>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Readies this very clone and calls it: a clone of a ready service is not ready.
pub(crate) async fn call<S, Req, Res>(
    mut service: S,
    request: Request<Req>,
) -> Result<Response<Res>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    ready(&mut service).await?;
    service.call(request).await
}
