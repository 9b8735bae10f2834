//! Lookups that share a round trip.
//!
//! Lookups that are waiting at the same time are sent as one `MGET`, and lookups of the same key
//! share one part of its reply. No lookup waits for company: while fewer batches are in flight than
//! there are connections, it is sent at once; otherwise it leaves with the next batch. That is sent
//! when one in flight is answered, or with the next lookup once it has waited for a millisecond, as
//! it does over a slow network. A lookup joins a batch only before that is sent, so that its reply
//! is never older than the lookup.
//!
//! This module knows the connection pool and the protocol's keys and entries. It does not know what
//! a lookup is for. Start reading at [`LookupBatcher::lookup`].

mod batch;
mod reply;
mod sender;

pub(crate) use self::reply::{EntryReply, LookupReply};
pub(crate) use self::sender::LookupBatcher;
