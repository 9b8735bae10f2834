//! How many connections there may be, of all clients and of one.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower_response_cache::proxy::Peer;
use tower_response_cache::stats::LimitCounts;

use crate::activity::Activity;
use crate::connection::END_TIMEOUT;
use crate::reached::Reached;
use crate::request_memory::RequestMemory;

/// How often connections without a request are looked for, while one waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The most idle connections that end at once to make room, and their part of all.
const MAX_ENDED: usize = 32;
const ENDED_PART: usize = 16;

/// The limits of connections. Clones share the counts.
#[derive(Clone)]
pub struct ClientLimits {
    all: Arc<Semaphore>,
    max: usize,
    open: Arc<Mutex<OpenConnections>>,
    /// `None` for no limit.
    max_of_one: Option<usize>,
    counts: Arc<Counts>,
    memory: RequestMemory,
}

/// The open connections by client, in the order of their beginning.
#[derive(Default)]
struct OpenConnections {
    by_client: HashMap<IpAddr, BTreeMap<u64, Activity>>,
    next: u64,
}

/// What the limits have done.
#[derive(Default)]
struct Counts {
    /// Connections that had to wait.
    waited: Reached,
    /// Connections that were closed because their client has too many.
    refused: Reached,
    /// Connections that were closed for others, as they had no request.
    ended: Reached,
    /// Connections that were closed because their clients read slowly.
    slow_readers: Reached,
    /// Connections that wait now.
    waiting: AtomicUsize,
}

/// One of the connections that are counted, until it is dropped.
pub struct ClientPermit {
    _permit: OwnedSemaphorePermit,
    _share: ClientShare,
}

/// One of the connections of a client, until it is dropped.
struct ClientShare {
    client: IpAddr,
    number: u64,
    limits: ClientLimits,
}

/// A connection that waits because no more may be open, until it is dropped.
pub struct WaitingConnection(Arc<Counts>);

impl ClientLimits {
    pub fn new(max: usize, max_of_one: Option<usize>, memory: RequestMemory) -> Self {
        Self {
            all: Arc::new(Semaphore::new(max)),
            max,
            open: Arc::default(),
            max_of_one,
            counts: Arc::default(),
            memory,
        }
    }

    /// The most connections of all clients, and of one.
    pub fn max_connections(&self) -> (usize, Option<usize>) {
        (self.max, self.max_of_one)
    }

    /// The memory of the requests on these connections.
    pub fn memory(&self) -> &RequestMemory {
        &self.memory
    }

    /// Adds how often the limits were reached, and what waits for them.
    pub fn add_counts(&self, to: &mut LimitCounts) {
        to.connections = self.counts.waited.count();
        to.connections_per_client = self.counts.refused.count();
        to.connections_ended = self.counts.ended.count();
        to.requests = self.memory.refused();
        to.slow_clients += self.counts.slow_readers.count();
        to.connections_waiting = self.counts.waiting.load(Ordering::Relaxed);
    }

    /// Waits until a connection may be served; `None` if its client has too many. Connections
    /// without a request end for it.
    ///
    /// It is accepted already: otherwise nothing would tell whether there is one that waits. Where it
    /// was `waiting` before, that goes on, and does not count again.
    pub async fn admit(
        &self,
        address: IpAddr,
        activity: &Activity,
        waiting: Option<WaitingConnection>,
    ) -> Option<ClientPermit> {
        // First: those of a client that has too many keep no others waiting.
        let share = self.share(address, activity)?;
        let permit = match self.all.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(waiting).await,
        };
        Some(ClientPermit {
            _permit: permit,
            _share: share,
        })
    }

    /// Ends connections without a request until there is room. Where there are none, it is waited
    /// for others.
    async fn wait(&self, mut waiting: Option<WaitingConnection>) -> OwnedSemaphorePermit {
        let mut permit = pin!(self.all.clone().acquire_owned());
        let began = Instant::now();
        loop {
            // Those that are told to end may take their time.
            if self.end_idle() == 0 || began.elapsed() > END_TIMEOUT {
                waiting.get_or_insert_with(|| self.begin_wait("--max-connections are open"));
            }
            if let Ok(permit) = timeout(LOOK_INTERVAL, permit.as_mut()).await {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    /// Ends the oldest connections without a request, each of the client that has most then.
    /// Returns how many end now.
    fn end_idle(&self) -> usize {
        let open = self.lock();
        let (mut idle, mut ending) = (Vec::new(), 0);
        for connections in open.by_client.values() {
            let of_client = connections
                .iter()
                .filter(|(_, activity)| activity.is_idle());
            let (old, new): (Vec<_>, Vec<_>) =
                of_client.partition(|(_, activity)| activity.is_ending());
            ending += old.len();
            for (ended, (number, activity)) in new.into_iter().enumerate() {
                let has_left = connections.len() - old.len() - ended;
                idle.push((has_left, u64::MAX - number, activity.clone()));
            }
        }
        drop(open);
        // All are looked at: it is done for several at once, as many will come.
        let count = (self.max / ENDED_PART).clamp(1, MAX_ENDED);
        let count = count.saturating_sub(ending).min(idle.len());
        if count > 0 && count < idle.len() {
            let rank = |(has_left, age, _): &(usize, u64, Activity)| (*has_left, *age);
            idle.select_nth_unstable_by(count - 1, |one, other| rank(other).cmp(&rank(one)));
        }
        for (_, _, activity) in &idle[..count] {
            activity.end_if_idle();
            if let Some(count) = self.counts.ended.add() {
                tracing::warn!(
                    count,
                    "connections closed: they have no request, and others have come"
                );
            }
        }
        ending + count
    }

    /// The connections of each client.
    pub fn connections(&self) -> Vec<Vec<Activity>> {
        let open = self.lock();
        let connections = open.by_client.values();
        let cloned = connections.map(|of_client| of_client.values().cloned().collect());
        cloned.collect()
    }

    /// Ends a connection whose client reads slowly.
    pub fn end_slow_reader(&self, activity: &Activity) {
        activity.cut_off();
        if let Some(count) = self.counts.slow_readers.add() {
            tracing::warn!(
                count,
                "connections closed: slow clients keep too many bytes of removed responses"
            );
        }
    }

    /// Counts a connection that has to wait, once, and logs why. Others wait behind it in the
    /// system's queue: each counts when it is the first there.
    pub fn begin_wait(&self, reason: impl Display) -> WaitingConnection {
        if let Some(count) = self.counts.waited.add() {
            tracing::warn!(count, %reason, "no more connections are accepted: they wait");
        }
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingConnection(self.counts.clone())
    }

    /// Counts a connection of a client; `None` if that has too many.
    fn share(&self, address: IpAddr, activity: &Activity) -> Option<ClientShare> {
        let client = Peer::new(address).network();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        let connections = open.by_client.entry(client).or_default();
        if let Some(max) = self.max_of_one.filter(|max| connections.len() >= *max) {
            if let Some(count) = self.counts.refused.add() {
                tracing::warn!(
                    client = %address,
                    count,
                    max,
                    "connection closed: its client has too many"
                );
            }
            return None;
        }
        connections.insert(number, activity.clone());
        Some(ClientShare {
            client,
            number,
            limits: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WaitingConnection {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ClientShare {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        if let Some(connections) = open.by_client.get_mut(&self.client) {
            connections.remove(&self.number);
            if connections.is_empty() {
                open.by_client.remove(&self.client);
            }
        }
    }
}
