//! The body of an entry: no other store touches it, and none is left without its entry.

use std::time::Duration;

use tower_response_cache::backend::{Backend, Lookup, PutOutcome, RedisBackend};

use crate::faults::world::options;
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::sample::{Sample, at};

const LENGTH: usize = 300_000;

pub fn long(byte: &str) -> &'static str {
    byte.repeat(LENGTH).leak()
}

fn backend(server: &RedisServer) -> RedisBackend {
    backend_at(&server.url())
}

fn backend_at(url: &str) -> RedisBackend {
    let long = Duration::from_secs(60);
    let options = options(url).namespace("test");
    options.connect_timeout(long).response_timeout(long).build()
}

/// The keys of entries, bodies and lists of variants.
async fn stored_names(server: &RedisServer) -> Vec<String> {
    server.names("test:[ebv]:*").await
}

async fn bodies(server: &RedisServer) -> Vec<String> {
    let mut names = stored_names(server).await;
    names.retain(|name| name.starts_with("test:b:"));
    names
}

/// The first byte of the body that another instance finds; `None` if it is no hit.
async fn found(backend: &RedisBackend, sample: &Sample) -> Option<u8> {
    let lookup = backend.get(&sample.key, at(0)).await.expect("a lookup");
    let Lookup::Found(response, _) = lookup else {
        return None;
    };
    let body = backend.read_body(&response, 0..LENGTH as u64).await;
    let body = body.expect("no failure")?;
    assert!(body.iter().all(|byte| *byte == body[0]), "torn");
    Some(body[0])
}

/// A fill from before a write, which comes late.
#[tokio::test]
async fn a_superseded_fill_leaves_the_valid_body_alone() {
    let server = RedisServer::start().await;
    let (one, other) = (backend(&server), backend(&server));
    let old = Sample::of(&one, "/a", long("a")).await;
    let new = Sample::of(&one, "/a", long("b")).await;
    let fence = old.fence(&one).await;
    new.invalidate(&other).await;
    new.store(&other).await;
    assert_eq!(found(&one, &new).await, Some(b'b'));
    assert_eq!(old.put(&one, &fence).await, PutOutcome::Superseded);
    assert_eq!(found(&other, &new).await, Some(b'b'));
    assert_eq!(bodies(&server).await.len(), 1, "the old body is gone");
}

/// Two fills at the same time: whichever is the last, its body is that of the entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_fills_leave_an_entry_with_its_body() {
    let server = RedisServer::start().await;
    let (one, other) = (backend(&server), backend(&server));
    let a = Sample::of(&one, "/a", long("a")).await;
    let b = Sample::of(&one, "/a", long("b")).await;
    for round in 0..40 {
        let (first, second) = (a.fence(&one).await, b.fence(&other).await);
        let outcomes = tokio::join!(a.put(&one, &first), b.put(&other, &second));
        assert_eq!(outcomes, (PutOutcome::Stored, PutOutcome::Stored));
        assert!(found(&one, &a).await.is_some(), "round {round}");
        assert_eq!(bodies(&server).await.len(), 1);
    }
}

/// The temporary name of a body is gone before its entry is stored.
#[tokio::test]
async fn a_put_repeated_after_a_lost_reply_keeps_its_body() {
    let server = RedisServer::start().await;
    let (one, other) = (backend(&server), backend(&server));
    let a = Sample::of(&one, "/a", long("a")).await;
    a.store(&one).await;
    server.command(&["SCRIPT", "FLUSH"]).await;
    a.store(&other).await;
    assert_eq!(found(&one, &a).await, Some(b'a'));
    assert_eq!(bodies(&server).await.len(), 1);
}

#[tokio::test]
async fn a_replaced_large_response_leaves_no_body() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of(&one, "/a", long("a")).await;
    let small = Sample::of(&one, "/a", "b").await;
    large.store(&one).await;
    let fence = small.fence(&one).await;
    assert_eq!(small.replace(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(bodies(&server).await, [""; 0]);
    assert_eq!(small.body(&one).await.as_deref(), Some("b"));
    small.invalidate(&one).await;
    assert_eq!(stored_names(&server).await, [""; 0]);
}

/// A fill, not a write.
#[tokio::test]
async fn a_small_response_stored_over_a_large_one_leaves_no_body() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of(&one, "/a", long("a")).await;
    let small = Sample::of(&one, "/a", "b").await;
    for _ in 0..2 {
        large.store(&one).await;
        assert_eq!(bodies(&server).await.len(), 1);
        small.store(&one).await;
        assert_eq!(bodies(&server).await, [""; 0]);
    }
    large.store(&one).await;
    assert_eq!(found(&one, &large).await, Some(b'a'));
    large.invalidate(&one).await;
    assert_eq!(stored_names(&server).await, [""; 0]);
}

/// Of a key that varies.
#[tokio::test]
async fn a_small_variant_stored_over_a_large_one_leaves_no_body() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of_variant(&one, "/a", "de", long("d")).await;
    let small = Sample::in_language(&one, "/a", "de").await;
    large.store(&one).await;
    assert_eq!(bodies(&server).await.len(), 1);
    small.store(&one).await;
    assert_eq!(bodies(&server).await, [""; 0]);
    let fence = large.fence(&one).await;
    assert_eq!(large.replace(&one, &fence).await, PutOutcome::Stored);
    until("its body is there", async || {
        found(&one, &large).await.is_some()
    })
    .await;
    let fence = small.fence(&one).await;
    assert_eq!(small.replace(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(bodies(&server).await, [""; 0]);
    small.invalidate(&one).await;
    assert_eq!(stored_names(&server).await, [""; 0]);
}

/// A body longer than this instance stores, of one that stores longer ones.
#[tokio::test]
async fn a_body_longer_than_the_largest_response_is_not_read() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of(&one, "/a", long("a")).await;
    large.store(&one).await;
    let options = options(&server.url()).namespace("test");
    let other = options.max_response_size(100_000).build();
    assert_eq!(found(&other, &large).await, None);
    assert_eq!(found(&one, &large).await, Some(b'a'));
}

/// The keys of entries: that of a rule is the shortest.
async fn entries(server: &RedisServer) -> Vec<String> {
    let mut names = server.names("test:e:*").await;
    names.sort_by_key(String::len);
    names
}

/// The rule is evicted, and the store that brings it back finds the old list of variants.
#[tokio::test]
async fn a_variant_stored_after_its_rule_was_evicted_keeps_its_body() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let de = Sample::of_variant(&one, "/a", "de", long("d")).await;
    let en = Sample::of_variant(&one, "/a", "en", long("e")).await;
    for is_other_rule in [false, true] {
        de.store(&one).await;
        en.store(&one).await;
        let rule = entries(&server).await.remove(0);
        match is_other_rule {
            true => server.command(&["SET", &rule, "another rule"]).await,
            false => server.command(&["DEL", &rule]).await,
        };
        de.store(&one).await;
        assert_eq!(found(&one, &de).await, Some(b'd'));
        assert_eq!(found(&one, &en).await, None, "it is older than the rule");
        assert_eq!(bodies(&server).await.len(), 1);
    }
    let small = Sample::in_language(&one, "/a", "de").await;
    let rule = entries(&server).await.remove(0);
    server.command(&["DEL", &rule]).await;
    small.store(&one).await;
    assert_eq!(bodies(&server).await, [""; 0]);
}

/// What the lease does not list is found all the same when it is replaced.
#[tokio::test]
async fn no_body_is_left_after_its_lease_was_evicted() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of(&one, "/a", long("a")).await;
    let small = Sample::of(&one, "/a", "b").await;
    for by_write in [false, true] {
        large.store(&one).await;
        let lease = server.names("test:l:*").await.remove(0);
        server.command(&["DEL", &lease]).await;
        let fence = small.fence(&one).await;
        let stored = match by_write {
            true => small.replace(&one, &fence).await,
            false => small.put(&one, &fence).await,
        };
        assert_eq!(stored, PutOutcome::Stored);
        assert_eq!(bodies(&server).await, [""; 0]);
        small.invalidate(&one).await;
        assert_eq!(stored_names(&server).await, [""; 0]);
    }
}

/// More queries than a lease lists.
#[tokio::test]
async fn a_ninth_query_leaves_no_body() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    for query in 0..8 {
        let path = format!("/a?q={query}");
        Sample::of(&one, &path, "s").await.store(&one).await;
    }
    let large = Sample::of(&one, "/a?q=9", long("a")).await;
    let small = Sample::of(&one, "/a?q=9", "b").await;
    large.store(&one).await;
    assert_eq!(bodies(&server).await.len(), 1);
    small.store(&one).await;
    assert_eq!(bodies(&server).await, [""; 0]);
    large.store(&one).await;
    let fence = small.fence(&one).await;
    assert_eq!(small.replace(&one, &fence).await, PutOutcome::Stored);
    assert_eq!(bodies(&server).await, [""; 0]);
}

/// An entry that is of no use is not looked at again.
#[tokio::test]
async fn an_entry_without_its_body_is_removed() {
    let server = RedisServer::start().await;
    let one = backend(&server);
    let large = Sample::of(&one, "/a", long("a")).await;
    for spoil in ["DEL", "UNLINK"] {
        large.store(&one).await;
        let body = bodies(&server).await.remove(0);
        server.command(&[spoil, &body]).await;
        assert_eq!(found(&one, &large).await, None);
        assert_eq!(entries(&server).await, [""; 0]);
    }
    // One whose body is damaged stays until it is replaced.
    large.store(&one).await;
    let body = bodies(&server).await.remove(0);
    server.command(&["SETRANGE", &body, "299999", "b"]).await;
    assert_eq!(found(&one, &large).await, None);
    assert_eq!(entries(&server).await.len(), 1);
    // Another one that has come meanwhile stays.
    large.store(&one).await;
    let lookup = one.get(&large.key, at(0)).await.expect("a lookup");
    let Lookup::Found(old, _) = lookup else {
        panic!("it is stored");
    };
    let other = Sample::of(&one, "/a", long("b")).await;
    other.store(&one).await;
    let read = one.read_body(&old, 0..LENGTH as u64).await;
    assert_eq!(read.expect("no failure"), None);
    assert_eq!(found(&one, &other).await, Some(b'b'));
}

/// The script has run, and its connection is lost before its reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_put_whose_reply_was_lost_is_stored() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let (one, other) = (backend_at(&tap.url()), backend(&server));
    let plain = Sample::of(&one, "/a", long("a")).await;
    let grouped = Sample::in_groups(&one, "/b", "\"g\"", long("b")).await;
    let varying = Sample::of_variant(&one, "/c", "de", long("c")).await;
    for sample in [plain, grouped, varying] {
        let fence = sample.fence(&one).await;
        let put = async { sample.put(&one, &fence).await };
        let disturb = async {
            // The reply comes this much later than what it tells of.
            tap.delay(Duration::from_millis(150));
            until("it is stored", async || {
                found(&other, &sample).await.is_some()
            })
            .await;
            tap.cut();
            tap.pass();
        };
        let (outcome, ()) = tokio::join!(put, disturb);
        assert_eq!(outcome, PutOutcome::Stored);
        assert!(found(&other, &sample).await.is_some());
    }
}
