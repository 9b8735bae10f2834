//! SIGHUP: the options are read again, and new connections are served with them. A cache from
//! before ends with the last of its connections.
//!
//! Stored responses are kept. Options that change cache keys, the store or sockets need a restart.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::proxy::ReverseProxy;

use crate::operators::Operators;
use crate::options::Options;
use crate::server::{Generations, SHUTDOWN_TIMEOUT};
use crate::shutdown_signal::HangUpSignal;
use crate::tls::ClientTls;

/// What serves requests, as its options say.
pub struct Stack<S, B: Backend> {
    pub service: S,
    pub cache: CacheHandle<B>,
    pub proxy: ReverseProxy,
}

/// The current cache, and earlier ones that still have connections. Clones share them.
pub struct Caches<B: Backend>(Arc<Mutex<CachesInUse<B>>>);

struct CachesInUse<B: Backend> {
    /// By the number of times that options were read before.
    by_number: BTreeMap<u64, CacheHandle<B>>,
    next: u64,
}

impl<B: Backend> Caches<B> {
    pub fn new(first: CacheHandle<B>) -> Self {
        Self(Arc::new(Mutex::new(CachesInUse {
            by_number: BTreeMap::from([(0, first)]),
            next: 1,
        })))
    }

    /// Adds the current cache; those before end after `connections` have.
    fn replace(
        &self,
        cache: CacheHandle<B>,
        connections: impl Future<Output = ()> + Send + 'static,
    ) {
        let before = {
            let mut caches = self.lock();
            let number = caches.next;
            caches.next += 1;
            caches.by_number.insert(number, cache);
            number - 1
        };
        let caches = self.clone();
        tokio::spawn(async move {
            connections.await;
            let cache = caches.lock().by_number.get(&before).cloned();
            if let Some(cache) = cache {
                cache.shutdown(SHUTDOWN_TIMEOUT).await;
            }
            caches.lock().by_number.remove(&before);
            tracing::info!("the last connection with earlier options has ended");
        });
    }

    pub fn all(&self) -> Vec<CacheHandle<B>> {
        self.lock().by_number.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, CachesInUse<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub operators: Option<Operators>,
}

impl<S: 'static, B: Backend> Running<S, B> {
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
        if let Some(operators) = &self.operators {
            operators.replace(&stack.cache, &stack.proxy)?;
        }
        let replaced = self.generations.replace(options.settings(), stack.service);
        self.caches.replace(stack.cache, replaced);
        (self.health, self.options) = (health, options);
        Ok(())
    }
}
