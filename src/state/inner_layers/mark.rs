//! The mark on a request, by which a cache recognizes itself.
//!
//! It counts while the layer that has put it there waits for the response, and means nothing
//! afterwards: a request which is sent once more from outside is a new one.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use http::{Extensions, Request, Response, request};
use tower_service::Service;

use crate::backend::Backend;
use crate::body::watched::WatchedBody;
use crate::state::layer_state::{LayerState, SharedState};

use super::counted_call::{CountedCall, UncountedCall, count_unready};
use super::passed::InnerLayers;

/// The layers that a layer of the same cache further outside collects; `None` if there is none that
/// handles the request.
///
/// A write is handled by a layer that has taken it for a write as well: no other one invalidates.
#[inline]
pub(crate) fn find_layers<B: Backend>(
    state: &LayerState<B>,
    request: &request::Parts,
) -> Option<Arc<InnerLayers>> {
    // Every hit comes here.
    if request.extensions.is_empty() {
        return None;
    }
    let mut mark = request.extensions.get::<Mark>();
    let (cache, is_write) = (CacheId::new(&state.shared), state.config.is_write(request));
    while let Some(found) = mark {
        if found.owner == cache
            && (found.invalidates || !is_write)
            && let Some(layers) = found.layers.upgrade()
        {
            return Some(layers);
        }
        mark = found.next.as_deref();
    }
    None
}

/// The cache that a layer belongs to: clones of a layer are of the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CacheId(usize);

impl CacheId {
    fn new<B: Backend>(shared: &Arc<SharedState<B>>) -> Self {
        Self(Arc::as_ptr(shared).addr())
    }
}

/// The mark of a layer on the request that it passes inwards, before those of layers of other
/// caches further outside.
#[derive(Clone)]
struct Mark {
    owner: CacheId,
    /// Whether the layer handles the request as a write.
    invalidates: bool,
    /// Gone once the layer has its response. Until then the address in `owner` is taken.
    layers: Weak<InnerLayers>,
    next: Option<Arc<Mark>>,
}

impl Mark {
    /// Puts a mark on a request, before those that still count.
    fn put(mut self, extensions: &mut Extensions) {
        let mut next = extensions.remove::<Self>().map(Arc::new);
        while let Some(mark) = &next
            && mark.layers.strong_count() == 0
        {
            next = mark.next.clone();
        }
        self.next = next;
        extensions.insert(self);
    }
}

/// The inner service of one request, which counts its calls by their ends, and marks the requests
/// that it is called with. Every call that a layer makes goes through here.
///
/// Requests are marked although no other service of this cache is known: the inner service may make
/// one when it is called, as axum's handlers do.
pub(crate) struct Marked<S, B: Backend> {
    inner: S,
    state: LayerState<B>,
    invalidates: bool,
    layers: Arc<InnerLayers>,
}

impl<S, B: Backend> Marked<S, B> {
    /// The inner service of a layer for one request that it does not handle as a write.
    pub(crate) fn new(inner: S, state: &LayerState<B>) -> Self {
        Self {
            inner,
            state: state.clone(),
            invalidates: false,
            layers: Arc::default(),
        }
    }

    /// The inner service of a layer for one write, which the layer sees to.
    pub(crate) fn of_write(inner: S, state: &LayerState<B>) -> Self {
        Self {
            invalidates: true,
            ..Self::new(inner, state)
        }
    }

    /// The layers of the same cache that the request passes. They find it as long as this is kept.
    pub(crate) fn layers(&self) -> Arc<InnerLayers> {
        self.layers.clone()
    }
}

impl<S, B, Req, Res> Service<Request<Req>> for Marked<S, B>
where
    S: Service<Request<Req>, Response = Response<Res>, Error: 'static>,
    B: Backend,
{
    type Response = Response<WatchedBody<Res>>;
    type Error = S::Error;
    type Future = CountedCall<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let polled = self.inner.poll_ready(cx);
        if let Poll::Ready(Err(error)) = &polled {
            count_unready(&self.state, error);
        }
        polled
    }

    fn call(&mut self, mut request: Request<Req>) -> Self::Future {
        let mark = Mark {
            owner: CacheId::new(&self.state.shared),
            invalidates: self.invalidates,
            layers: Arc::downgrade(&self.layers),
            next: None,
        };
        mark.put(request.extensions_mut());
        let call = UncountedCall::begin(self.state.clone(), request.extensions_mut());
        CountedCall::new(self.inner.call(request), call)
    }
}
