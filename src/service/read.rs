//! A GET or HEAD: lookup, verdict, response.
//!
//! A lookup that need not wait is answered in `Cache::call`: a hit there, and one with a refresh by
//! [`answer`]. [`read`] is the future for all others. [`read_on`] is that of requests which a lookup
//! has not answered, unless they are for the inner service: `lookup::who_answers` decides.

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Request, request};

use crate::backend::Backend;
use crate::key::canonical::cookies::CookieLines;
use crate::state::LayerState;

use super::bounds::{InnerBody, InnerService};
use super::bypass::bypass;
use super::coalesce::coalesce;
use super::compress::Demand;
use super::fill_data::Fill;
use super::lookup::lookups::Serving;
use super::lookup::who_answers::{Answerer, is_for_service, who_answers};
use super::lookup::{CacheAnswer, LookupOutcome, lookup};
use super::origin::repetition::can_repeat;
use super::refresh::{BackgroundRefresh, begin_refresh};
use super::request::route::RequestKey;
use super::respond::{Responder, serve_hit};
use super::served::{Served, ServedResult};

/// Answers from the store, and begins the refresh that the answer is due for.
///
/// The refresh is to be spawned with the request. It is boxed, because few hits have one.
#[inline]
pub(crate) fn answer<B: Backend, Res>(
    state: &LayerState<B>,
    answer: CacheAnswer<B::Fence>,
    key: &RequestKey,
    request: &request::Parts,
) -> (Served<Res>, Option<Box<BackgroundRefresh<B>>>) {
    let preconditions = key.preconditions(request);
    match answer {
        CacheAnswer::Hit(hit) => (serve_hit(state, key, &hit, preconditions), None),
        CacheAnswer::HitAndRefresh(hit, mut due) => {
            let served = serve_hit(state, key, &hit, preconditions);
            if let Some(client) = state.client_of(request) {
                due.note_client(state, client);
            }
            (served, begin_refresh(state, *due).map(Box::new))
        }
    }
}

/// Answers a request whose lookup has to wait for the backend.
///
/// # Errors
/// The error of the inner service.
pub(crate) fn read<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    key: RequestKey,
) -> impl Future<Output = ServedResult<Res, S::Error>> + Send
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let (parts, body) = request.into_parts();
    // No `async fn`, which would hold its arguments twice.
    async move {
        let preconditions = key.preconditions(&parts);
        match lookup(&state, &key, &parts.headers, preconditions).await {
            LookupOutcome::Answer(found) => {
                let found = found.with_refresh_if(key.can_be_sent());
                Ok(answer_and_refresh(&state, inner, (parts, body), found, key))
            }
            LookupOutcome::Fetch(miss) => {
                let fill = miss.with_key(key);
                // Boxed: their futures take kilobytes, which a hit should not move.
                match is_for_service(&state, &fill, &parts.method, &parts.headers) {
                    true => Box::pin(answer_miss(state, inner, (parts, body), fill)).await,
                    false => {
                        let request = Request::from_parts(parts, body);
                        Box::pin(read_on(state, inner, request, fill)).await
                    }
                }
            }
        }
    }
}

/// Answers a request that its first lookup has not answered, where something else may: a further
/// lookup, or the cache without one.
///
/// # Errors
/// The error of the inner service.
pub(crate) fn read_on<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    mut fill: Box<Fill<B::Fence>>,
) -> impl Future<Output = ServedResult<Res, S::Error>> + Send
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let (mut parts, body) = request.into_parts();
    async move {
        let mut lookups = Serving::new(&state, can_repeat::<B, Req>(&state));
        let (method, headers) = (&parts.method, &parts.headers);
        let answerer = who_answers(&state, &mut lookups, &mut fill, method, headers);
        match Box::pin(answerer).await {
            Answerer::Store(found) => {
                let request = (parts, body);
                Ok(answer_and_refresh(&state, inner, request, found, fill.key))
            }
            Answerer::GatewayTimeout(_) => Ok(Responder::new(&state).gateway_timeout()),
            Answerer::Bypass(reason) => {
                let demand = fill.key.demand.take();
                put_back(fill.key.into_own_cookies(), demand, &mut parts.headers);
                let request = Request::from_parts(parts, body);
                Box::pin(bypass(state, inner, request, reason)).await
            }
            Answerer::Service => Box::pin(answer_miss(state, inner, (parts, body), fill)).await,
        }
    }
}

/// Answers a request by a call of the inner service, or of another request.
///
/// # Errors
/// The error of the inner service.
pub(crate) fn answer_miss<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    (parts, body): (request::Parts, Req),
    fill: Box<Fill<B::Fence>>,
) -> impl Future<Output = ServedResult<Res, S::Error>> + Send
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let client = state.client_of(&parts);
    let request = Box::new(Request::from_parts(parts, body));
    coalesce(state, inner, (request, client), fill)
}

/// Gives a request that bypasses the cache its own cookies and `Accept-Encoding` back.
pub(crate) fn put_back(
    cookies: Option<CookieLines>,
    demand: Option<Arc<Demand>>,
    headers: &mut HeaderMap,
) {
    if let Some(cookies) = cookies {
        cookies.put_back(headers);
    }
    if let Some(demand) = demand {
        demand.put_back(headers);
    }
}

/// The response that a lookup has found. The refresh that it is due for begins.
fn answer_and_refresh<S, B, Req, Res>(
    state: &LayerState<B>,
    inner: S,
    (parts, body): (request::Parts, Req),
    found: CacheAnswer<B::Fence>,
    key: RequestKey,
) -> Served<Res>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let (served, refresh) = answer(state, found, &key, &parts);
    if let Some(refresh) = refresh {
        let request = Box::new(Request::from_parts(parts, body));
        refresh.spawn(inner, request, key);
    }
    served
}
