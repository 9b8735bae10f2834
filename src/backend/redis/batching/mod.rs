//! Lookups that share a round trip.
//!
//! Lookups that are waiting at the same time are sent as one `MGET`, and lookups of the same key
//! share one part of its reply. No lookup waits for company: while fewer batches are in flight than
//! there are connections, a task is made that sends it at once, with all that are added before this
//! task runs; otherwise it leaves with the next batch. That is sent when one in flight is answered,
//! or once it has waited for a millisecond, as it does over a slow network. A batch is bounded by
//! the bytes that are expected in its reply, and so are those in flight: see `window.rs`. A lookup
//! joins a batch only before that is sent, so that its reply is never older than the lookup.
//!
//! This module knows the connection pool and the protocol's keys and entries. It does not know what
//! a lookup is for. Start reading at [`LookupBatcher::lookup`].

mod batch;
mod pending;
mod permit;
mod promises;
mod reply;
mod sender;
mod sizes;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use self::reply::{EntryReply, LookupReply};
pub(crate) use self::sender::LookupBatcher;
