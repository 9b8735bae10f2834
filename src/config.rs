//! The options of a layer as plain data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{request, response};

use crate::clock::{Clock, SystemClock};
use crate::key::{Authority, MakeCacheKey, QueryRules, UriKey};
use crate::random::{Random, SeededRandom};
use crate::semantics::cache_control::Ignored;
use crate::semantics::freshness::{self, Ttl};
use crate::semantics::staleness::StaleRules;
use crate::semantics::status::CacheName;
use crate::semantics::targeted::Targets;
use crate::write::Write;

pub(crate) type Skip = dyn Fn(&request::Parts) -> bool + Send + Sync;
pub(crate) type TtlBy = dyn Fn(&response::Parts) -> Option<Ttl> + Send + Sync;
pub(crate) type AlsoInvalidate = dyn Fn(&Write<'_>) -> Vec<String> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) scope: Arc<str>,
    pub(crate) authority: Authority,
    pub(crate) key: Arc<dyn MakeCacheKey>,
    pub(crate) query: QueryRules,
    pub(crate) skip: Option<Arc<Skip>>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) negative_ttl: Duration,
    pub(crate) ttl_by: Option<Arc<TtlBy>>,
    pub(crate) max_body: u64,
    pub(crate) max_head: usize,
    pub(crate) max_capturing: u64,
    pub(crate) status: Option<StatusName>,
    pub(crate) ignored: Ignored,
    pub(crate) targets: Targets,
    pub(crate) store_set_cookie: bool,
    pub(crate) generate_etags: bool,
    pub(crate) also_invalidate: Option<Arc<AlsoInvalidate>>,
    pub(crate) write_through: bool,
    pub(crate) store_posts: bool,
    pub(crate) store_parts: bool,
    pub(crate) write_grace: Duration,
    pub(crate) write_limit: Duration,
    pub(crate) flight: FlightLimits,
    pub(crate) stale: StaleRules,
    pub(crate) failure_pause: Duration,
    /// XFetch's beta.
    pub(crate) early: Option<f64>,
    /// The largest part of a lifetime that chance may take off.
    pub(crate) jitter: f64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// How long one waits for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlightLimits {
    /// For a head, before somebody else calls, too.
    pub(crate) patience: Duration,
    /// For a head, in all.
    pub(crate) wait: Duration,
    /// For a fill to end, before it counts as dead.
    pub(crate) fill: Duration,
    /// For the slowest reader of a body that is not kept.
    pub(crate) stall: Duration,
    /// For a key that turned out to be uncacheable.
    pub(crate) uncacheable: Duration,
    /// How many may wait for the inner service to be ready.
    pub(crate) waiting: usize,
}

impl Default for FlightLimits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            fill: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            uncacheable: Duration::from_secs(10),
            waiting: 4096,
        }
    }
}

/// A name with a number that no other name in this process has, so that values made from it can be remembered.
#[derive(Clone, Debug)]
pub(crate) struct StatusName {
    pub(crate) name: CacheName,
    pub(crate) number: u64,
}

impl StatusName {
    pub(crate) fn new(name: CacheName) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            name,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scope: Arc::from(""),
            authority: Authority::default(),
            key: Arc::new(UriKey),
            query: QueryRules::default(),
            skip: None,
            ttl: None,
            negative_ttl: Duration::from_secs(5),
            ttl_by: None,
            max_body: 1024 * 1024,
            max_head: 64 * 1024,
            max_capturing: 64 * 1024 * 1024,
            status: Some(StatusName::new(CacheName::default())),
            ignored: Ignored::default(),
            targets: Targets::default(),
            store_set_cookie: false,
            generate_etags: false,
            also_invalidate: None,
            write_through: false,
            store_posts: true,
            store_parts: true,
            write_grace: Duration::from_secs(5),
            write_limit: Duration::from_secs(60),
            flight: FlightLimits::default(),
            stale: StaleRules {
                if_unreachable: Duration::from_secs(60),
                validation: Duration::from_secs(60 * 60),
                ..StaleRules::default()
            },
            failure_pause: Duration::from_secs(5),
            early: None,
            jitter: 0.0,
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::default()),
        }
    }
}

impl Config {
    /// The lifetime the configuration gives to a response that says nothing of its own.
    pub(crate) fn assigned_ttl(&self, head: &response::Parts) -> Option<Ttl> {
        if let Some(ttl_by) = &self.ttl_by
            && let Some(ttl) = ttl_by(head)
        {
            return Some(ttl);
        }
        let ttl = self.ttl?;
        if freshness::takes_assigned_lifetime(head.status) {
            return Some(ttl);
        }
        freshness::takes_negative_lifetime(head.status).then_some(match ttl {
            Ttl::For(ttl) => Ttl::For(ttl.min(self.negative_ttl)),
            Ttl::UntilInvalidated => Ttl::For(self.negative_ttl),
        })
    }
}
