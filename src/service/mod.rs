//! The service: the route of each request through the cache.
//!
//! ```text
//! Cache::call -> request::route
//!    read    -> lookup -> hit: respond            (on the spot, no boxed future)
//!                      -> miss: coalesce -> origin -> store_fill -> store
//!                      -> refresh in the background
//!    content -> content_read: collects it, then as a read
//!    write   -> write: inner service, then invalidation, then the response
//!    bypass  -> inner service
//!    refuse  -> respond: 400
//! ```
//!
//! Hits touch neither a boxed future nor the inner service. Everything else becomes one future
//! that owns a clone of the inner service and readies it itself, because a clone of a ready
//! service is not ready.
//!
//! The service knows the backend, the flights, the bodies and the shared state below it. It does
//! not know the layer or the handle. Start reading with `Cache::call`, then `read` and `write`.

mod bounds;
mod bypass;
mod cached_values;
mod coalesce;
mod compress;
mod content_read;
pub(crate) mod explain;
mod fill_data;
mod future;
mod lookup;
mod origin;
mod parts;
mod read;
mod refresh;
mod request;
mod respond;
mod response_groups;
mod select;
mod served;
mod steps;
mod store_fill;
mod storing_permission;
mod write;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::config::work_span::Work;
use crate::key::canonical::cookies::CookieLines;
use crate::semantics::reason::Bypass;
use crate::state::LayerState;
use crate::state::inner_layers::find_layers;

use self::bounds::{BodyOf, CachedService, HttpResponse, HttpService};
use self::bypass::pass_on;
use self::compress::{Demand, Finished, finish_now};
use self::content_read::ContentRead;
use self::lookup::who_answers::is_for_service;
use self::lookup::{CacheAnswer, LookupOutcome, lookup_now, note_lookup};
use self::read::{answer, put_back};
use self::request::forwarded_form::{ForwardedForm, apply_to_write};
use self::request::log_span;
use self::request::route::{RequestKey, Route, classify, resource_of_write};
use self::respond::Responder;
use self::served::{Served, count};
use self::steps::{KeyedRefresh, Step};

pub use future::ResponseFuture;

/// A service with a cache in front of it. Made by [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready: hits are served while the inner service is saturated, and a request that
/// needs the inner service waits for its readiness inside its future. Its error is the inner
/// service's.
///
/// The bodies of the inner service's responses have `Data = Bytes`, and are `Send` and `'static`;
/// so are the bodies of requests. The bound `HttpResponse` means any [`http::Response`].
///
/// # Bounds
///
/// The service can be moved into spawned async blocks with all common types of response bodies,
/// `BoxBody<Bytes, BoxError>` included. For a *request* body that names `Box<dyn Error>` in its
/// type, rustc cannot prove there that it is `'static` ([rust-lang/rust#110338]). Spawn or box the
/// future itself instead, or use a body type of its own such as axum's:
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::combinators::BoxBody;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_response_cache::{BoxError, CacheLayer, backend::MemoryBackend};
///
/// # fn send(request: Request<BoxBody<Bytes, BoxError>>) {
/// let inner = service_fn(async |request: Request<BoxBody<Bytes, BoxError>>| {
///     Ok::<_, BoxError>(http::Response::new(request.into_body()))
/// });
/// let service = CacheLayer::new(MemoryBackend::default()).layer(inner);
/// let answer = tokio::spawn(service.oneshot(request));
/// # drop(answer);
/// # }
/// ```
///
/// [rust-lang/rust#110338]: https://github.com/rust-lang/rust/issues/110338
pub struct Cache<S: 'static, B: Backend> {
    inner: S,
    state: LayerState<B>,
}

impl<S, B: Backend> Cache<S, B> {
    /// A cache with the options and the state of a layer.
    pub(crate) fn new(inner: S, state: LayerState<B>) -> Self {
        Self { inner, state }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without its cache. Other clones keep theirs.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, B: Backend> Clone for Cache<S, B> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.state.clone())
    }
}

impl<S: fmt::Debug, B: Backend> fmt::Debug for Cache<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, Req> Service<Request<Req>> for Cache<S, B>
where
    S: Service<Request<Req>, Response: HttpResponse> + Clone + Send,
    S::Future: Send,
    S::Error: Send,
    B: Backend,
    Req: Send + 'static,
    BodyOf<S, Req>: Body<Data = Bytes, Error: Send> + Send,
{
    type Response = Response<ResponseBody<BodyOf<S, Req>>>;
    type Error = S::Error;
    type Future = ResponseFuture<BodyOf<S, Req>, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if let Some(layers) = find_layers(&self.state, &parts) {
            let written = resource_of_write(&self.state, &parts);
            let config = &self.state.config;
            let config = config.route_of(&parts.uri).unwrap_or(config);
            layers.add(config, &parts, written);
            let inner = HttpService(self.inner.clone());
            // The outer layer counts it.
            return ResponseFuture::pending(pass_on(inner, Request::from_parts(parts, body)));
        }
        if log_span::is_enabled() {
            let span = log_span::span_of(&self.state.config, &parts);
            let future = span.in_scope(|| self.answer(parts, body));
            return future.in_span(span);
        }
        match self.route::<_, _, false>(&mut parts, &body) {
            Step::Respond(response) => ResponseFuture::ready(response),
            step => self.perform(step, parts, body),
        }
    }
}

impl<S, B: Backend> Cache<S, B> {
    /// Counts a request that is answered without waiting.
    fn counted<Res>(&self, mut served: Served<Res>) -> Response<ResponseBody<Res>>
    where
        Res: Body<Data = Bytes>,
    {
        count(&self.state.shared, &mut served.response, served.result);
        served.response
    }

    /// Sends a request on its route.
    #[cold]
    fn answer<Req>(&self, mut parts: Parts, body: Req) -> ResponseFuture<BodyOf<S, Req>, S::Error>
    where
        S: CachedService<Req>,
        Req: Send + 'static,
    {
        let step = self.route::<_, _, true>(&mut parts, &body);
        self.perform(step, parts, body)
    }

    /// Answers a request from the store, or gives it the form in which the inner service gets it.
    ///
    /// The head is borrowed, because to move it takes longer than to look it up.
    #[inline]
    fn route<Req, Res, const IS_LOGGED: bool>(&self, parts: &mut Parts, body: &Req) -> Step<B, Res>
    where
        Req: 'static,
        Res: Body<Data = Bytes>,
    {
        let (config, seed) = (&self.state.config, &self.state.shared.store.seed);
        let mut cookies = match &config.before_routing {
            None => None,
            Some(_) => match config.route_of(&parts.uri) {
                Some(of_route) => return Step::Routed(of_route.clone()),
                None => config.take_ignored_cookies(&mut parts.headers),
            },
        };
        let demand = Demand::take(&config.compress, parts);
        let route = classify(config, seed, parts);
        let outcome = match &route {
            Route::Read(read_request) => lookup_now(&self.state, read_request, parts),
            _ => None,
        };
        if IS_LOGGED && let Some(outcome) = &outcome {
            note_lookup(&config.span_of(Work::Lookup), outcome);
        }
        let responder = Responder::new(&self.state);
        if let Route::Read(read_request) = &route
            && let Some(LookupOutcome::Answer(CacheAnswer::Hit(hit))) = &outcome
        {
            // Most requests end here: spare them the way of the others.
            let mut response = responder.stored(hit, read_request.preconditions(parts));
            let result = responder.record_hit(hit.reuse);
            if let Some(demand) = &demand {
                let served = Served::new(response, result);
                let served = served.made_of(&self.state, Some(&read_request.key), &hit.response);
                return self.in_form(demand, served, None);
            }
            count(&self.state.shared, &mut response, result);
            return Step::Respond(response);
        }
        let step = match route {
            // HTTP/2 need not announce content. It is in no key, so that no response to it is shared.
            Route::Read(_) if config.request_bodies.has_content(body) => {
                Step::Bypass(Bypass::RequestContent)
            }
            Route::Read(read_request) => {
                let mut key = read_request.into_key(config, seed, parts);
                key.0.demand = demand;
                return self.after_lookup(key, outcome, parts, &mut cookies);
            }
            Route::Content(read) => {
                let (mut key, form) = read.into_key(config, seed, parts);
                key.demand = demand;
                return Step::Content(Box::new(ContentRead { key, form, cookies }));
            }
            Route::Write(target) => Step::Write(target),
            Route::Bypass(reason) => Step::Bypass(reason),
            Route::Refuse => Step::Respond(self.counted(responder.bad_request())),
            Route::FailWrite => Step::Respond(self.counted(responder.failed_write())),
        };
        restore(&step, parts, cookies, demand);
        step
    }

    /// Returns the step that answers a request in the form that it gets.
    #[cold]
    fn in_form<Res>(
        &self,
        demand: &Demand,
        served: Served<Res>,
        refresh: Option<KeyedRefresh<B>>,
    ) -> Step<B, Res>
    where
        Res: Body<Data = Bytes>,
    {
        match (finish_now(&self.state, demand, served), refresh) {
            (Finished::Done(served), None) => Step::Respond(self.counted(served)),
            (Finished::Done(served), Some(refresh)) => Step::Refresh(self.counted(served), refresh),
            (Finished::Waits(waiting), refresh) => Step::Code(waiting, refresh),
        }
    }

    /// Returns the next step of a GET or HEAD that is no plain hit.
    #[inline(never)]
    fn after_lookup<Res>(
        &self,
        (mut key, form): (RequestKey, ForwardedForm),
        outcome: Option<LookupOutcome<B::Fence>>,
        parts: &mut Parts,
        cookies: &mut Option<CookieLines>,
    ) -> Step<B, Res>
    where
        Res: Body<Data = Bytes>,
    {
        if form.apply(&self.state.config, parts).is_err() {
            key.note_unsendable(cookies.take());
        }
        match outcome {
            None => Step::Read(key),
            Some(LookupOutcome::Answer(found)) => {
                let found = found.with_refresh_if(key.can_be_sent());
                let (served, refresh) = answer(&self.state, found, &key, parts);
                let demand = key.demand.clone();
                let refresh = refresh.map(|refresh| (refresh, key));
                match (demand, refresh) {
                    (Some(demand), refresh) => self.in_form(&demand, served, refresh),
                    (None, Some(refresh)) => Step::Refresh(self.counted(served), refresh),
                    (None, None) => Step::Respond(self.counted(served)),
                }
            }
            Some(LookupOutcome::Fetch(miss)) => {
                let fill = miss.with_key(key);
                match is_for_service(&self.state, &fill, &parts.method, &parts.headers) {
                    true => Step::Fetch(fill),
                    false => Step::ReadOn(fill),
                }
            }
        }
    }
}

/// Gives a request that goes past the lookup what was taken off it, and a write the form of its key.
fn restore<B: Backend, Res>(
    step: &Step<B, Res>,
    parts: &mut Parts,
    cookies: Option<CookieLines>,
    demand: Option<Arc<Demand>>,
) {
    if let Step::Write(_) | Step::Bypass(_) = step {
        put_back(cookies, demand, &mut parts.headers);
    }
    if let Step::Write(target) = step {
        apply_to_write(parts, target.scheme.as_deref(), target.is_spelled);
    }
}
