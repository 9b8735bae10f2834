//! A GET or HEAD: lookup, verdict, response.
//!
//! A lookup that need not wait is answered in `Cache::call`: a hit there, and one with a refresh by
//! [`answer`]. [`read`] is the future for all others.

use std::future::Future;

use http::Request;

use crate::backend::Backend;
use crate::state::LayerState;

use super::bounds::{InnerBody, InnerService};
use super::coalesce::coalesce;
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
        match outcome {
            LookupOutcome::Answer(found) => {
                let (served, refresh) = answer(&state, found, key.preconditions(&parts));
                if let Some(refresh) = refresh {
                    refresh.spawn(inner, Request::from_parts(parts, body), key);
                }
                Ok(served)
            }
            LookupOutcome::Fetch(miss) => {
                let (request, fill) = (Request::from_parts(parts, body), miss.with_key(key));
                // Boxed: its future takes kilobytes, which a hit should not move.
                Box::pin(coalesce(state, inner, request, fill)).await
            }
        }
    }
}
