//! Active health checks: requests of the proxy's own, by which it learns which servers answer.
//!
//! Knows servers and their clients, not routes or requests of clients.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::proxy::body::upload::empty;
use crate::proxy::config_error::{InvalidProxyOption, or_panic};

use super::repetition::Repeatable;
use super::server::UpstreamServer;

/// The largest response to a check that is read, in bytes.
const MAX_RESPONSE: usize = 64 * 1024;

/// The requests by which a proxy checks the servers of its upstreams; see
/// [`ReverseProxy::check_health`](crate::proxy::ReverseProxy::check_health).
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::proxy::HealthCheck;
///
/// let check = HealthCheck::new("/healthz")
///     .interval(Duration::from_secs(2))
///     .failure_threshold(2);
/// ```
#[derive(Clone, Debug)]
pub struct HealthCheck {
    path: PathAndQuery,
    interval: Duration,
    timeout: Duration,
    failure_threshold: u32,
    success_threshold: u32,
}

impl HealthCheck {
    /// Creates a check by `GET` of a path, which is not put behind the path of an upstream's URL.
    ///
    /// # Panics
    ///
    /// When `path` is not an absolute path.
    #[must_use]
    pub fn new(path: &str) -> Self {
        or_panic(Self::try_new(path))
    }

    /// Creates a check from configuration.
    ///
    /// # Errors
    ///
    /// When `path` is not an absolute path.
    pub fn try_new(path: &str) -> Result<Self, InvalidProxyOption> {
        let parsed = PathAndQuery::try_from(path).ok();
        let parsed = parsed.filter(|_| path.starts_with('/'));
        Ok(Self {
            path: parsed.ok_or_else(|| InvalidProxyOption::health_path(path))?,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failure_threshold: 3,
            success_threshold: 2,
        })
    }

    /// Sets the time from one check of a server to the next. Default: 5 s. Less than 10 ms counts
    /// as 10 ms, more than a day as a day.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Sets the longest time for a check, connecting included. Default: 2 s. With 0 every check
    /// fails.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how many checks in a row must fail before a server gets no more requests. Default: 3.
    /// 0 counts as 1.
    #[must_use]
    pub fn failure_threshold(self, failure_threshold: u32) -> Self {
        Self {
            failure_threshold,
            ..self
        }
    }

    /// Sets how many checks in a row must succeed before such a server gets requests again.
    /// Default: 2. 0 counts as 1.
    #[must_use]
    pub fn success_threshold(self, success_threshold: u32) -> Self {
        Self {
            success_threshold,
            ..self
        }
    }
}

/// Checks servers until the future is dropped.
pub(in crate::proxy) async fn check_servers(servers: Vec<Arc<UpstreamServer>>, check: HealthCheck) {
    let mut checks = JoinSet::new();
    for server in servers {
        checks.spawn(check_server(server, check.clone()));
    }
    pending().await
}

async fn check_server(server: Arc<UpstreamServer>, check: HealthCheck) {
    let (shortest, longest) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
    let mut ticks = interval(check.interval.clamp(shortest, longest));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut failures, mut successes) = (0_u32, 0_u32);
    loop {
        ticks.tick().await;
        let checked = timeout(check.timeout, is_healthy(&server, &check)).await;
        match checked {
            Ok(true) => (failures, successes) = (0, successes.saturating_add(1)),
            _ => (failures, successes) = (failures.saturating_add(1), 0),
        }
        if failures >= check.failure_threshold.max(1) {
            server.set_healthy(false);
        } else if successes >= check.success_threshold.max(1) {
            server.set_healthy(true);
        }
    }
}

/// Whether a server answers a check with a status below 400.
async fn is_healthy(server: &UpstreamServer, check: &HealthCheck) -> bool {
    let host = &server.authority;
    let request = Request::get(Uri::from(check.path.clone())).header(HOST, host.as_str());
    let Ok(request) = request.body(empty()) else {
        return false;
    };
    let sent = server.client.send(
        host,
        Box::new(request),
        Repeatable::None,
        None,
        check.timeout,
    );
    let Ok(response) = sent.await else {
        return false;
    };
    let is_error = response.status().as_u16() >= 400;
    // A response that is read leaves its connection to others.
    let body = http_body_util::Limited::new(response.into_body(), MAX_RESPONSE);
    !is_error && body.collect().await.is_ok()
}
