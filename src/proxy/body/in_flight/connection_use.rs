//! The exchanges of one connection to an upstream: whether it has served, and whether it is idle.
//!
//! ```text
//!  first write--> exchange --response's head--> answered --end of its body--> idle
//!                                                  |                            |
//!                    next exchange <--next write---'----------------------------'
//! ```
//!
//! Knows no sockets. The connection reports bytes that it sends and receives, the client the head
//! of a response, and the response's body its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;

/// The use of one connection so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct ConnectionUse(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The exchanges that have begun.
    exchanges: u64,
    /// Whether the head of the last one's final response has arrived.
    is_answered: bool,
    /// Whether anything was received since the last one began.
    has_received: bool,
    /// When the last one ended. `None` while it is under way.
    idle_since: Option<Instant>,
    is_given_up: bool,
    /// Woken when a connection that was given up has become idle.
    reader: Option<Waker>,
}

impl ConnectionUse {
    /// Whether the connection was lost before any byte of a response, after it had served other
    /// requests: servers close idle connections at any moment (RFC 9112 §9.3.1).
    pub(in crate::proxy) fn is_lost_while_idle(&self) -> bool {
        let state = self.lock();
        state.exchanges > 1 && !state.has_received
    }

    /// Something was received.
    pub(in crate::proxy) fn received(&self) {
        self.lock().has_received = true;
    }

    /// Something is sent: after a response it is the next request, before it more of the same.
    pub(in crate::proxy) fn sending(&self) {
        let mut state = self.lock();
        if state.exchanges == 0 || state.is_answered {
            state.exchanges += 1;
            (state.is_answered, state.has_received) = (false, false);
            state.idle_since = None;
        }
    }

    /// The head of a final response has arrived; its body ends with the returned value.
    pub(in crate::proxy) fn answered(self) -> AnsweredExchange {
        let mut state = self.lock();
        state.is_answered = true;
        let number = state.exchanges;
        drop(state);
        AnsweredExchange {
            connection: self,
            number,
        }
    }

    /// Since when the connection is idle, and whether it has served more than one request.
    pub(in crate::proxy) fn idle_since(&self) -> Option<(Instant, bool)> {
        let state = self.lock();
        Some((state.idle_since?, state.exchanges > 1))
    }

    /// Closes the connection once it is idle.
    pub(in crate::proxy) fn give_up(&self) {
        let mut state = self.lock();
        state.is_given_up = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Whether the connection was given up and is idle. If not, the task is woken when it is.
    pub(in crate::proxy) fn is_over(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        if state.is_given_up && state.idle_since.is_some() {
            return true;
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// An exchange whose response has begun. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct AnsweredExchange {
    connection: ConnectionUse,
    number: u64,
}

impl Drop for AnsweredExchange {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        if state.exchanges != self.number || !state.is_answered {
            // The next one has begun: all of the body was received before it was read.
            return;
        }
        state.idle_since = Some(Instant::now());
        let reader = state.reader.take().filter(|_| state.is_given_up);
        drop(state);
        wake(reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(connection: &ConnectionUse) -> AnsweredExchange {
        connection.sending();
        connection.received();
        connection.clone().answered()
    }

    /// An interim response, or a part of a head, and content after it belong to one exchange.
    #[test]
    fn only_a_response_makes_the_next_request_that_of_a_kept_connection() {
        let connection = ConnectionUse::default();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
        connection.received();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
        drop(connection.clone().answered());
        connection.sending();
        assert!(connection.is_lost_while_idle());
        connection.received();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
    }

    #[test]
    fn a_connection_is_idle_after_the_last_of_its_exchanges() {
        let connection = ConnectionUse::default();
        let first = exchange(&connection);
        assert!(connection.idle_since().is_none());
        // Its body was received, but is not read yet.
        let second = exchange(&connection);
        drop(first);
        assert!(connection.idle_since().is_none());
        drop(second);
        assert!(connection.idle_since().is_some_and(|(_, served)| served));
        connection.sending();
        assert!(connection.idle_since().is_none());
    }

    #[test]
    fn a_connection_that_is_given_up_is_over_once_it_is_idle() {
        let connection = ConnectionUse::default();
        let mut cx = Context::from_waker(Waker::noop());
        let under_way = exchange(&connection);
        connection.give_up();
        assert!(!connection.is_over(&mut cx));
        drop(under_way);
        assert!(connection.is_over(&mut cx));
    }
}
