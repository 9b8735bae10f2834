//! The options that the inner layers hand outwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request;

use crate::backend::Backend;
use crate::config::Config;
use crate::key::Resource;
use crate::semantics::reason::Refusal;
use crate::state::layer_state::LayerState;

/// The layers of a cache that a request passes inside of the one that handles it.
#[derive(Default)]
pub(crate) struct InnerLayers(Mutex<Passed>);

#[derive(Default)]
struct Passed {
    /// The options of each, the innermost last.
    configs: Vec<Arc<Config>>,
    /// Whether one of them exempts the request from the cache.
    is_exempt: bool,
    /// The resources that a write is for by their keys: its target may be rewritten on its way.
    written: Vec<Resource>,
    /// The request as the innermost layer got it, if that has hooks that judge the response.
    for_hooks: Option<Box<request::Parts>>,
}

impl Passed {
    fn is_exempt(&self, outer: &Arc<Config>) -> bool {
        let has_other_keys =
            |inner: &Arc<Config>| !Arc::ptr_eq(outer, inner) && !outer.has_key_hook_of(inner);
        self.is_exempt || self.configs.iter().any(has_other_keys)
    }
}

impl InnerLayers {
    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a layer that the request passes. Also takes the resource that a write is for by the
    /// layer's key.
    pub(crate) fn add(
        &self,
        config: &Arc<Config>,
        request: &request::Parts,
        written: Option<Resource>,
    ) {
        let is_skipped = !config.is_write(request) && config.exempts(request);
        let mut passed = self.passed();
        // A request that is repeated between the layers passes them once more.
        passed.configs.retain(|known| !Arc::ptr_eq(known, config));
        passed.configs.push(config.clone());
        passed.is_exempt |= is_skipped;
        let has_hooks = config.has_storing_hooks();
        passed.for_hooks = has_hooks.then(|| Box::new(request.clone()));
        let written = written.filter(|written| !passed.written.contains(written));
        passed.written.extend(written);
    }

    /// The resources that a write is for by the keys of the inner layers.
    pub(crate) fn written(&self) -> Vec<Resource> {
        self.passed().written.clone()
    }

    /// The request for the hooks that judge its response, as the innermost layer got it; `None` if
    /// that has no such hooks.
    pub(crate) fn request_for_hooks(&self) -> Option<Box<request::Parts>> {
        self.passed().for_hooks.take()
    }

    /// Whether one of the inner layers exempts the GET that the response to a write also answers.
    pub(crate) fn exempt_get<B: Backend>(
        &self,
        state: &LayerState<B>,
        get: &request::Parts,
    ) -> bool {
        // The functions of the application are called without the lock.
        let configs = self.passed().configs.clone();
        configs
            .iter()
            .any(|inner| !state.config.has_key_hook_of(inner) || inner.exempts(get))
    }

    /// Whether one of the layers that the request has passed by now exempts it from the cache.
    pub(crate) fn is_exempt(&self, outer: &Arc<Config>) -> bool {
        self.passed().is_exempt(outer)
    }

    /// Takes over the options of the inner layers that are applied to the response.
    ///
    /// An error says why the response may not be stored.
    pub(crate) fn options<B: Backend>(
        &self,
        mut state: LayerState<B>,
    ) -> (LayerState<B>, Option<Refusal>) {
        let passed = self.passed();
        let is_exempt = passed.is_exempt(&state.config);
        for inner in &passed.configs {
            if !Arc::ptr_eq(&state.config, inner) {
                state.config = Arc::new(state.config.with_response_options_of(inner));
            }
        }
        (state, is_exempt.then_some(Refusal::Exempt))
    }
}
