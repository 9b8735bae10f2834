//! Write-through, which invalidates and stores in one step.

use tower_response_cache::backend::redis::RedisFence;
use tower_response_cache::backend::{Backend, PutOutcome, RedisBackend};

use crate::backend::{evict, instance};
use crate::support::redis::RedisServer;
use crate::support::sample::Sample;

async fn captured(backend: &RedisBackend, sample: &Sample) -> RedisFence {
    let fence = backend.fence(Some(sample.key.resource())).await;
    fence.expect("a fence").expect("a fence of a resource")
}

#[tokio::test]
async fn a_replacement_is_found_by_all_instances() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let old = Sample::of(&one, "/a?q=1", "old").await;
    old.store(&other).await;
    let new = Sample::of(&one, "/a", "new").await;
    let fence = captured(&one, &new).await;
    assert_eq!(new.replace(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(new.body(&other).await.as_deref(), Some("new"));
    assert_eq!(old.body(&other).await, None);
}

/// Two writes overlap: which of them the database has last is unknown.
#[tokio::test]
async fn the_second_of_two_that_overlap_only_invalidates() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let (first, second) = (
        Sample::of(&one, "/a", "first").await,
        Sample::of(&one, "/a", "second").await,
    );
    let (of_first, of_second) = (
        captured(&one, &first).await,
        captured(&other, &second).await,
    );
    assert_eq!(of_first, of_second, "no write lies between them");
    assert_eq!(first.replace(&one, &of_first).await, PutOutcome::Stored);
    assert_eq!(
        second.replace(&other, &of_second).await,
        PutOutcome::Superseded
    );
    assert_eq!(second.body(&one).await, None);
    // Late and repeated, both store nothing.
    assert_eq!(first.replace(&one, &of_first).await, PutOutcome::Superseded);
    assert_eq!(
        second.replace(&other, &of_second).await,
        PutOutcome::Superseded
    );
    assert_eq!(first.body(&other).await, None);
}

#[tokio::test]
async fn a_fence_of_before_a_remote_write_replaces_nothing() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "old").await;
    let fence = captured(&one, &sample).await;
    sample.invalidate(&other).await;
    let new = Sample::of(&one, "/a", "new").await;
    new.store(&other).await;
    assert_eq!(sample.replace(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(
        sample.body(&other).await,
        None,
        "it invalidates all the same"
    );
}

/// With the lease kept, a fill that has read the older version would store it over the newer one.
#[tokio::test]
async fn a_fill_that_shares_a_writes_lease_stores_nothing_after_it() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let (old, new) = (
        Sample::of(&one, "/a", "old").await,
        Sample::of(&one, "/a", "new").await,
    );
    let of_write = captured(&one, &new).await;
    let of_fill = old.fence(&other).await;
    assert_eq!(of_write, of_fill);
    assert_eq!(new.replace(&one, &of_write).await, PutOutcome::Stored);
    assert_eq!(old.put(&other, &of_fill).await, PutOutcome::Superseded);
    assert_eq!(new.body(&other).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_lease_evicted_under_a_write_only_costs_what_it_would_store() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    for kind in ["l", "n"] {
        let fence = captured(&one, &sample).await;
        assert_eq!(evict(&server, kind).await, 1);
        assert_eq!(sample.replace(&one, &fence).await, PutOutcome::Superseded);
        assert_eq!(sample.body(&other).await, None);
    }
}

/// A write's variant takes the place of all others, its rule with it.
#[tokio::test]
async fn a_variant_replaces_the_whole_resource() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let (german, french) = (
        Sample::in_language(&one, "/a", "de").await,
        Sample::in_language(&one, "/a", "fr").await,
    );
    german.store(&one).await;
    let fence = captured(&one, &french).await;
    assert_eq!(french.replace(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(french.body(&other).await.as_deref(), Some("fr"));
    assert_eq!(german.body(&other).await, None);
}

/// A write that does not know which resource its answer will name.
#[tokio::test]
async fn a_fence_of_whichever_resource_holds_until_that_is_written() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    let any = async || one.fence(None).await.expect("asked").expect("a fence");
    let (first, overlapped) = (any().await, any().await);
    assert_eq!(sample.replace(&one, &first).await, PutOutcome::Stored);
    assert_eq!(sample.body(&other).await.as_deref(), Some("a"));
    assert_eq!(
        sample.replace(&one, &overlapped).await,
        PutOutcome::Superseded
    );
    assert_eq!(sample.body(&other).await, None);
    let before = any().await;
    sample.invalidate(&other).await;
    assert_eq!(sample.replace(&one, &before).await, PutOutcome::Superseded);
    let before = any().await;
    other.clear().await.expect("acknowledged");
    assert_eq!(sample.replace(&one, &before).await, PutOutcome::Superseded);
    let before = any().await;
    assert!(evict(&server, "w").await > 0);
    assert_eq!(sample.replace(&one, &before).await, PutOutcome::Superseded);
    let before = any().await;
    sample.store(&other).await;
    assert_eq!(sample.replace(&one, &before).await, PutOutcome::Stored);
    assert_eq!(sample.body(&other).await.as_deref(), Some("a"));
}

/// A server that has no memory left, and evicts nothing: the write is acknowledged, and nothing old
/// is found.
#[tokio::test]
async fn a_replacement_on_a_full_server_invalidates() {
    let config = RedisServer::configure().max_memory("100mb", "noeviction");
    let server = config.start().await;
    let (one, other) = (instance(&server), instance(&server));
    let max_memory = async |bytes| server.command(&["CONFIG", "SET", "maxmemory", bytes]).await;
    let old = Sample::of(&one, "/a", "old").await;
    let new = [
        Sample::of(&one, "/a", "new").await,
        Sample::in_groups(&one, "/a", "\"g\"", "new").await,
        Sample::in_language(&one, "/a", "de").await,
        Sample::of(&one, "/a", "n".repeat(100_000).leak()).await,
    ];
    for (number, new) in new.iter().enumerate() {
        for is_stored in [false, true] {
            max_memory("0").await;
            if is_stored {
                old.store(&one).await;
            }
            let fence = captured(&one, new).await;
            if number == 1 {
                // The token of the group would have to be created.
                evict(&server, "g").await;
            }
            max_memory("1").await;
            // Whether it is stored, too, is up to Redis.
            let _ = new.replace(&one, &fence).await;
            max_memory("0").await;
            assert_ne!(old.body(&other).await.as_deref(), Some("old"));
            old.invalidate(&one).await;
        }
    }
}
