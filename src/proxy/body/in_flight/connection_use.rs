//! The exchanges of one connection to an upstream: whether it has served.
//!
//! ```text
//!  first write--> exchange --response's head--> answered
//!                    ^                             |
//!                    '---------next write----------'
//! ```
//!
//! Knows no sockets. The connection reports bytes that it sends and receives, the client the head
//! of a response.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        }
    }

    /// The head of a final response has arrived.
    pub(in crate::proxy) fn answered(&self) {
        self.lock().is_answered = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interim response, or a part of a head, and content after it belong to one exchange.
    #[test]
    fn only_a_response_makes_the_next_request_that_of_a_kept_connection() {
        let connection = ConnectionUse::default();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
        connection.received();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
        connection.answered();
        connection.sending();
        assert!(connection.is_lost_while_idle());
        connection.received();
        connection.sending();
        assert!(!connection.is_lost_while_idle());
    }
}
