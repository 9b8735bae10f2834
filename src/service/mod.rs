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
mod store_fill;
mod storing_permission;
mod write;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::config::Config;
use crate::config::work_span::Work;
use crate::key::canonical::cookies::CookieLines;
use crate::semantics::reason::{Bypass, RequestResult};
use crate::state::LayerState;
use crate::state::inner_layers::find_layers;

use self::bounds::{BodyOf, HttpResponse, HttpService};
use self::bypass::{bypass, pass_on};
use self::coalesce::coalesce;
use self::content_read::{ContentRead, read_by_content};
use self::fill_data::Fill;
use self::lookup::who_answers::is_for_service;
use self::lookup::{CacheAnswer, LookupOutcome, lookup_now, note_lookup};
use self::read::{answer, put_back, read, read_on};
use self::refresh::BackgroundRefresh;
use self::request::forwarded_form::{ForwardedForm, apply_to_write};
use self::request::log_span;
use self::request::route::{RequestKey, Route, WriteTarget, classify, resource_of_write};
use self::respond::Responder;
use self::served::{Counted, Served, ServedResult, count};
use self::write::write;

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

impl<S: Clone, B: Backend> Cache<S, B> {
    /// A future that owns a clone of the inner service, and counts the request by its result; if
    /// the inner service fails, by the one that the request was `on_its_way` to. Out of line: it
    /// takes kilobytes, which a hit should not reserve on its stack.
    #[inline(never)]
    fn forward<Req, Res, F>(
        &self,
        on_its_way: RequestResult,
        (parts, body): (Parts, Req),
        work: impl FnOnce(LayerState<B>, HttpService<S>, Request<Req>) -> F,
    ) -> ResponseFuture<Res, S::Error>
    where
        S: Service<Request<Req>>,
        Req: 'static,
        F: Future<Output = ServedResult<Res, S::Error>> + Send + 'static,
        Res: Body<Data = Bytes>,
    {
        let request = Request::from_parts(parts, body);
        let inner = HttpService(self.inner.clone());
        let work = work(self.state.clone(), inner, request);
        ResponseFuture::pending(Counted::new(self.state.clone(), on_its_way, work))
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
        match self.route::<_, false>(&mut parts) {
            Step::Respond(response) => ResponseFuture::ready(response),
            step => self.perform(step, parts, body),
        }
    }
}

/// The next step of a request.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing a response would cost every hit an allocation"
)]
enum Step<B: Backend, Res> {
    /// The request has a route with options of its own, and begins anew with them.
    Routed(Arc<Config>),
    /// The request is answered, and counted.
    Respond(Response<ResponseBody<Res>>),
    /// The request is answered with a stored response, which is refreshed, and counted.
    Refresh(
        Response<ResponseBody<Res>>,
        Box<BackgroundRefresh<B>>,
        RequestKey,
    ),
    /// The backend has to be waited for.
    Read(RequestKey),
    /// Something else than the lookup may answer.
    ReadOn(Box<Fill<B::Fence>>),
    /// The inner service is asked.
    Fetch(Box<Fill<B::Fence>>),
    /// The content of the request is collected first.
    Content(Box<ContentRead>),
    /// The inner service is asked, and its answer invalidates.
    Write(WriteTarget),
    /// The inner service is asked, past the cache.
    Bypass(Bypass),
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
        S: Service<Request<Req>, Response: HttpResponse> + Clone + Send,
        S::Future: Send,
        S::Error: Send,
        Req: Send + 'static,
        BodyOf<S, Req>: Body<Data = Bytes, Error: Send> + Send,
    {
        let step = self.route::<_, true>(&mut parts);
        self.perform(step, parts, body)
    }

    /// Answers a request from the store, or gives it the form in which the inner service gets it.
    ///
    /// The head is borrowed, because to move it takes longer than to look it up.
    #[inline]
    fn route<Res, const IS_LOGGED: bool>(&self, parts: &mut Parts) -> Step<B, Res>
    where
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
            count(&self.state.shared, &mut response, result);
            return Step::Respond(response);
        }
        let step = match route {
            Route::Read(read_request) => {
                let key = read_request.into_key(config, seed, parts);
                self.after_lookup(key, outcome, parts, &mut cookies)
            }
            Route::Content(read) => {
                let (key, form) = read.into_key(config, seed, parts);
                return Step::Content(Box::new(ContentRead { key, form, cookies }));
            }
            Route::Write(target) => Step::Write(target),
            Route::Bypass(reason) => Step::Bypass(reason),
            Route::Refuse => Step::Respond(self.counted(responder.bad_request())),
            Route::FailWrite => Step::Respond(self.counted(responder.failed_write())),
        };
        if let Step::Write(_) | Step::Bypass(_) = &step {
            put_back(cookies, &mut parts.headers);
        }
        if let Step::Write(target) = &step {
            apply_to_write(parts, target.scheme.as_deref(), target.is_spelled);
        }
        step
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
                match answer(&self.state, found, key.preconditions(parts)) {
                    (served, Some(refresh)) => Step::Refresh(self.counted(served), refresh, key),
                    (served, None) => Step::Respond(self.counted(served)),
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

    /// Does the next step, with the request in the form that the inner service gets. Out of line:
    /// a hit need not make room for it.
    #[inline(never)]
    fn perform<Req>(
        &self,
        step: Step<B, BodyOf<S, Req>>,
        parts: Parts,
        body: Req,
    ) -> ResponseFuture<BodyOf<S, Req>, S::Error>
    where
        S: Service<Request<Req>, Response: HttpResponse> + Clone + Send,
        S::Future: Send,
        S::Error: Send,
        Req: Send + 'static,
        BodyOf<S, Req>: Body<Data = Bytes, Error: Send> + Send,
    {
        use RequestResult::{Bypass, Miss};
        let request = (parts, body);
        match step {
            Step::Respond(response) => ResponseFuture::ready(response),
            Step::Routed(config) => {
                let shared = self.state.shared.clone();
                let of_route = Self::new(self.inner.clone(), LayerState { config, shared });
                of_route.answer(request.0, request.1)
            }
            Step::Refresh(response, refresh, key) => {
                let inner = HttpService(self.inner.clone());
                refresh.spawn(inner, Request::from_parts(request.0, request.1), key);
                ResponseFuture::ready(response)
            }
            Step::Read(key) => self.forward(Miss, request, |state, inner, request| {
                read(state, inner, request, key)
            }),
            Step::ReadOn(fill) => self.forward(Miss, request, |state, inner, request| {
                read_on(state, inner, request, fill)
            }),
            Step::Fetch(fill) => self.forward(Miss, request, |state, inner, request| {
                coalesce(state, inner, request, fill)
            }),
            Step::Content(pending) => self.forward(Miss, request, |state, inner, request| {
                read_by_content(state, inner, request, pending)
            }),
            Step::Write(target) => self.forward(Bypass, request, |state, inner, request| {
                write(state, inner, request, target)
            }),
            Step::Bypass(reason) => self.forward(Bypass, request, |state, inner, request| {
                bypass(state, inner, request, reason)
            }),
        }
    }
}
