//! The response head that the followers of a fill share.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, response};

use crate::semantics::fields::hop_by_hop;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::CredentialFields;
use crate::semantics::storing::{StoragePolicy, StoringRules};

/// The head of a response that is being stored, and what decides who may share it.
#[derive(Debug)]
pub(crate) struct SharedHead {
    pub(crate) status: StatusCode,
    /// The fields without those of one connection.
    pub(crate) headers: HeaderMap,
    /// The full cache key of the request that fetched it.
    pub(crate) identity: Arc<[u8]>,
    pub(crate) grant: StoragePolicy,
    /// The rules that the response was judged by.
    pub(crate) rules: StoringRules,
    /// The credential fields that the response was judged by.
    pub(crate) credential_fields: CredentialFields,
    /// When the inner service was called.
    pub(crate) called: Moment,
    /// The announced length of the body, in bytes.
    pub(crate) length: Option<u64>,
}

impl SharedHead {
    /// The fields of a head that followers may have: none of one connection, none that the
    /// response withholds from shared caches.
    pub(crate) fn shareable_headers(head: &response::Parts, grant: &StoragePolicy) -> HeaderMap {
        let mut headers = head.headers.clone();
        hop_by_hop::remove(&mut headers);
        for name in &grant.withheld {
            headers.remove(name);
        }
        headers
    }
}
