//! The service: which way a request goes.
//!
//! Hits are answered on the spot, without a boxed future and without touching the inner service. Everything else becomes
//! one future that owns a clone of the inner service and readies it itself, because a clone of a ready service is not
//! ready.

pub(crate) mod coalesce;
mod exchange;
mod fill;
mod future;
mod lookup;
pub(crate) mod origin;
mod parts;
mod refresh;
pub(crate) mod request;
mod respond;
mod select;
mod write;

use std::fmt;
use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;

use self::coalesce::alone;
use self::lookup::Seen;
use self::request::route::Way;

use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::state::Shared;
pub use future::ResponseFuture;

/// A service with a cache before it. Made by [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready: hits are served while the inner service is saturated, and a request that needs the inner service
/// waits for its readiness inside its future. Its error is the inner service's.
pub struct Cache<S, B: Backend> {
    inner: S,
    shared: Shared<B>,
}

impl<S, B: Backend> Cache<S, B> {
    pub(crate) fn new(inner: S, shared: Shared<B>) -> Self {
        Self { inner, shared }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service. Requests that are in flight have clones of
    /// their own.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service. The stored responses stay with the layer and its other services.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, B: Backend> Cache<S, B> {
    /// What needs the inner service becomes a future that owns a clone of it. Out of line: such a future takes kilobytes,
    /// which a hit should not reserve on its stack.
    #[inline(never)]
    fn forward<Req, Res, F>(
        &self,
        parts: Parts,
        body: Req,
        work: impl FnOnce(Shared<B>, S, Request<Req>) -> F,
    ) -> ResponseFuture<Res, S::Error>
    where
        S: Service<Request<Req>, Response = Response<Res>>,
        F: Future<Output = Result<Response<ResponseBody<Res>>, S::Error>> + Send + 'static,
    {
        let request = Request::from_parts(parts, body);
        ResponseFuture::pending(work(self.shared.clone(), self.inner.clone(), request))
    }
}

impl<S: Clone, B: Backend> Clone for Cache<S, B> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.shared.clone())
    }
}

impl<S: fmt::Debug, B: Backend> fmt::Debug for Cache<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, Req, Res> Service<Request<Req>> for Cache<S, B>
where
    S: Service<Request<Req>, Response = Response<Res>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Backend,
    Req: Send + 'static,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<Res>>;
    type Error = S::Error;
    type Future = ResponseFuture<Res, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.shared.way(&parts) {
            Way::Read(read) => match self.shared.look_now(&read, &parts) {
                Some(Seen::Usable(hit)) => {
                    ResponseFuture::ready(self.shared.hit(&hit, read.wanted(&parts)))
                }
                Some(Seen::Renewable(hit, why, miss)) => {
                    let response = self.shared.hit(&hit, read.wanted(&parts));
                    if let Some(renewal) = self.shared.renewal(why, miss) {
                        let (key, target) = (self.shared.own(&read), read.target);
                        aim(&mut parts, target);
                        let request = Request::from_parts(parts, body);
                        renewal.begin(self.inner.clone(), request, key);
                    }
                    ResponseFuture::ready(response)
                }
                Some(Seen::GatewayTimeout) => ResponseFuture::ready(self.shared.gateway_timeout()),
                Some(Seen::Fetch(miss)) => {
                    let fill = miss.of(self.shared.own(&read));
                    let target = read.target;
                    aim(&mut parts, target);
                    self.forward(parts, body, |shared, inner, request| {
                        coalesce::coalesce(shared, inner, request, fill)
                    })
                }
                None => {
                    let (key, target) = (self.shared.own(&read), read.target);
                    aim(&mut parts, target);
                    self.forward(parts, body, |shared, inner, request| {
                        exchange::exchange(shared, inner, request, key)
                    })
                }
            },
            Way::Write(written) => self.forward(parts, body, |shared, inner, request| {
                write::write(shared, inner, request, written)
            }),
            Way::Pass(reason) => self.forward(parts, body, |shared, inner, request| {
                alone::pass(shared, inner, request, reason)
            }),
        }
    }
}

/// What is no part of the key does not reach the inner service either.
fn aim(parts: &mut Parts, target: Option<Box<Uri>>) {
    if let Some(target) = target {
        parts.uri = *target;
    }
}
