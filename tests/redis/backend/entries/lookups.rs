//! What a lookup costs, and what those that are on their way at the same time share.

use std::pin::Pin;

use tower_response_cache::backend::redis::RedisFence;
use tower_response_cache::backend::{Backend, Lookup, RedisBackend};

use crate::backend::{begin, instance, options};
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::sample::{Sample, at};

/// How often the server was asked to look up, to store, and to run a script.
async fn asked(server: &RedisServer) -> (u64, u64, u64) {
    let scripts = server.calls("evalsha").await + server.calls("eval").await;
    (
        server.calls("mget").await,
        server.calls("get").await,
        scripts,
    )
}

#[tokio::test]
async fn a_plain_hit_is_one_round_trip_and_a_variants_two() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let plain = Sample::of(&backend, "/plain", "a").await;
    let german = Sample::in_language(&backend, "/varies", "de").await;
    plain.store(&backend).await;
    german.store(&backend).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    assert_eq!(plain.body(&backend).await.as_deref(), Some("a"));
    assert_eq!(asked(&server).await, (1, 0, 0));
    let primary = german.key.primary();
    let rule = match backend.get(&primary, at(0)).await {
        Ok(Lookup::Varies(rule, _)) => rule,
        other => panic!("its rule, not {other:?}"),
    };
    let asks = http::HeaderMap::from_iter([(
        http::header::ACCEPT_LANGUAGE,
        http::HeaderValue::from_static("de"),
    )]);
    assert_eq!(
        primary.variant_for(&backend.seed(), &rule, &asks),
        german.key
    );
    assert_eq!(german.body(&backend).await.as_deref(), Some("de"));
    assert_eq!(asked(&server).await, (3, 0, 0));
}

#[tokio::test]
async fn a_miss_under_a_lease_is_one_round_trip_too() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    sample.fence(&backend).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    assert_eq!(sample.body(&backend).await, None);
    assert_eq!(asked(&server).await, (1, 0, 0));
}

type Looking<'l> = Pin<Box<dyn Future<Output = Lookup<RedisFence>> + 'l>>;

/// A lookup that has begun.
async fn looking<'l>(backend: &'l RedisBackend, sample: &'l Sample) -> Looking<'l> {
    looking_at(backend, sample, 0).await
}

/// A lookup that has begun after so many seconds.
async fn looking_at<'l>(
    backend: &'l RedisBackend,
    sample: &'l Sample,
    seconds: u64,
) -> Looking<'l> {
    let lookup = async move {
        let lookup = backend.get(&sample.key, at(seconds)).await;
        lookup.expect("a lookup")
    };
    let mut lookup: Looking<'l> = Box::pin(lookup);
    assert!(!begin(&mut lookup).await);
    lookup
}

fn is_found(lookup: &Lookup<RedisFence>) -> bool {
    matches!(lookup, Lookup::Found(..))
}

/// A reply that is on its way when a lookup begins is older than the lookup: whatever was
/// acknowledged between the two is not in it. Lookups that arrive meanwhile share the next batch.
#[tokio::test]
async fn a_lookup_takes_no_reply_to_a_command_sent_before_it_began() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = options(&tap.url(), "test").max_connections(1).build();
    let other = options(&server.url(), "test").max_connections(1).build();
    other.connect().await.expect("a connection");
    let (a, b) = (
        Sample::of(&one, "/a", "a").await,
        Sample::of(&one, "/b", "b").await,
    );
    a.store(&one).await;
    b.store(&one).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    tap.hold_replies();
    let early = looking(&one, &a).await;
    until("it was asked for", async || server.calls("mget").await == 1).await;
    a.invalidate(&other).await;
    let mut late = Vec::new();
    for _ in 0..10 {
        late.push(looking(&one, &a).await);
    }
    let beside = looking(&one, &b).await;
    tap.pass();
    assert!(is_found(&early.await), "it was there when this one began");
    for late in late {
        assert!(!is_found(&late.await), "it was gone when this one began");
    }
    assert!(is_found(&beside.await));
    // The script that invalidates reads, too.
    assert_eq!(server.calls("mget").await, 3, "one for all who came late");
}

/// Over a slow network lookups do not wait for the replies to earlier ones.
#[tokio::test]
async fn lookups_that_have_waited_are_sent_beside_those_in_flight() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = options(&tap.url(), "test").max_connections(1).build();
    let (a, b) = (
        Sample::of(&one, "/a", "a").await,
        Sample::of(&one, "/b", "b").await,
    );
    a.store(&one).await;
    b.store(&one).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    tap.hold_replies();
    let asked = async |times| {
        until("it was asked", async || server.calls("mget").await == times).await;
    };
    let first = looking(&one, &a).await;
    asked(1).await;
    let second = looking(&one, &a).await;
    let third = looking_at(&one, &b, 1).await;
    asked(2).await;
    tap.pass();
    for lookup in [first, second, third] {
        assert!(is_found(&lookup.await));
    }
    assert_eq!(server.calls("mget").await, 2);
}

/// Lookups that were cancelled are not sent and do not delay the others.
#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = options(&tap.url(), "test").max_connections(1).build();
    let (a, b) = (
        Sample::of(&one, "/a", "a").await,
        Sample::of(&one, "/b", "b").await,
    );
    a.store(&one).await;
    b.store(&one).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    tap.hold_replies();
    let first = looking(&one, &a).await;
    until("it was asked for", async || server.calls("mget").await == 1).await;
    drop(looking(&one, &b).await);
    drop(first);
    let second = looking(&one, &a).await;
    drop(looking(&one, &b).await);
    tap.pass();
    assert!(is_found(&second.await));
    assert_eq!(server.calls("mget").await, 2);
    assert_eq!(b.body(&one).await.as_deref(), Some("b"));
}

/// More keys than fit into one round trip, each with its own answer.
#[tokio::test]
async fn every_request_gets_its_own_answer() {
    const KEYS: usize = 40;
    let is_stored = |key: usize| !key.is_multiple_of(3);
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let mut samples = Vec::new();
    for key in 0..KEYS {
        let body: &'static str = key.to_string().leak();
        let sample = Sample::of(&backend, &format!("/{key}"), body).await;
        if is_stored(key) {
            sample.store(&backend).await;
        }
        samples.push(sample);
    }
    let mut lookups = Vec::new();
    for sample in samples.iter().chain(&samples) {
        lookups.push(looking(&backend, sample).await);
    }
    for (number, lookup) in lookups.into_iter().enumerate() {
        let key = number % KEYS;
        let body = match lookup.await {
            Lookup::Found(response, _) => Some(response.body().clone()),
            _ => None,
        };
        let stored = is_stored(key).then(|| key.to_string().into());
        assert_eq!(body, stored, "{key}");
    }
}
