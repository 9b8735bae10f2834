//! The servers of an upstream: the choice of one for a request, and which of them do not answer.
//!
//! ```text
//!  healthy --3 failures to connect in a row--> ejected --time is over, next request--> probed
//!     ^                                           ^                                      |  |
//!     |                                           '-----failure, for twice as long-------'  |
//!     '---------------------------------connected-------------------------------------------'
//! ```
//!
//! Only failures to connect count: a client can make a server answer late, or with an error.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::time::Instant;

use crate::proxy::body::in_flight::{RequestCount, RequestInFlight};

use super::client::UpstreamClient;
use super::options::ClientOptions;

/// The failures to connect, one after the other, that eject a server.
const MAX_FAILURES: u32 = 3;
/// How long a server is ejected at first, and at most.
const EJECTED_FOR: Duration = Duration::from_secs(5);
const MAX_EJECTED_FOR: Duration = Duration::from_secs(60);
/// How long a failure to connect tells that a server is down. Any request to its upstream tries it
/// again before.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);

/// The largest number of servers of one upstream.
pub(super) const MAX_SERVERS: usize = 64;

/// One server of an upstream.
#[derive(Debug)]
pub(in crate::proxy) struct UpstreamServer {
    pub(in crate::proxy) authority: Authority,
    pub(in crate::proxy) client: UpstreamClient,
    pending: RequestCount,
    /// Failures to connect since the last success.
    failures: AtomicU32,
    attempts: Mutex<Attempts>,
    /// Whether a request probes the ejected server.
    is_probed: AtomicBool,
    /// Whether the server fails its [health checks](super::health).
    is_unhealthy: AtomicBool,
    has_others: bool,
}

/// When a server that cannot be connected to is tried.
#[derive(Debug, Default)]
struct Attempts {
    /// When one failed last.
    failed_at: Option<Instant>,
    /// When the next request may probe an ejected server.
    probe_at: Option<Instant>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Condition {
    /// Nothing bad.
    Up,
    /// It fails its health checks, or could not be connected to a short while ago.
    Down,
    /// It could not be connected to, and was not tried again for long.
    Unknown,
}

/// Whether a server may get a request.
enum Availability {
    Available,
    Ejected,
    /// This request finds out whether the server is back.
    Probe,
}

impl UpstreamServer {
    fn new(
        scheme: &Scheme,
        authority: Authority,
        options: &ClientOptions,
        has_others: bool,
    ) -> Self {
        let mut url = http::uri::Parts::default();
        url.scheme = Some(scheme.clone());
        url.authority = Some(authority.clone());
        url.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let url = Uri::from_parts(url).unwrap_or_default();
        Self {
            authority,
            client: UpstreamClient::new(&url, options),
            pending: RequestCount::default(),
            failures: AtomicU32::new(0),
            attempts: Mutex::default(),
            is_probed: AtomicBool::new(false),
            is_unhealthy: AtomicBool::new(false),
            has_others,
        }
    }

    /// Records whether the server passes its health checks.
    pub(super) fn set_healthy(&self, is_healthy: bool) {
        let was_unhealthy = self.is_unhealthy.swap(!is_healthy, Ordering::Relaxed);
        if was_unhealthy == is_healthy {
            let server = &self.authority;
            match is_healthy {
                true => tracing::info!(%server, "upstream server passes its health checks again"),
                false => tracing::warn!(%server, "upstream server fails its health checks"),
            }
        }
        if is_healthy {
            self.connected();
        }
    }

    /// Whether there is another server to ask instead.
    pub(in crate::proxy) fn has_others(&self) -> bool {
        self.has_others
    }

    /// Records that a connection to the server was there.
    pub(in crate::proxy) fn connected(&self) {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        if self.failures.swap(0, Ordering::Relaxed) >= MAX_FAILURES {
            tracing::info!(server = %self.authority, "upstream server is back");
        }
    }

    /// Records that the server could not be connected to.
    pub(in crate::proxy) fn not_connected(&self) {
        let now = Instant::now();
        let mut attempts = self.attempts();
        attempts.failed_at = Some(now);
        if !self.has_others {
            // It is never ejected: no other one could be asked instead.
            if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == MAX_FAILURES {
                tracing::warn!(server = %self.authority, "upstream server cannot be connected to");
            }
            return;
        }
        let is_ejected = self.failures.load(Ordering::Relaxed) >= MAX_FAILURES;
        if is_ejected && !self.is_probed.swap(false, Ordering::Relaxed) {
            // The request began before, or there was no other server.
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < MAX_FAILURES {
            return;
        }
        let doublings = (failures - MAX_FAILURES).min(8);
        let ejected_for = MAX_EJECTED_FOR.min(EJECTED_FOR * (1 << doublings));
        attempts.probe_at = Some(now + ejected_for);
        let server = &self.authority;
        match doublings {
            0 => tracing::warn!(%server, failures, ?ejected_for, "upstream server ejected"),
            _ => tracing::debug!(%server, failures, ?ejected_for, "upstream server stays ejected"),
        }
    }

    /// What is known of the server by its health checks, and by the last connections to it.
    pub(in crate::proxy) fn condition(&self) -> Condition {
        let is_unhealthy = self.is_unhealthy.load(Ordering::Relaxed);
        if !is_unhealthy && self.failures.load(Ordering::Relaxed) < MAX_FAILURES {
            return Condition::Up;
        }
        let failed_at = self.attempts().failed_at;
        match is_unhealthy || failed_at.is_some_and(|at| at.elapsed() < KNOWN_FOR) {
            true => Condition::Down,
            false => Condition::Unknown,
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may be sent to the server. When an ejection ends, the first request that
    /// asks is the probe; for all others the server stays ejected until that has its answer.
    fn admit(&self) -> Availability {
        if self.is_unhealthy.load(Ordering::Relaxed) {
            return Availability::Ejected;
        }
        if self.failures.load(Ordering::Relaxed) < MAX_FAILURES {
            return Availability::Available;
        }
        let now = Instant::now();
        let mut attempts = self.attempts();
        match attempts.probe_at {
            Some(at) if at > now => Availability::Ejected,
            _ => {
                // No other request probes meanwhile.
                attempts.probe_at = Some(now + MAX_EJECTED_FOR);
                self.is_probed.store(true, Ordering::Relaxed);
                Availability::Probe
            }
        }
    }
}

/// The servers of one upstream. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    servers: Arc<[Arc<UpstreamServer>]>,
    next: Arc<AtomicUsize>,
}

/// The servers that were tried for one request.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct TriedServers(u64);

impl Servers {
    pub(super) fn new(
        scheme: &Scheme,
        authorities: impl IntoIterator<Item = Authority>,
        options: &ClientOptions,
    ) -> Self {
        let authorities: Vec<_> = authorities.into_iter().collect();
        let has_others = authorities.len() > 1;
        let server = |authority| {
            let server = UpstreamServer::new(scheme, authority, options, has_others);
            Arc::new(server)
        };
        Self {
            servers: authorities.into_iter().map(server).collect(),
            next: Arc::default(),
        }
    }

    pub(super) fn authorities(&self) -> impl Iterator<Item = &Authority> {
        self.servers.iter().map(|server| &server.authority)
    }

    /// All servers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<UpstreamServer>> {
        self.servers.iter()
    }

    /// Chooses the server with the fewest requests under way among those that were not tried, and
    /// prefers one that is not ejected. `None` if all were tried.
    pub(super) fn choose(&self, tried: &mut TriedServers) -> Option<ChosenServer> {
        let count = self.servers.len();
        if let ([server], 0) = (&*self.servers, tried.0) {
            tried.0 = 1;
            return Some(ChosenServer {
                server: server.clone(),
                in_flight: None,
            });
        }
        let begin = self.next.fetch_add(1, Ordering::Relaxed) % count;
        let mut best: Option<(bool, usize, usize)> = None;
        for number in (begin..count).chain(0..begin) {
            if tried.0 & (1 << number) != 0 {
                continue;
            }
            let server = &self.servers[number];
            let rank = match server.admit() {
                Availability::Available => (false, server.pending.get(), number),
                Availability::Ejected => (true, server.pending.get(), number),
                Availability::Probe => {
                    best = Some((false, 0, number));
                    break;
                }
            };
            // The first of those with the same rank counts: they take turns.
            if best.is_none_or(|(ejected, pending, _)| (rank.0, rank.1) < (ejected, pending)) {
                best = Some(rank);
            }
        }
        let (_, _, number) = best?;
        tried.0 |= 1 << number;
        let server = self.servers[number].clone();
        Some(ChosenServer {
            in_flight: Some(server.pending.begin()),
            server,
        })
    }
}

/// The server of one request.
#[derive(Debug)]
pub(in crate::proxy) struct ChosenServer {
    server: Arc<UpstreamServer>,
    /// `None` if there is no other to choose.
    pub(in crate::proxy) in_flight: Option<RequestInFlight>,
}

impl Deref for ChosenServer {
    type Target = UpstreamServer;

    fn deref(&self) -> &UpstreamServer {
        &self.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: usize) -> Servers {
        let authority = |number| Authority::try_from(format!("s{number}:80")).expect("a host");
        let options = ClientOptions::default();
        Servers::new(&Scheme::HTTP, (0..count).map(authority), &options)
    }

    fn choose(servers: &Servers) -> ChosenServer {
        let chosen = servers.choose(&mut TriedServers::default());
        chosen.expect("one of them")
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_with_the_fewest_requests_is_chosen() {
        let servers = servers(3);
        let mut under_way: Vec<_> = (0..9).map(|_| choose(&servers)).collect();
        let pending = |server: &Arc<UpstreamServer>| server.pending.get();
        assert!(servers.servers.iter().all(|server| pending(server) == 3));
        under_way.retain(|chosen| chosen.authority != "s1:80");
        for _ in 0..3 {
            under_way.push(choose(&servers));
            assert_eq!(under_way.last().expect("one").authority, "s1:80");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_server_is_tried_once() {
        let servers = servers(3);
        let mut tried = TriedServers::default();
        let mut names: Vec<_> = std::iter::from_fn(|| servers.choose(&mut tried))
            .map(|chosen| chosen.authority.to_string())
            .collect();
        names.sort();
        assert_eq!(names, ["s0:80", "s1:80", "s2:80"]);
    }

    /// A server that does not accept connections gets one request when its time is over.
    #[tokio::test(start_paused = true)]
    async fn an_ejected_server_is_probed_by_one_request() {
        let servers = servers(2);
        let asked = |name: &str| {
            let chosen: Vec<_> = (0..10).map(|_| choose(&servers)).collect();
            chosen
                .iter()
                .filter(|chosen| chosen.authority == name)
                .count()
        };
        for _ in 0..MAX_FAILURES {
            servers.servers[0].not_connected();
        }
        assert_eq!(asked("s0:80"), 0);
        tokio::time::advance(EJECTED_FOR).await;
        assert_eq!(asked("s0:80"), 1);
        servers.servers[0].not_connected();
        tokio::time::advance(EJECTED_FOR).await;
        assert_eq!(asked("s0:80"), 0);
        tokio::time::advance(EJECTED_FOR).await;
        assert_eq!(asked("s0:80"), 1);
        servers.servers[0].connected();
        assert_eq!(asked("s0:80"), 5);
    }

    /// A server that fails its health checks gets requests only if all others fail, too.
    #[tokio::test(start_paused = true)]
    async fn an_unhealthy_server_is_not_asked_while_others_are_healthy() {
        let servers = servers(2);
        servers.servers[0].set_healthy(false);
        let chosen: Vec<_> = (0..10).map(|_| choose(&servers)).collect();
        assert!(chosen.iter().all(|chosen| chosen.authority == "s1:80"));
        servers.servers[1].set_healthy(false);
        assert_eq!(choose(&servers).authority, "s0:80");
        servers.servers[0].set_healthy(true);
        assert_eq!(choose(&servers).authority, "s0:80");
    }

    /// That it is down is told to operators; requests go to it all the same.
    #[tokio::test(start_paused = true)]
    async fn a_single_server_is_never_ejected() {
        let servers = servers(1);
        let server = &servers.servers[0];
        for number in 1..10 {
            server.not_connected();
            let is_down = server.condition() == Condition::Down;
            assert_eq!(is_down, number >= MAX_FAILURES);
            assert!(choose(&servers).in_flight.is_none());
        }
        assert!(server.attempts().probe_at.is_none());
        server.connected();
        assert_eq!(server.condition(), Condition::Up);
    }

    /// Once its ejection is over, only a request can tell. It is neither said to be down for ever,
    /// nor to be up; a health check knows at any time.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_nobody_asks_again_is_unknown_after_a_while() {
        for count in [1, 2] {
            let servers = servers(count);
            let server = &servers.servers[0];
            (0..MAX_FAILURES).for_each(|_| server.not_connected());
            tokio::time::advance(KNOWN_FOR - Duration::from_secs(1)).await;
            assert_eq!(server.condition(), Condition::Down, "{count}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(server.condition(), Condition::Unknown, "{count}");
            // Requests go on to probe it, and fail.
            assert!(servers.choose(&mut TriedServers::default()).is_some());
            server.not_connected();
            assert_eq!(server.condition(), Condition::Down, "{count}");
            tokio::time::advance(KNOWN_FOR).await;
            server.set_healthy(false);
            assert_eq!(server.condition(), Condition::Down, "{count}");
            server.set_healthy(true);
            assert_eq!(server.condition(), Condition::Up, "{count}");
        }
    }

    /// Requests that come now and then try an ejected server often enough to know.
    #[tokio::test(start_paused = true)]
    async fn a_server_whose_upstream_is_asked_is_never_unknown() {
        let servers = servers(2);
        (0..MAX_FAILURES).for_each(|_| servers.servers[0].not_connected());
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(20)).await;
            let chosen = choose(&servers);
            if chosen.authority == "s0:80" {
                chosen.not_connected();
            }
            assert_eq!(servers.servers[0].condition(), Condition::Down);
        }
    }

    /// Better one that failed than none.
    #[tokio::test(start_paused = true)]
    async fn ejected_servers_are_asked_if_there_are_no_others() {
        let servers = servers(2);
        for server in servers.servers.iter() {
            (0..MAX_FAILURES).for_each(|_| server.not_connected());
        }
        let mut tried = TriedServers::default();
        assert!(servers.choose(&mut tried).is_some());
        assert!(servers.choose(&mut tried).is_some());
        assert!(servers.choose(&mut tried).is_none());
    }
}
