//! The replies that an operation has had so far, for its deadline.
//!
//! An operation that takes several round trips has its deadline for each of them. The backend knows
//! its replies, the guard knows the deadline; the operation is one future, so a count of its thread
//! is between them while it is polled. Knows nothing of either. Start with [`record_reply`].

use std::cell::Cell;

thread_local! {
    /// The replies to the operation that is being polled.
    static REPLIES: Cell<Replies> = const { Cell::new(Replies::NONE) };
}

/// What has happened to an operation during one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replies {
    /// The replies that have arrived.
    pub(crate) received: u32,
    /// The replies that are expected beside the next one, and whose arrival will not be seen.
    pub(crate) expected: u32,
}

impl Replies {
    pub(crate) const NONE: Self = Self {
        received: 0,
        expected: 0,
    };
}

/// Records that the operation that is being polled has had a reply.
#[cfg(any(test, feature = "redis"))]
pub(crate) fn record_reply() {
    let replies = REPLIES.get();
    REPLIES.set(Replies {
        received: replies.received.saturating_add(1),
        ..replies
    });
}

/// Records that the operation that is being polled waits for so many replies whose arrival will not
/// be seen, before one that will.
#[cfg(any(test, feature = "redis"))]
pub(crate) fn expect_replies(expected: u32) {
    let replies = REPLIES.get();
    REPLIES.set(Replies {
        expected: replies.expected.saturating_add(expected),
        ..replies
    });
}

/// Polls an operation, and returns the replies it has had meanwhile.
pub(crate) fn with_replies<T>(poll: impl FnOnce() -> T) -> (T, Replies) {
    REPLIES.set(Replies::NONE);
    let output = poll();
    (output, REPLIES.replace(Replies::NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: no operation has the replies of another one.
    #[test]
    fn replies_count_for_the_operation_that_is_polled() {
        record_reply();
        let two = || {
            record_reply();
            record_reply();
            expect_replies(1);
            "output"
        };
        let (received, expected) = (2, 1);
        let replies = Replies { received, expected };
        assert_eq!(with_replies(two), ("output", replies));
        assert_eq!(with_replies(|| ()), ((), Replies::NONE));
    }
}
