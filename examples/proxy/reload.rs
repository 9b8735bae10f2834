//! SIGHUP: the options are read again, and new connections are served with them.
//!
//! Stored responses are kept. Options that change cache keys, the store or sockets need a restart.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::proxy::ReverseProxy;

use crate::options::Options;
use crate::server::Generations;
use crate::shutdown_signal::HangUpSignal;
use crate::tls::ClientTls;

/// What serves requests, as its options say.
pub struct Stack<S, B: Backend> {
    pub service: S,
    pub cache: CacheHandle<B>,
    pub proxy: ReverseProxy,
}

/// The caches since the start. An earlier one has the requests that were under way when the options
/// were read again. Clones share them.
pub struct Caches<B: Backend>(Arc<Mutex<Vec<CacheHandle<B>>>>);

impl<B: Backend> Caches<B> {
    pub fn new(first: CacheHandle<B>) -> Self {
        Self(Arc::new(Mutex::new(vec![first])))
    }

    fn add(&self, cache: CacheHandle<B>) {
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.push(cache);
    }

    pub fn all(&self) -> Vec<CacheHandle<B>> {
        let caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.clone()
    }
}

impl<B: Backend> Clone for Caches<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The task that checks the servers of upstreams, until this is dropped.
pub type HealthChecks = Option<AbortOnDropHandle<()>>;

pub fn start_health_checks(
    options: &Options,
    proxy: &ReverseProxy,
) -> Result<HealthChecks, String> {
    let check = options.health_check()?;
    Ok(check.map(|check| AbortOnDropHandle::new(tokio::spawn(proxy.check_health(check)))))
}

/// What changes when options are read again.
pub struct Running<S, B: Backend> {
    pub options: Options,
    pub generations: Generations<S>,
    pub caches: Caches<B>,
    pub health: HealthChecks,
    pub tls: Option<ClientTls>,
}

impl<S, B: Backend> Running<S, B> {
    /// Reads the options, and the files that they name, again at each signal. Those that are not
    /// valid change nothing.
    pub async fn reload(
        mut self,
        hang_up: Option<HangUpSignal>,
        stack: impl Fn(&Options) -> Result<Stack<S, B>, String>,
    ) {
        let Some(mut hang_up) = hang_up else {
            return std::future::pending().await;
        };
        while hang_up.wait().await {
            if let Err(error) = self.apply(&stack) {
                tracing::error!(error, "options not valid; the old ones are kept");
            }
            if let Some(tls) = &self.tls {
                tls.reload();
            }
        }
    }

    fn apply(
        &mut self,
        stack: impl Fn(&Options) -> Result<Stack<S, B>, String>,
    ) -> Result<(), String> {
        let mut options = Options::from_arguments()?;
        let kept = options.keep_fixed(&self.options);
        options.client_tls()?;
        let is_changed = format!("{options:?}") != format!("{:?}", self.options);
        if is_changed {
            self.replace(options, stack)?;
        }
        tracing::info!(is_changed, "options read again");
        if !kept.is_empty() {
            let options = kept.join(", ");
            tracing::warn!(options, "these options have changed, but need a restart");
        }
        Ok(())
    }

    fn replace(
        &mut self,
        options: Options,
        stack: impl Fn(&Options) -> Result<Stack<S, B>, String>,
    ) -> Result<(), String> {
        let stack = stack(&options)?;
        let health = start_health_checks(&options, &stack.proxy)?;
        self.generations.replace(options.settings(), stack.service);
        self.caches.add(stack.cache);
        (self.health, self.options) = (health, options);
        Ok(())
    }
}
