//! The options of coalescing.

use std::time::Duration;

/// The options that bound how long one request depends on another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoalesceOptions {
    pub(crate) coalesce_takeover_timeout: Duration,
    pub(crate) coalesce_timeout: Duration,
    pub(crate) fill_timeout: Duration,
    pub(crate) slow_reader_timeout: Duration,
    pub(crate) uncacheable_ttl: Duration,
    pub(crate) max_waiting_fills: usize,
    pub(crate) max_parallel_retries: usize,
}

impl Default for CoalesceOptions {
    fn default() -> Self {
        Self {
            coalesce_takeover_timeout: Duration::from_secs(10),
            coalesce_timeout: Duration::from_secs(30),
            fill_timeout: Duration::from_secs(30),
            slow_reader_timeout: Duration::from_secs(10),
            uncacheable_ttl: Duration::from_secs(60),
            max_waiting_fills: 4096,
            max_parallel_retries: 8,
        }
    }
}
