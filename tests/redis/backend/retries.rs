//! Commands that are retried, and commands that must not be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tower_response_cache::backend::{Backend, Guarded, InvalidationTarget, Lookup};

use crate::backend::{begin, instance, options};
use crate::support::redis::{FakeRedis, PATIENCE, RedisServer, Reply, Said, Tap, until};
use crate::support::sample::{Sample, at};

/// A token that was offered may have been taken, and taken away by a write, before it is known that
/// the connection broke: sent again it would come back, and with it the responses filled under it.
#[tokio::test]
async fn a_token_is_offered_once() {
    let calls = AtomicUsize::new(0);
    let fake = FakeRedis::start(move |asked: Vec<Vec<u8>>| match &*asked[0] {
        b"MGET" => Reply::Array(vec![Reply::Nil; asked.len() - 1]).into(),
        // Each is carried out, and the first reply is lost.
        b"EVALSHA" if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
            Said::LastBytes(Vec::new())
        }
        b"EVALSHA" if asked[2] == b"64" => {
            let token = |place: u8| {
                let mut token = asked[67].clone();
                token.pop();
                token.push(place);
                Reply::Bulk(token)
            };
            Reply::Array((1..=64).map(token).collect()).into()
        }
        b"EVALSHA" => Reply::Bulk(asked[4].clone()).into(),
        _ => Said::AsUsual,
    })
    .await;
    let backend = options(&fake.url(), "test").build();
    let sample = Sample::of(&backend, "/a", "a").await;
    let found = backend.get(&sample.key, at(0)).await;
    assert!(matches!(found, Ok(Lookup::Miss(_))), "{found:?}");
    let fence = backend.fence(None).await;
    assert!(matches!(fence, Ok(Some(_))), "{fence:?}");
    let commands = fake.commands();
    let scripts = commands.iter().filter(|asked| asked[0] == b"EVALSHA");
    // Behind the script, the number of keys, and the keys.
    let first_argument = |asked: &Vec<Vec<u8>>| {
        let keys = String::from_utf8_lossy(&asked[2]).parse::<usize>();
        3 + keys.expect("a number")
    };
    let offered: Vec<_> = scripts.map(|asked| &asked[first_argument(asked)]).collect();
    let different: BTreeSet<_> = offered.iter().collect();
    // The namespace's and that of all groups for the lookup and for the fence, the resource's, that
    // of all stripes: each twice.
    assert_eq!((offered.len(), different.len()), (12, 12));
}

/// One after another, each as soon as the one before is answered, which is when its caller leaves.
#[test]
fn no_lookup_is_forgotten() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = RedisServer::start().await;
        let backend = options(&server.url(), "test").max_connections(1).build();
        let sample = Sample::of(&backend, "/a", "a").await;
        for number in 0..20_000 {
            let lookup = timeout(PATIENCE, backend.get(&sample.key, at(0))).await;
            let found = lookup.unwrap_or_else(|_| panic!("forgotten: {number}"));
            assert!(found.is_ok(), "{found:?}");
        }
    });
}

/// A connection that cannot be made is no reason to try for each request, while there is another
/// one.
#[tokio::test]
async fn one_connection_that_fails_makes_no_storm() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let backend = options(&tap.url(), "test").max_connections(2).build();
    backend.connect().await.expect("it is there");
    server
        .command(&["CONFIG", "SET", "requirepass", "new"])
        .await;
    let sample = Sample::of(&backend, "/a", "a").await;
    for _ in 0..2000 {
        backend.get(&sample.key, at(0)).await.expect("one is open");
    }
    assert!(tap.accepted() < 40, "{}", tap.accepted());
}

/// An error of a command does not break its connection.
#[tokio::test]
async fn an_error_costs_no_connection() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let backend = options(&tap.url(), "test").max_connections(1).build();
    let sample = Sample::of(&instance(&server), "/a", "a").await;
    sample.store(&instance(&server)).await;
    backend.connect().await.expect("a connection");
    let rule = ["ACL", "SETUSER", "default", "-unlink"];
    server.command(&rule).await;
    for _ in 0..10 {
        assert!(backend.clear().await.is_err());
        assert!(sample.body(&backend).await.is_some());
    }
    assert_eq!(tap.accepted(), 1);
}

/// After an idle time a connection is checked for the identity of its server before its replies are
/// used.
#[tokio::test]
async fn an_idle_connection_is_not_trusted() {
    let server = RedisServer::start().await;
    let other = RedisServer::configure().replica_of(&server).start().await;
    // With its first replica a server becomes another one: its data have a new name.
    other.follows().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    sample.store(&backend).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let to = other.port().to_string();
    other.command(&["REPLICAOF", "NO", "ONE"]).await;
    server.command(&["REPLICAOF", "127.0.0.1", &to]).await;
    let found = backend.get(&sample.key, at(0)).await;
    assert!(found.is_err(), "a replica's word: {found:?}");
}

/// Also where all callers have shorter deadlines than it takes to notice that it is dead.
#[tokio::test]
async fn an_idle_connection_that_died_is_given_up() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let redis = options(&tap.url(), "test").max_connections(1);
    let redis = redis.response_timeout(Duration::from_secs(3)).build();
    let sample = Sample::of(&redis, "/a", "a").await;
    let guarded = Guarded::new(redis)
        .lookup_deadline(PATIENCE)
        .store_deadline(PATIENCE)
        .invalidation_deadline(Duration::from_millis(100));
    sample.store(&guarded).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    tap.strand();
    let target = InvalidationTarget::Resource(*sample.key.resource());
    until("another one is used", async || {
        guarded.invalidate(&target).await.is_ok()
    })
    .await;
}

/// A reply that is lost on a connection that goes on shifts all later ones. That of another script
/// does not acknowledge an invalidation that the server has refused, because it had forgotten the
/// script.
#[tokio::test]
async fn a_reply_to_another_command_acknowledges_no_invalidation() {
    for is_replaced in [false, true] {
        let server = RedisServer::start().await;
        let tap = Tap::to(server.port()).await;
        let one = options(&tap.url(), "test").max_connections(1).build();
        let other = instance(&server);
        let (a, b) = (
            Sample::of(&one, "/a", "a").await,
            Sample::of(&one, "/b", "b").await,
        );
        let new = Sample::of(&one, "/a", "new").await;
        a.store(&one).await;
        let of_a = one.fence(Some(a.key.resource())).await.expect("a fence");
        let (of_a, of_b) = (of_a.expect("a fence"), b.fence(&one).await);
        server.command(&["SCRIPT", "FLUSH"]).await;
        // The server knows the script that stores again, and no other.
        Sample::of(&other, "/c", "c").await.store(&other).await;
        server.command(&["CONFIG", "RESETSTAT"]).await;
        tap.lose_replies();
        let lost = async { one.get(&a.key, at(0)).await };
        let mut lost = Box::pin(lost);
        assert!(!begin(&mut lost).await);
        let asked = async || server.calls("mget").await == 1;
        until("it was asked", asked).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(lost);
        tap.pass();
        let target = InvalidationTarget::Resource(*a.key.resource());
        let invalidation = async {
            match is_replaced {
                false => one.invalidate(&target).await.is_ok(),
                true => {
                    let replaced = one.replace(&a.key, of_a, new.response.clone(), at(0));
                    replaced.await.is_ok()
                }
            }
        };
        let mut invalidation = Box::pin(invalidation);
        assert!(!begin(&mut invalidation).await);
        let refused = async || server.calls("evalsha").await == 1;
        until("it was refused", refused).await;
        let put = b.put(&one, &of_b);
        let (is_acknowledged, _) = tokio::join!(invalidation, async {
            timeout(Duration::from_secs(1), put).await.ok()
        });
        let found = a.body(&other).await;
        let is_old = found.as_deref() == Some("a");
        assert!(!(is_acknowledged && is_old), "replaced: {is_replaced}");
    }
}
