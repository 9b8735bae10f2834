//! The partition of a request: the responses that are stored for its client alone.
//!
//! A partition has an id, which the application makes of the request. A key of a partition is the
//! public key, extended by the id: both belong to one resource.

use std::sync::Arc;

use http::request;

use crate::config::Config;
use crate::key::{CacheKey, DigestSeed, KeyExtension};

/// The longest id, in bytes.
const MAX_ID_LENGTH: usize = 1024;

/// The partition that a request belongs to.
pub(crate) enum Partition {
    /// None: only public responses are stored.
    Public,
    /// None, because its id is too long.
    LongId,
    // Boxed: few requests have one, and every miss moves it.
    Of(Box<PartitionKey>),
}

/// The key that a request has in its partition.
pub(crate) struct PartitionKey {
    pub(crate) id: Box<[u8]>,
    /// A digest of the id.
    pub(crate) digest: u128,
    pub(crate) key: CacheKey,
    /// The full key.
    pub(crate) identity: Arc<[u8]>,
    /// The public key, once the request has entered its partition.
    pub(crate) public: Option<(CacheKey, Arc<[u8]>)>,
}

impl Partition {
    /// The partition of a request with this key, as the application says. An empty id is none.
    pub(crate) fn of_request(
        config: &Config,
        seed: &DigestSeed,
        request: &request::Parts,
        (key, identity): (&CacheKey, &[u8]),
    ) -> Self {
        let Some(by) = config
            .private_by
            .as_ref()
            .filter(|_| config.max_private_entries > 0)
        else {
            return Self::Public;
        };
        match by(request) {
            // Without an id nothing is stored for one client.
            Ok(None) | Err(_) => Self::Public,
            Ok(Some(id)) if id.is_empty() => Self::Public,
            Ok(Some(id)) if id.len() > MAX_ID_LENGTH => Self::LongId,
            Ok(Some(id)) => {
                let extension = KeyExtension::new("private", [&*id]);
                Self::Of(Box::new(PartitionKey {
                    digest: extension.digest(seed),
                    key: extension.extend_key(seed, key),
                    identity: extension.extend_identity(identity),
                    id: id.into(),
                    public: None,
                }))
            }
        }
    }
}
