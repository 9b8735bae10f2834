//! The mark on a request, by which a cache recognizes itself.
//!
//! It counts while the layer that has put it there waits for the response, and means nothing
//! afterwards: a request which is sent once more from outside is a new one.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_service::Service;

use crate::backend::Backend;
use crate::state::layer_state::LayerState;

use super::passed::InnerLayers;

/// The layers that a layer of the same cache further outside collects; `None` if there is none.
#[inline]
pub(crate) fn find_layers<B: Backend>(
    state: &LayerState<B>,
    extensions: &Extensions,
) -> Option<Arc<InnerLayers>> {
    // Every hit comes here.
    if extensions.is_empty() {
        return None;
    }
    let mut mark = extensions.get::<Mark>();
    let cache = CacheId::new(state);
    while let Some(Mark {
        owner,
        layers,
        next,
    }) = mark
    {
        if *owner == cache
            && let Some(layers) = layers.upgrade()
        {
            return Some(layers);
        }
        mark = next.as_deref();
    }
    None
}

/// The cache that a layer belongs to: clones of a layer are of the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CacheId(usize);

impl CacheId {
    fn new<B: Backend>(state: &LayerState<B>) -> Self {
        Self(Arc::as_ptr(&state.shared).addr())
    }
}

/// The mark of a layer on the request that it passes inwards, before those of layers of other
/// caches further outside.
#[derive(Clone)]
struct Mark {
    owner: CacheId,
    /// Gone once the layer has its response. Until then the address in `owner` is taken.
    layers: Weak<InnerLayers>,
    next: Option<Arc<Mark>>,
}

impl Mark {
    /// Puts a mark on a request.
    fn put(owner: CacheId, layers: &Arc<InnerLayers>, extensions: &mut Extensions) {
        let mut next = extensions.remove::<Self>().map(Arc::new);
        while let Some(mark) = &next
            && mark.layers.strong_count() == 0
        {
            next = mark.next.clone();
        }
        extensions.insert(Self {
            owner,
            layers: Arc::downgrade(layers),
            next,
        });
    }
}

/// The inner service of one request, which marks what it is called with.
pub(crate) struct Marked<S> {
    inner: S,
    owner: CacheId,
    layers: Arc<InnerLayers>,
}

impl<S> Marked<S> {
    /// The inner service of a layer for one request.
    pub(crate) fn new<B: Backend>(inner: S, state: &LayerState<B>) -> Self {
        Self {
            inner,
            owner: CacheId::new(state),
            layers: Arc::default(),
        }
    }

    /// The layers of the same cache that the request passes. They find it as long as this is kept.
    pub(crate) fn layers(&self) -> Arc<InnerLayers> {
        self.layers.clone()
    }
}

impl<S, Req> Service<Request<Req>> for Marked<S>
where
    S: Service<Request<Req>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Req>) -> S::Future {
        Mark::put(self.owner, &self.layers, request.extensions_mut());
        self.inner.call(request)
    }
}
