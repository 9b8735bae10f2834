//! A GET or HEAD: lookup, verdict, response.

use http::{Request, Response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::state::LayerState;

use super::bounds::{InnerBody, InnerService};
use super::coalesce::coalesce;
use super::lookup::{LookupOutcome, lookup};
use super::plan::Miss;
use super::refresh::{BackgroundRefresh, begin_refresh};
use super::request::preconditions::Preconditions;
use super::request::route::RequestKey;
use super::respond::Responder;

/// What is left to do for a request after its lookup.
pub(crate) enum Step<B: Backend, Res> {
    /// Nothing: this is the response.
    Respond(Response<ResponseBody<Res>>),
    /// This is the response, and a refresh is to be spawned.
    RespondAndRefresh(Response<ResponseBody<Res>>, BackgroundRefresh<B>),
    /// The inner service is asked.
    Fetch(Miss<B::Fence>),
}

/// Answers from the store, where the lookup allows it.
#[inline]
pub(crate) fn step<B: Backend, Res>(
    state: &LayerState<B>,
    outcome: LookupOutcome<B::Fence>,
    preconditions: Preconditions<'_>,
) -> Step<B, Res> {
    let responder = Responder::new(state);
    match outcome {
        LookupOutcome::Hit(hit) => Step::Respond(responder.hit(&hit, preconditions)),
        LookupOutcome::HitAndRefresh(hit, reason, miss) => {
            let response = responder.hit(&hit, preconditions);
            match begin_refresh(state, reason, miss) {
                Some(refresh) => Step::RespondAndRefresh(response, refresh),
                None => Step::Respond(response),
            }
        }
        LookupOutcome::GatewayTimeout => Step::Respond(responder.gateway_timeout()),
        LookupOutcome::Fetch(miss) => Step::Fetch(miss),
    }
}

/// Answers a request whose lookup has to wait for the backend.
pub(crate) async fn read<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    key: RequestKey,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let (parts, body) = request.into_parts();
    let outcome = lookup(&state, &key, &parts.headers).await;
    match step(&state, outcome, key.preconditions(&parts)) {
        Step::Respond(response) => Ok(response),
        Step::RespondAndRefresh(response, refresh) => {
            refresh.spawn(inner, Request::from_parts(parts, body), key);
            Ok(response)
        }
        Step::Fetch(miss) => {
            let (request, fill) = (Request::from_parts(parts, body), miss.with_key(key));
            // Boxed: its future takes kilobytes, which a hit should not move.
            Box::pin(coalesce(state, inner, request, fill)).await
        }
    }
}
