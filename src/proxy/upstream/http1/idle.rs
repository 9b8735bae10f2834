//! The idle connections to one server.
//!
//! ```text
//!  exchange ends --put--> idle --take: the one that was used last--> next exchange
//!                          |
//!                          '-- too old, idle for too long, closed by the server, or the one that
//!                              is used least while there are too many --> closed
//! ```

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::connection::Http1Connection;

/// A connection that was used more recently than this is not closed to make room.
const MIN_IDLE: Duration = Duration::from_millis(100);

/// The longest time between two looks at connections that may have been idle for too long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The limits of idle connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleLimits {
    /// The largest number of all, and of those for one host.
    pub(super) max: usize,
    pub(super) max_per_host: usize,
    /// The longest time without an exchange.
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Duration,
}

#[allow(
    clippy::vec_box,
    reason = "each is moved out and in for one request, and is large"
)]
type Connections = Vec<Box<Http1Connection>>;

/// The idle connections to one server, by the host that they are for.
///
/// If there are too many, one more closes another one: one that has served only once if there is
/// any, and of these the one that is idle for longest. A client that makes hosts up does not close
/// the connections of hosts that are asked for again.
#[derive(Debug)]
pub(super) struct IdleConnections {
    limits: IdleLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are for any host.
    for_any: Connections,
    by_host: HashMap<Authority, Connections>,
    count: usize,
    /// Whether a task looks after them.
    is_watched: bool,
}

impl IdleConnections {
    pub(super) fn new(limits: IdleLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// Takes the connection for a host that was used last. The server may have closed it: then the
    /// next request on it comes back unsent.
    pub(super) fn take(&self, host: Option<&Authority>) -> Option<Box<Http1Connection>> {
        let now = Instant::now();
        loop {
            let connection = self.lock().pop(host)?;
            if self.limits.allow(&connection, now) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange has ended, if others may use it.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Http1Connection>) {
        connection.idle_since = Instant::now();
        let is_kept = self.limits.allow(&connection, connection.idle_since);
        if !connection.is_free() || !is_kept {
            return;
        }
        let mut state = self.lock();
        let watch_on = match state.is_watched {
            true => None,
            false => match Handle::try_current() {
                Ok(runtime) => Some(runtime),
                Err(_) => {
                    drop(state);
                    return;
                }
            },
        };
        let replaced = match state.make_room(&connection, self.limits) {
            Ok(replaced) => replaced,
            Err(NoRoom) => {
                drop(state);
                return;
            }
        };
        state.push(connection);
        if let Some(runtime) = watch_on {
            state.is_watched = true;
            runtime.spawn(Watch::new(self).run());
        }
        drop(state);
        drop(replaced);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleLimits {
    /// Whether a connection may be used once more.
    fn allow(self, connection: &Http1Connection, now: Instant) -> bool {
        now.duration_since(connection.opened) < self.max_age
            && now.duration_since(connection.idle_since) < self.idle_timeout
    }
}

/// The error of a connection that is not kept.
struct NoRoom;

impl State {
    fn pop(&mut self, host: Option<&Authority>) -> Option<Box<Http1Connection>> {
        let list = match host {
            None => &mut self.for_any,
            Some(host) => self.by_host.get_mut(host)?,
        };
        let connection = list.pop()?;
        self.count -= 1;
        Some(connection)
    }

    fn push(&mut self, connection: Box<Http1Connection>) {
        let list = match &connection.host {
            None => &mut self.for_any,
            Some(host) => self.by_host.entry(host.clone()).or_default(),
        };
        list.push(connection);
        self.count += 1;
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut Connections> {
        self.by_host.values_mut().chain([&mut self.for_any])
    }

    /// Makes room for a connection; returns the one that is to be closed for it, if any.
    fn make_room(
        &mut self,
        connection: &Http1Connection,
        limits: IdleLimits,
    ) -> Result<Option<Box<Http1Connection>>, NoRoom> {
        let same_host = match &connection.host {
            None => Some(&self.for_any),
            Some(host) => self.by_host.get(host),
        };
        if same_host.map_or(0, Vec::len) >= limits.max_per_host {
            return Err(NoRoom);
        }
        if self.count < limits.max {
            return Ok(None);
        }
        let rank = |idle: &Http1Connection| (idle.requests > 1, idle.idle_since);
        let least = self
            .lists()
            .filter_map(|list| {
                let (at, rank) = list
                    .iter()
                    .map(|idle| rank(idle))
                    .enumerate()
                    .min_by_key(|(_, rank)| *rank)?;
                Some((rank, list, at))
            })
            .min_by_key(|(rank, ..)| *rank);
        let Some(((_, since), list, at)) = least else {
            return Err(NoRoom);
        };
        if connection.idle_since.duration_since(since) < MIN_IDLE {
            return Err(NoRoom);
        }
        let removed = list.remove(at);
        self.count -= 1;
        Ok(Some(removed))
    }

    /// Removes the connections that are not to be used any more, and has the task woken when a
    /// server closes another one.
    fn remove_ended(&mut self, limits: IdleLimits, cx: &mut Context<'_>) -> Connections {
        let (now, mut removed) = (Instant::now(), Vec::new());
        for list in self.lists() {
            removed.extend(list.extract_if(.., |connection| {
                connection.drive(cx);
                connection.is_closed() || !limits.allow(connection, now)
            }));
        }
        self.by_host.retain(|_, list| !list.is_empty());
        self.count -= removed.len();
        removed
    }
}

/// The task that closes connections which are idle for too long, or closed by the server.
struct Watch {
    idle: Weak<IdleConnections>,
    interval: Duration,
    is_over: bool,
}

impl Watch {
    fn new(idle: &Arc<IdleConnections>) -> Self {
        let shortest = idle.limits.idle_timeout.min(idle.limits.max_age);
        Self {
            idle: Arc::downgrade(idle),
            interval: shortest.clamp(Duration::from_millis(10), LOOK_INTERVAL),
            is_over: false,
        }
    }

    /// Runs for as long as there are idle connections.
    async fn run(mut self) {
        while !self.is_over {
            let mut next = pin!(sleep(self.interval));
            poll_fn(|cx| {
                self.look(cx);
                match self.is_over {
                    true => Poll::Ready(()),
                    false => next.as_mut().poll(cx),
                }
            })
            .await;
        }
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        let Some(idle) = self.idle.upgrade() else {
            self.is_over = true;
            return;
        };
        let mut state = idle.lock();
        let removed = state.remove_ended(idle.limits, cx);
        self.is_over = state.count == 0;
        state.is_watched = !self.is_over;
        drop(state);
        drop(removed);
    }
}

impl Drop for Watch {
    /// The runtime may end before the connections do.
    fn drop(&mut self) {
        if let Some(idle) = self.idle.upgrade().filter(|_| !self.is_over) {
            idle.lock().is_watched = false;
        }
    }
}
