//! The bytes that a backend says it has transferred: those of responses, in both directions.

use std::ops::Range;

use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Backend, Lookup, PutOutcome};

use super::bodies::long;
use crate::support::redis::RedisServer;
use crate::support::sample::{Sample, at};

/// Promise: lookups, stores and transfers of bodies count, so that a `Guarded` knows a busy network.
#[tokio::test]
async fn transferred_responses_are_counted() {
    let server = RedisServer::start().await;
    let options = RedisOptions::new(&server.url()).expect("a URL");
    let backend = options.namespace("test").build();
    let small = Sample::of(&backend, "/small", "s".repeat(20_000).leak()).await;
    let large = Sample::of(&backend, "/large", long("l")).await;
    let mut before = backend.transferred_bytes();
    let mut assert_counted = |expected: Range<u64>| {
        let counted = backend.transferred_bytes() - before;
        assert!(expected.contains(&counted), "{counted} of {expected:?}");
        before += counted;
    };
    small.store(&backend).await;
    assert_counted(20_000..21_000);
    assert!(small.body(&backend).await.is_some());
    assert_counted(20_000..21_000);
    large.store(&backend).await;
    assert_counted(300_000..302_000);
    let lookup = backend.get(&large.key, at(0)).await.expect("a lookup");
    let Lookup::Found(response, _) = lookup else {
        panic!("{lookup:?}");
    };
    assert_counted(300..2000);
    let read = backend.read_body(&response, 10..20).await;
    assert_eq!(
        read.expect("no failure").as_deref(),
        Some(&b"llllllllll"[..])
    );
    assert_counted(8192..8193);
    let fence = large.fence(&backend).await;
    assert_eq!(large.replace(&backend, &fence).await, PutOutcome::Stored);
    backend.drain().await;
    assert_counted(300_000..304_000);
}
