//! What becomes of a request in the layers outside of the cache.
//!
//! Knows tower and nothing of the cache. Start with [`OuterLayers`].

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body_util::{Empty, Full};
use tower_layer::Layer;
use tower_service::Service;

/// What the layers make of a request: its head as the cache gets it, or the status with which they
/// answer it themselves.
pub(in crate::admin) type Passed = Result<request::Parts, StatusCode>;

type Pass = dyn Fn(request::Parts) -> Pin<Box<dyn Future<Output = Passed> + Send>> + Send + Sync;

/// The layers outside of the cache. Clones share them.
#[derive(Clone)]
pub(in crate::admin) struct OuterLayers(Arc<Pass>);

impl fmt::Debug for OuterLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterLayers").finish_non_exhaustive()
    }
}

impl OuterLayers {
    pub(in crate::admin) fn new<L, R>(layer: L) -> Self
    where
        L: Layer<RequestProbe> + Send + Sync + 'static,
        L::Service: Service<Request<Empty<Bytes>>, Response = Response<R>, Error: Send>,
        L::Service: Send + 'static,
        <L::Service as Service<Request<Empty<Bytes>>>>::Future: Send,
    {
        Self(Arc::new(move |parts| {
            let probe = RequestProbe::default();
            let mut service = layer.layer(probe.clone());
            Box::pin(async move {
                let failed = StatusCode::INTERNAL_SERVER_ERROR;
                let is_ready = poll_fn(|cx| service.poll_ready(cx)).await.is_ok();
                let answered = match is_ready {
                    true => {
                        let request = Request::from_parts(parts, Empty::new());
                        let response = service.call(request).await;
                        response.map_or(failed, |response| response.status())
                    }
                    false => failed,
                };
                probe.take().ok_or(answered)
            })
        }))
    }

    /// Sends the head of a request through the layers.
    pub(super) async fn pass(&self, request: request::Parts) -> Passed {
        (self.0)(request).await
    }
}

/// The service in place of the cache inside of the [outer layers](crate::admin::Admin::outer_layers): it
/// keeps the head of the request that it is called with, and answers 200 without content.
#[derive(Clone, Debug, Default)]
pub struct RequestProbe(Arc<Mutex<Option<request::Parts>>>);

impl RequestProbe {
    fn take(&self) -> Option<request::Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<B> Service<Request<B>> for RequestProbe {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
        ready(Ok(Response::default()))
    }
}
