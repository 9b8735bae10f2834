//! The same cache met twice on one request's way, such as that of a router and that of a route.
//!
//! ```text
//! outer layer: Marked::call       marks the request
//!     ... services between, other caches among them ...
//! inner layer: InnerLayers::find  knows the mark as that of its own cache,
//!              InnerLayers::add   hands its options outwards, and passes the request on
//! outer layer: the response is here; InnerLayers::options takes the options over
//! ```
//!
//! A mark is an extension of the request. It counts while the outer layer waits for the response,
//! and means nothing afterwards, so that a request which is sent once more from outside is a new
//! one. This module knows the options and which cache they belong to, no keys and no responses.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use http::{Extensions, Request, request};
use tower_service::Service;

use crate::backend::Backend;
use crate::config::Config;
use crate::semantics::invalidation;
use crate::semantics::reason::Refusal;

use super::layer_state::LayerState;

/// The layers of a cache that a request passes inside of the one that handles it.
#[derive(Default)]
pub(crate) struct InnerLayers(Mutex<Passed>);

#[derive(Default)]
struct Passed {
    /// The options of each, the innermost last.
    configs: Vec<Arc<Config>>,
    /// Whether one of them exempts the request from the cache.
    is_exempt: bool,
}

impl InnerLayers {
    /// The layers that a layer of the same cache further outside collects; `None` if there is none.
    #[inline]
    pub(crate) fn find<B: Backend>(
        state: &LayerState<B>,
        extensions: &Extensions,
    ) -> Option<Arc<Self>> {
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

    /// Adds a layer that the request passes.
    pub(crate) fn add(&self, config: &Arc<Config>, request: &request::Parts) {
        let skip = config.skip.as_ref();
        let is_skipped =
            invalidation::is_safe(&request.method) && skip.is_some_and(|skip| skip(request));
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A request that is repeated between the layers passes them once more.
        passed.configs.retain(|known| !Arc::ptr_eq(known, config));
        passed.configs.push(config.clone());
        passed.is_exempt |= is_skipped;
    }

    /// Takes over the options of the inner layers that are applied to the response.
    ///
    /// An error says why the response may not be stored.
    pub(crate) fn options<B: Backend>(
        &self,
        mut state: LayerState<B>,
    ) -> (LayerState<B>, Option<Refusal>) {
        let passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_exempt = passed.is_exempt;
        for inner in &passed.configs {
            if !Arc::ptr_eq(&state.config, inner) {
                is_exempt |= !state.config.has_key_hook_of(inner);
                state.config = Arc::new(state.config.with_response_options_of(inner));
            }
        }
        (state, is_exempt.then_some(Refusal::Exempt))
    }
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
