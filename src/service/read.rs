//! A GET or HEAD: lookup, verdict, response.
//!
//! A lookup that need not wait is answered in `Cache::call`: a hit there, and one with a refresh by
//! [`answer`]. [`read`] is the future for all others. [`read_private`] is that of requests which
//! have a partition, after a lookup that has answered nothing.

use std::future::Future;

use http::{Request, request};

use crate::backend::Backend;
use crate::state::LayerState;

use super::bounds::{InnerBody, InnerService};
use super::coalesce::coalesce;
use super::fill_data::Fill;
use super::lookup::partition::look_into_partition;
use super::lookup::{CacheAnswer, LookupOutcome, lookup};
use super::refresh::{BackgroundRefresh, begin_refresh};
use super::request::preconditions::Preconditions;
use super::request::route::RequestKey;
use super::respond::Responder;
use super::served::{Served, ServedResult};

/// Answers from the store, and begins the refresh that the answer is due for.
///
/// The refresh is to be spawned with the request. It is boxed, because few hits have one.
#[inline]
pub(crate) fn answer<B: Backend, Res>(
    state: &LayerState<B>,
    answer: CacheAnswer<B::Fence>,
    preconditions: Preconditions<'_>,
) -> (Served<Res>, Option<Box<BackgroundRefresh<B>>>) {
    let responder = Responder::new(state);
    match answer {
        CacheAnswer::Hit(hit) => (responder.hit(&hit, preconditions), None),
        CacheAnswer::HitAndRefresh(hit, due) => {
            let served = responder.hit(&hit, preconditions);
            (served, begin_refresh(state, *due).map(Box::new))
        }
        CacheAnswer::GatewayTimeout => (responder.gateway_timeout(), None),
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
        let outcome = lookup(&state, &key, &parts.headers, preconditions).await;
        match outcome.leave_to_partition(&key) {
            LookupOutcome::Answer(found) => {
                Ok(answer_and_refresh(&state, inner, (parts, body), found, key))
            }
            LookupOutcome::Fetch(miss) => {
                let (request, fill) = (Request::from_parts(parts, body), miss.with_key(key));
                // Boxed: their futures take kilobytes, which a hit should not move.
                match fill.key.can_enter_partition() {
                    true => Box::pin(read_private(state, inner, request, fill)).await,
                    false => Box::pin(coalesce(state, inner, request, fill)).await,
                }
            }
        }
    }
}

/// Answers a request that has a partition, and that nothing public answers.
///
/// # Errors
/// The error of the inner service.
pub(crate) fn read_private<S, B, Req, Res>(
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
    let (parts, body) = request.into_parts();
    async move {
        let looking = look_into_partition(&state, &mut fill, &parts.method, &parts.headers);
        let found = Box::pin(looking).await;
        let Some(found) = found else {
            let request = Request::from_parts(parts, body);
            return Box::pin(coalesce(state, inner, request, fill)).await;
        };
        Ok(answer_and_refresh(
            &state,
            inner,
            (parts, body),
            found,
            fill.key,
        ))
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
    let (served, refresh) = answer(state, found, key.preconditions(&parts));
    if let Some(refresh) = refresh {
        refresh.spawn(inner, Request::from_parts(parts, body), key);
    }
    served
}
