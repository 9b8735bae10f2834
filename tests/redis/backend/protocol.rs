//! The shortest interleavings that break tempting shortcuts, one by one, on a real server: fills
//! and invalidations.

use std::time::Duration;

use tokio::time::sleep;
use tower_response_cache::backend::{Backend, PutOutcome};

use crate::backend::{begin, evict, instance, options};
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::sample::{Sample, at};

/// A fill's store comes after the invalidation that it should have come before.
#[tokio::test]
async fn a_late_put_is_refused() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let old = Sample::of(&one, "/a", "old").await;
    let fence = old.fence(&one).await;
    old.invalidate(&other).await;
    assert_eq!(old.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(old.body(&other).await, None);
    let new = Sample::of(&one, "/a", "new").await;
    new.store(&other).await;
    assert_eq!(old.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(new.body(&one).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_put_may_be_repeated_before_an_invalidation_and_not_after() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    let fence = sample.fence(&one).await;
    for _ in 0..2 {
        assert_eq!(sample.put(&one, &fence).await, PutOutcome::Stored);
        assert_eq!(sample.body(&other).await.as_deref(), Some("a"));
    }
    sample.invalidate(&other).await;
    for _ in 0..2 {
        assert_eq!(sample.put(&one, &fence).await, PutOutcome::Superseded);
        assert_eq!(sample.body(&other).await, None);
    }
}

/// The token is compared where the response is stored: nothing that was found out before counts.
#[tokio::test]
async fn an_invalidation_between_a_puts_own_steps_counts() {
    for forgets_scripts in [false, true] {
        let server = RedisServer::start().await;
        let tap = Tap::to(server.port()).await;
        let one = options(&tap.url(), "test").max_connections(1).build();
        let other = instance(&server);
        // Its body is stored before its entry.
        let large: &'static str = "a".repeat(100_000).leak();
        let sample = Sample::in_groups(&one, "/a", "\"group\"", large).await;
        sample.store(&one).await;
        let fence = sample.fence(&one).await;
        server.command(&["CONFIG", "RESETSTAT"]).await;
        tap.hold_replies();
        let mut put = Box::pin(sample.put(&one, &fence));
        assert!(!begin(&mut put).await);
        let is_sent = async || server.calls("set").await == 1;
        until("its body is stored", is_sent).await;
        sample.invalidate(&other).await;
        if forgets_scripts {
            server.command(&["SCRIPT", "FLUSH"]).await;
        }
        tap.pass();
        assert_eq!(put.await, PutOutcome::Superseded);
        assert_eq!(sample.body(&other).await, None);
    }
}

/// A put that stood still somewhere while its resource was invalidated.
#[tokio::test]
async fn a_process_that_was_paused_stores_nothing_old() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    for polls in 0..6 {
        let fence = sample.fence(&one).await;
        let mut put = Box::pin(sample.put(&one, &fence));
        let mut has_ended = false;
        for _ in 0..polls {
            has_ended = has_ended || begin(&mut put).await;
            sleep(Duration::from_millis(5)).await;
        }
        sample.invalidate(&other).await;
        if !has_ended {
            let _ = put.await;
        }
        assert_eq!(sample.body(&other).await, None, "after {polls} polls");
    }
}

/// A lost lease, by eviction or otherwise, invalidates the responses stored under it and the fences
/// taken from it.
#[tokio::test]
async fn an_evicted_lease_is_a_miss_and_never_comes_back() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "old").await;
    sample.store(&one).await;
    let fence = sample.fence(&one).await;
    assert_eq!(evict(&server, "l").await, 1);
    assert_eq!(sample.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(sample.body(&other).await, None);
    let next = sample.fence(&other).await;
    assert_ne!(next, fence);
    assert_eq!(
        sample.body(&one).await,
        None,
        "under the next lease neither"
    );
    assert_eq!(sample.put(&one, &fence).await, PutOutcome::Superseded);
    // A write that can no longer be noticed, because its lease is gone, too.
    sample.invalidate(&other).await;
    assert_eq!(evict(&server, "l").await, 0);
    assert_eq!(sample.put(&one, &next).await, PutOutcome::Superseded);
    assert_eq!(sample.body(&one).await, None);
}

#[tokio::test]
async fn an_evicted_epoch_is_a_miss_and_never_comes_back() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "old").await;
    sample.store(&one).await;
    let fence = sample.fence(&one).await;
    assert_eq!(evict(&server, "n").await, 1);
    assert_eq!(sample.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(sample.body(&other).await, None);
    assert_eq!(
        sample.body(&one).await,
        None,
        "under the next epoch neither"
    );
    assert_eq!(sample.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(evict(&server, "n").await, 1, "there is a next one");
    sample.store(&other).await;
    assert_eq!(sample.body(&one).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn an_evicted_entry_is_a_miss_and_its_fence_holds() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    sample.store(&one).await;
    assert_eq!(evict(&server, "e").await, 1);
    assert_eq!(sample.body(&other).await, None);
    let fence = sample.fence(&other).await;
    assert_eq!(sample.put(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(sample.body(&other).await.as_deref(), Some("a"));
}

/// What cannot be reached any more comes back under no later lease, although Redis still holds it.
#[tokio::test]
async fn an_entry_counts_under_its_own_token_only() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let german = Sample::in_language(&one, "/a", "de").await;
    let plain = Sample::of(&one, "/a?q=1", "old").await;
    german.store(&one).await;
    plain.store(&one).await;
    assert_eq!(evict(&server, "l").await, 1);
    let french = Sample::in_language(&one, "/a", "fr").await;
    french.store(&one).await;
    // Three responses, a rule, the names of the variants, and three tokens.
    assert_eq!(server.command(&["DBSIZE"]).await.integer(), 8);
    for old in [&german, &plain] {
        assert_eq!(old.body(&one).await, None);
        assert_eq!(old.body(&other).await, None);
    }
    assert_eq!(french.body(&other).await.as_deref(), Some("fr"));
}

#[tokio::test]
async fn a_clear_by_another_instance_breaks_every_fence() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let (a, b) = (
        Sample::of(&one, "/a", "a").await,
        Sample::of(&one, "/b", "b").await,
    );
    a.store(&one).await;
    let fences = [a.fence(&one).await, b.fence(&one).await];
    let written = one.fence(Some(b.key.resource())).await.expect("a fence");
    other.clear().await.expect("acknowledged");
    assert_eq!(a.body(&one).await, None);
    assert_eq!(a.put(&one, &fences[0]).await, PutOutcome::Superseded);
    assert_eq!(b.put(&one, &fences[1]).await, PutOutcome::Superseded);
    let written = written.expect("a fence");
    assert_eq!(b.replace(&one, &written).await, PutOutcome::Superseded);
    for sample in [a, b] {
        assert_eq!(sample.body(&one).await, None);
        sample.store(&one).await;
        assert!(sample.body(&other).await.is_some());
    }
}

/// It is refused before anything is sent.
#[tokio::test]
async fn a_response_too_large_is_not_stored_and_still_invalidates() {
    let server = RedisServer::start().await;
    let small = options(&server.url(), "test").max_response_size(10).build();
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    sample.store(&backend).await;
    let fence = sample.fence(&small).await;
    let put = small.put(&sample.key, fence.clone(), sample.response.clone(), at(0));
    assert_eq!(put.await.expect("a put"), PutOutcome::TooLarge);
    assert_eq!(sample.body(&backend).await.as_deref(), Some("a"));
    assert_eq!(sample.replace(&small, &fence).await, PutOutcome::TooLarge);
    assert_eq!(sample.body(&backend).await, None);
}

/// A restarted server may lack acknowledged writes: its data is not used.
#[tokio::test]
async fn entries_of_a_restarted_server_are_misses() {
    let mut server = RedisServer::configure().append_only().start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "old").await;
    sample.store(&backend).await;
    let fence = sample.fence(&backend).await;
    server.restart().await;
    assert_eq!(server.command(&["DBSIZE"]).await.integer(), 4);
    for backend in [&backend, &instance(&server)] {
        assert_eq!(sample.body(backend).await, None);
        assert_eq!(sample.put(backend, &fence).await, PutOutcome::Superseded);
        assert_eq!(
            sample.replace(backend, &fence).await,
            PutOutcome::Superseded
        );
    }
    sample.store(&backend).await;
    let trusting = options(&server.url(), "trusting")
        .trust_restarts(true)
        .build();
    let kept = Sample::of(&trusting, "/a", "kept").await;
    kept.store(&trusting).await;
    server.restart().await;
    assert_eq!(kept.body(&trusting).await.as_deref(), Some("kept"));
}

/// The token of one resource is none of another, wherever it is put.
#[tokio::test]
async fn a_lease_in_the_wrong_place_is_none() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let (a, b) = (
        Sample::of(&backend, "/a", "a").await,
        Sample::of(&backend, "/b", "b").await,
    );
    a.store(&backend).await;
    b.store(&backend).await;
    let names = async |kind: &str| {
        let mut names = server.names(&format!("test:{kind}:*")).await;
        names.sort();
        names
    };
    for kind in ["l", "e"] {
        let names = names(kind).await;
        let copy = ["COPY", &names[0], &names[1], "REPLACE"];
        assert_eq!(server.command(&copy).await.integer(), 1);
    }
    let found = [a.body(&backend).await, b.body(&backend).await];
    let found = found.map(Option::unwrap_or_default);
    assert!(found == ["a", ""] || found == ["", "b"], "{found:?}");
}
