//! What operators see of the proxy, on an address of its own.

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::Backend;
use tower_response_cache::proxy::ReverseProxy;

use crate::admin::AdminAccess;
use crate::operators_server::OperatorsServer;
use crate::shutdown_signal::ShutdownSignal;

/// The service for operators. Clones share it.
#[derive(Clone)]
pub struct Operators {
    access: AdminAccess,
    server: OperatorsServer,
}

impl Operators {
    /// Prepares the service for a cache before a proxy.
    pub fn new<B: Backend>(
        access: AdminAccess,
        cache: &CacheHandle<B>,
        proxy: &ReverseProxy,
    ) -> Result<Self, String> {
        let server = OperatorsServer::new(service(&access, cache, proxy)?);
        Ok(Self { access, server })
    }

    /// Serves operators until the returned value is dropped.
    pub fn serve(&self, listener: TcpListener, signal: ShutdownSignal) -> AbortOnDropHandle<()> {
        self.server.clone().serve(listener, signal)
    }

    /// Shows another cache from now on.
    pub fn replace<B: Backend>(
        &self,
        cache: &CacheHandle<B>,
        proxy: &ReverseProxy,
    ) -> Result<(), String> {
        self.server.replace(service(&self.access, cache, proxy)?);
        Ok(())
    }
}

/// Requests that are to be explained become what the cache gets of clients.
fn service<B: Backend>(
    access: &AdminAccess,
    cache: &CacheHandle<B>,
    proxy: &ReverseProxy,
) -> Result<Admin, String> {
    let admin = access.service(cache.clone())?;
    Ok(admin.outer_layers(proxy.request_layer()))
}
