//! The number of requests that are under way, and the exchanges of connections.

pub(in crate::proxy) mod connection_use;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests under way. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct RequestCount(Arc<AtomicUsize>);

impl RequestCount {
    pub(in crate::proxy) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a request until the returned value is dropped.
    pub(in crate::proxy) fn begin(&self) -> RequestInFlight {
        self.0.fetch_add(1, Ordering::Relaxed);
        RequestInFlight(self.clone())
    }
}

/// A request that is counted until this is dropped: with the end of its response.
#[derive(Debug)]
pub(in crate::proxy) struct RequestInFlight(RequestCount);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
