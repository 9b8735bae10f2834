//! The key of a read, in its partition and outside of it.

use std::sync::Arc;

use http::{HeaderMap, Method, request};

use crate::key::canonical::cookies::CookieLines;
use crate::key::{CacheKey, DigestSeed, KeyExtension};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::request_kind::{CredentialFields, RequestKind};
use crate::service::compress::Demand;

use super::partition::{Partition, PartitionKey};
use super::preconditions::Preconditions;

/// The key and directives of a read.
pub(crate) struct RequestKey {
    pub(crate) key: CacheKey,
    /// The full key, of which `key` holds the digest.
    pub(crate) identity: Arc<[u8]>,
    pub(crate) directives: RequestDirectives,
    /// The partition of its client.
    pub(crate) partition: Partition,
    /// Whether credentials and cookies are in the key.
    pub(super) has_credentials: bool,
    pub(super) is_selective: bool,
    /// That the request may not be sent in the form of its key, because a hook has panicked.
    // Boxed: next to no request is one.
    pub(super) unsendable: Option<Box<Unsendable>>,
    /// The form of a response that the request gets; `None` if nothing is coded.
    pub(crate) demand: Option<Arc<Demand>>,
}

/// A request that goes to the inner service past the cache, if it goes there.
pub(super) struct Unsendable {
    /// Its own cookies, without those that are ignored taken off.
    cookies: Option<CookieLines>,
}

impl RequestKey {
    /// Notes that the request cannot be sent in the form of its key. If it bypasses the cache, it
    /// gets its own `cookies` back.
    #[cold]
    pub(crate) fn note_unsendable(&mut self, cookies: Option<CookieLines>) {
        self.unsendable = Some(Box::new(Unsendable { cookies }));
    }

    /// Whether the request can be sent in the form of its key.
    pub(crate) fn can_be_sent(&self) -> bool {
        self.unsendable.is_none()
    }

    /// The cookies that a request gets back, if it cannot be sent in the form of its key.
    pub(crate) fn into_own_cookies(self) -> Option<CookieLines> {
        self.unsendable?.cookies
    }

    /// What a request with this key and these header fields carries that is in no part of the key.
    pub(crate) fn kind(&self, fields: &CredentialFields, headers: &HeaderMap) -> RequestKind {
        match self.has_credentials {
            true => RequestKind::Plain,
            false => fields.kind_of(headers),
        }
    }

    /// The conditions and ranges of the request, if its fields may have any.
    pub(crate) fn preconditions<'p>(&self, request: &'p request::Parts) -> Preconditions<'p> {
        self.preconditions_of(&request.method, &request.headers)
    }

    /// The conditions and ranges of the request with this method and these fields.
    pub(crate) fn preconditions_of<'p>(
        &self,
        method: &'p Method,
        headers: &'p HeaderMap,
    ) -> Preconditions<'p> {
        Preconditions::new(method, headers, self.is_selective)
    }

    /// Extends the key by the content of the request, in its partition, too.
    pub(crate) fn extend(&mut self, seed: &DigestSeed, by: &KeyExtension) {
        self.key = by.extend_key(seed, &self.key);
        self.identity = by.extend_identity(&self.identity);
        if let Partition::Of(partition) = &mut self.partition {
            partition.key = by.extend_key(seed, &partition.key);
            partition.identity = by.extend_identity(&partition.identity);
        }
    }

    /// The key in the partition of the request, if it has one.
    pub(crate) fn partition_key(&self) -> Option<&PartitionKey> {
        match &self.partition {
            Partition::Of(partition) => Some(partition),
            Partition::Public | Partition::LongId => None,
        }
    }

    /// Whether the request has a partition that it has not entered.
    pub(crate) fn can_enter_partition(&self) -> bool {
        self.partition_key()
            .is_some_and(|partition| partition.public.is_none())
    }

    /// Whether the request has entered its partition.
    pub(crate) fn is_in_partition(&self) -> bool {
        self.partition_key()
            .is_some_and(|partition| partition.public.is_some())
    }

    /// The key, unless the request has entered its partition.
    pub(crate) fn public_key(&self) -> Option<&CacheKey> {
        (!self.is_in_partition()).then_some(&self.key)
    }

    /// Makes the key in the partition the one by which the request looks up, joins flights and
    /// fetches.
    pub(crate) fn enter_partition(&mut self) {
        if let Partition::Of(partition) = &mut self.partition
            && partition.public.is_none()
        {
            let key = std::mem::replace(&mut self.key, partition.key);
            let identity = std::mem::replace(&mut self.identity, partition.identity.clone());
            partition.public = Some((key, identity));
        }
    }

    /// Makes the public key the one of the request again.
    pub(crate) fn leave_partition(&mut self) {
        if let Partition::Of(partition) = &mut self.partition
            && let Some((key, identity)) = partition.public.take()
        {
            (self.key, self.identity) = (key, identity);
        }
    }

    /// The place of a response: in the partition if it is for the client alone, else the public
    /// one.
    pub(crate) fn target(&self, is_private: bool) -> StoredUnder {
        let partition = self.partition_key();
        let (key, identity) = match partition {
            Some(partition) if is_private => (partition.key, &partition.identity),
            Some(PartitionKey {
                public: Some((key, identity)),
                ..
            }) => (*key, identity),
            _ => (self.key, &self.identity),
        };
        StoredUnder {
            key,
            identity: identity.clone(),
            partition: partition.filter(|_| is_private).map(|own| own.digest),
            is_own: !is_private || self.is_in_partition(),
        }
    }
}

/// The key that a response is stored under.
pub(crate) struct StoredUnder {
    pub(crate) key: CacheKey,
    /// The full key.
    pub(crate) identity: Arc<[u8]>,
    /// The digest of the partition, if it is in one.
    pub(crate) partition: Option<u128>,
    /// Whether it is stored for all that may join the flight of its call: for one client if the
    /// request has entered its partition, or else for all.
    pub(crate) is_own: bool,
}
