//! What operators see of the proxy, on an address of its own.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tower::layer::util::Stack;
use tower::util::MapRequestLayer;
use tower_response_cache::CacheHandle;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::Backend;
use tower_response_cache::proxy::ReverseProxy;

use crate::admin::{AdminAccess, AdminOptions};
use crate::arrival::arrive_explained;
use crate::operators_server::OperatorsServer;
use crate::shutdown_signal::ShutdownSignal;

/// The service for operators. Clones share it.
#[derive(Clone)]
pub struct Operators {
    access: AdminAccess,
    /// Whether clients use TLS.
    is_secure: bool,
    server: OperatorsServer,
}

impl Operators {
    /// Prepares the service for a cache before a proxy, whose clients may use TLS.
    pub fn new<B: Backend>(
        access: AdminAccess,
        is_secure: bool,
        cache: &CacheHandle<B>,
        proxy: &ReverseProxy,
    ) -> Result<Self, String> {
        let server = OperatorsServer::new(service(&access, is_secure, cache, proxy)?);
        Ok(Self {
            access,
            is_secure,
            server,
        })
    }

    /// Serves operators until the returned value is dropped.
    pub fn serve(&self, listener: TcpListener, signal: ShutdownSignal) -> AbortOnDropHandle<()> {
        self.server.clone().serve(listener, signal)
    }

    /// Reads the token again: requests with an earlier one are refused from now on. One that cannot
    /// be read, or is no token, changes nothing.
    pub fn read_token_again(&mut self, options: &AdminOptions) {
        let admin = self.server.service();
        match self.access.read_token_again(options, admin) {
            Ok(Some(admin)) => {
                self.server.replace(admin);
                tracing::info!("token for operators replaced");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error, "token for operators not read; the old one is kept");
            }
        }
    }

    /// Shows another cache from now on.
    pub fn replace<B: Backend>(
        &self,
        cache: &CacheHandle<B>,
        proxy: &ReverseProxy,
    ) -> Result<(), String> {
        let service = service(&self.access, self.is_secure, cache, proxy)?;
        self.server.replace(service);
        Ok(())
    }
}

/// Requests that are to be explained become what the cache gets of clients.
fn service<B: Backend>(
    access: &AdminAccess,
    is_secure: bool,
    cache: &CacheHandle<B>,
    proxy: &ReverseProxy,
) -> Result<Admin, String> {
    let admin = access.service(cache.clone())?;
    let arrive = move |request: Request<Empty<Bytes>>| arrive_explained(request, is_secure);
    let layers = Stack::new(proxy.request_layer(), MapRequestLayer::new(arrive));
    Ok(admin.outer_layers(layers))
}
