//! The identity of a Redis server.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// A digest of which server a connection has reached, in which run and with which data.
///
/// It is part of every token, so that the tokens of a server that was restarted, restored or
/// promoted no longer count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerIdentity([u8; 16]);

impl ServerIdentity {
    /// Creates the identity from `run_id` and `master_replid` of `INFO`.
    ///
    /// A restart changes the first, a failover the second.
    pub(crate) fn new(run_id: &str, replication_id: &str) -> Self {
        let mut hasher = SipHasher13::new();
        for part in [run_id, replication_id] {
            hasher.write_u64((part.len() as u64).to_le());
            hasher.write(part.as_bytes());
        }
        Self(hasher.finish128().as_bytes())
    }

    /// Returns the identity that stands for any server, for
    /// [`trust_restarts`](crate::backend::redis::RedisOptions::trust_restarts).
    pub(crate) const fn any() -> Self {
        Self([0; 16])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
