//! Tests of what only the inside of a memory backend shows: collisions, sizes, expiry.

mod expirations;
mod histories;
mod invalidations;
mod room;
mod sizes;
mod slots;
mod variants;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::*;
use crate::backend::Group;
use crate::key::{KeyParts, Sites};
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::VarySelection;

fn key(backend: &MemoryBackend, path: &str) -> CacheKey {
    let (request, ()) = Request::new(()).into_parts();
    let parts =
        KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path(path.to_owned());
    CacheKey::new(&backend.seed(), "", Sites::One, &parts)
}

/// Keys of one resource: plain, with a query, on another host, in another spelling.
fn siblings(backend: &MemoryBackend) -> [CacheKey; 4] {
    let (request, ()) = Request::new(()).into_parts();
    let base = || KeyParts::from_request(&request, Cow::Borrowed("test.example")).with_path("/a");
    let all = [
        base(),
        base().with_query(Some("q")),
        base().with_authority("other.example"),
        base().with_path("//a").with_scheme("https"),
    ];
    all.map(|parts| CacheKey::new(&backend.seed(), "", Sites::One, &parts))
}

fn put(backend: &MemoryBackend, key: &CacheKey, received: u64) {
    let fence = backend.0.fences.capture();
    let put = backend.0.put(key, fence, response(1, received, 60));
    assert_eq!(put, PutOutcome::Stored);
}

fn response(length: usize, received: u64, lifetime: u64) -> Arc<StoredResponse> {
    response_in(&[], length, received, lifetime)
}

fn response_in(
    groups: &[Group],
    length: usize,
    received: u64,
    lifetime: u64,
) -> Arc<StoredResponse> {
    stored(None, groups, length, received, lifetime)
}

fn stored(
    selected: Option<VarySelection>,
    groups: &[Group],
    length: usize,
    received: u64,
    lifetime: u64,
) -> Arc<StoredResponse> {
    let received = Duration::from_secs(received);
    let grant = StoragePolicy {
        freshness: Freshness {
            received: Moment::new(received, SystemTime::UNIX_EPOCH + received),
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(lifetime)),
            stale: Staleness::default(),
            immutable: false,
        },
        selected,
        groups: groups.into(),
        withheld: Box::default(),
    };
    let head = StoredHead::new(Arc::default(), StatusCode::OK, &HeaderMap::new(), grant);
    Arc::new(head.with_body(Bytes::from(vec![0; length]), None, Duration::ZERO))
}

fn is_found(backend: &MemoryBackend, key: &CacheKey) -> bool {
    matches!(backend.0.get(key), Lookup::Found(..))
}
