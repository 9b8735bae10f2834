//! The service for operators, on an address of its own.

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::Backend;

use crate::admin::AdminAccess;
use crate::options::Options;
use crate::server::{Generations, Server};
use crate::shutdown_signal::ShutdownSignal;

/// What operators see. Clones share it.
#[derive(Clone)]
pub struct Operators {
    access: AdminAccess,
    services: Generations<Admin>,
}

impl Operators {
    /// Prepares the service for a cache.
    pub fn new<B: Backend>(
        options: &Options,
        access: AdminAccess,
        cache: CacheHandle<B>,
    ) -> Result<Self, String> {
        let services = Generations::new(options.settings(), access.service(cache)?);
        Ok(Self { access, services })
    }

    /// Serves operators in a task. Their connections count apart from those of clients.
    pub fn serve(
        &self,
        options: &Options,
        listener: TcpListener,
        signal: ShutdownSignal,
    ) -> JoinHandle<()> {
        let server = Server {
            generations: self.services.clone(),
            tls: None,
            limits: options.client_limits(),
            watch: None,
        };
        tokio::spawn(server.run(listener, signal))
    }

    /// Shows another cache from now on.
    pub fn replace<B: Backend>(
        &self,
        options: &Options,
        cache: CacheHandle<B>,
    ) -> Result<(), String> {
        let service = self.access.service(cache)?;
        drop(self.services.replace(options.settings(), service));
        Ok(())
    }
}
