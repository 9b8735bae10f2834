//! What the cache is told of the load: that of the proxy, and of the limits of connections.

use std::any::Any;
use std::error::Error;

use tower_response_cache::proxy::ReverseProxy;
use tower_response_cache::stats::{OriginLoad, OriginMonitor};

use crate::client_limits::ClientLimits;
use crate::log;

/// The proxy behind the cache, and the limits before it.
pub struct Monitor {
    pub proxy: ReverseProxy,
    pub limits: ClientLimits,
}

impl OriginMonitor for Monitor {
    fn load(&self) -> OriginLoad {
        let mut load = self.proxy.load();
        self.limits.add_counts(&mut load.limits);
        load.limits.log_lines = log::dropped_lines();
        load
    }

    fn is_overload(&self, error: &dyn Any) -> bool {
        self.proxy.is_overload(error)
    }

    fn as_error<'e>(&self, error: &'e dyn Any) -> Option<&'e (dyn Error + 'static)> {
        self.proxy.as_error(error)
    }
}
