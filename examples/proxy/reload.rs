//! SIGHUP: the options are read again, and new connections are served with them.
//!
//! Stored responses, counters and calls in flight go on: it is the same cache. Options that change cache keys, the store or sockets need a restart.

use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::proxy::ReverseProxy;

use crate::operators::Operators;
use crate::options::Options;
use crate::public_text::public_text;
use crate::server::Generations;
use crate::shutdown_signal::HangUpSignal;
use crate::tls::ClientTls;

/// What serves requests, as its options say.
pub struct Stack<S, B: Backend> {
    pub service: S,
    pub cache: CacheHandle<B>,
    pub proxy: ReverseProxy,
    /// The task that ends slow readers, where clients are told apart.
    pub slow_readers: Option<AbortOnDropHandle<()>>,
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
pub struct Running<S> {
    pub options: Options,
    pub generations: Generations<S>,
    pub proxy: ReverseProxy,
    pub health: HealthChecks,
    pub slow_readers: Option<AbortOnDropHandle<()>>,
    pub tls: Option<ClientTls>,
    pub operators: Option<Operators>,
}

impl<S: 'static> Running<S> {
    /// Reads the options, and the files that they name, again at each signal. Those that are not
    /// valid change nothing. `stack` makes what serves requests of them, and of the proxy before.
    pub async fn reload<B: Backend>(
        mut self,
        hang_up: Option<HangUpSignal>,
        stack: impl Fn(&Options, &ReverseProxy) -> Result<Stack<S, B>, String>,
    ) {
        let Some(mut hang_up) = hang_up else {
            return std::future::pending().await;
        };
        while hang_up.wait().await {
            if let Err(error) = self.apply(&stack) {
                let error = public_text(error);
                tracing::error!(error, "options not valid; the old ones are kept");
            }
            if let Some(operators) = &mut self.operators {
                operators.read_token_again(&self.options.admin);
            }
            if let Some(tls) = &self.tls {
                tls.reload();
            }
        }
    }

    fn apply<B: Backend>(
        &mut self,
        stack: impl Fn(&Options, &ReverseProxy) -> Result<Stack<S, B>, String>,
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

    fn replace<B: Backend>(
        &mut self,
        options: Options,
        stack: impl Fn(&Options, &ReverseProxy) -> Result<Stack<S, B>, String>,
    ) -> Result<(), String> {
        let stack = stack(&options, &self.proxy)?;
        let health = start_health_checks(&options, &stack.proxy)?;
        if let Some(operators) = &self.operators {
            operators.replace(&stack.cache, &stack.proxy)?;
        }
        let replaced = self.generations.replace(options.settings(), stack.service);
        tokio::spawn(async move {
            replaced.await;
            tracing::info!("the last connection with earlier options has ended");
        });
        (self.health, self.options, self.proxy) = (health, options, stack.proxy);
        self.slow_readers = stack.slow_readers;
        Ok(())
    }
}
