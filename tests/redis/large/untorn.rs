//! Bodies that are removed, replaced or damaged between the lookup and their transfer: the response
//! is fetched anew, and no client gets a torn body or an error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tower_response_cache::CacheLayer;

use super::{Instance, Versions};
use crate::faults::world::{options, patient};
use crate::support::redis::{RedisServer, Reply, until};
use crate::support::{get, put, request, send, with};

const PAGE: &str = "/300000/page";

async fn stored() -> (RedisServer, Instance, String) {
    let server = RedisServer::start().await;
    let backend = options(&server.url()).try_namespace("shop");
    let instance = Instance::new(patient(backend.expect("a namespace")));
    instance.fill(PAGE).await;
    let body = server.names("shop:b:*").await.pop().expect("a body");
    (server, instance, body)
}

/// Whatever is in the place of the body: a miss, which the next store heals.
#[tokio::test]
async fn a_body_that_is_gone_or_damaged_is_fetched_anew() {
    let (server, instance, body) = stored().await;
    let long = "a".repeat(300_000);
    let damaged = format!("{}b{}", &long[..150_000], &long[150_001..]);
    let spoils: [&[&str]; 6] = [
        &["DEL", &body],
        &["SET", &body, "short"],
        &["SET", &body, &long[1..]],
        &["SET", &body, &damaged],
        &["SETRANGE", &body, "299999", "b"],
        &["PEXPIRE", &body, "1"],
    ];
    for spoil in spoils {
        server.command(spoil).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let calls = instance.origin.calls();
        assert!(!instance.read(PAGE).await.is_hit(), "{:?}", &spoil[..1]);
        assert_eq!(instance.origin.calls(), calls + 1);
        instance.fill(PAGE).await;
        let ttl = server.command(&["PTTL", &body]).await.integer();
        assert!(ttl > 60_000, "it is kept for {ttl} ms");
    }
    // A longer one begins with the right bytes.
    server.command(&["APPEND", &body, "b"]).await;
    assert!(instance.read(PAGE).await.is_hit());
    let health = instance.handle.stats().health.expect("its health");
    assert_eq!(health.failures, 0);
}

/// Where a part is damaged, the rest is not used for ranges of it, and others are served.
#[tokio::test]
async fn a_range_of_a_damaged_body_is_fetched_anew() {
    let (server, instance, body) = stored().await;
    server.command(&["SETRANGE", &body, "100", "b"]).await;
    let range = |bytes: &str| with(get(PAGE), "range", bytes);
    let sound = send(&instance.service, range("bytes=200000-200009")).await;
    assert!(sound.is_hit() && sound.body == "a".repeat(10));
    let calls = instance.origin.calls();
    let damaged = send(&instance.service, range("bytes=200-209")).await;
    assert!(!damaged.is_hit());
    assert_eq!(instance.origin.calls(), calls + 1);
    // HEAD and 304 do not need it.
    let head = send(&instance.service, request(http::Method::HEAD, PAGE)).await;
    assert_eq!(head.header("content-length"), "300000");
    let not_modified = with(get(PAGE), "if-none-match", "\"0\"");
    assert_eq!(send(&instance.service, not_modified).await.status, 304);
}

/// An entry and a body of two pages, or of two versions, never make one answer.
#[tokio::test]
async fn bodies_of_two_pages_are_never_mixed() {
    let (server, instance, body) = stored().await;
    let old = server.command(&["GET", &body]).await;
    send(&instance.service, put(PAGE)).await;
    assert_eq!(server.names("shop:[be]:*").await, [""; 0], "both are gone");
    instance.fill(PAGE).await;
    let Reply::Bulk(old) = old else {
        panic!("{old:?}");
    };
    let set: [&[u8]; 3] = [b"SET", body.as_bytes(), &old];
    server.command(&set).await;
    // `read` compares each body.
    assert!(!instance.read(PAGE).await.is_hit());
    instance.fill("/400000/other").await;
    let [one, other] = <[_; 2]>::try_from(server.names("shop:b:*").await).expect("two");
    server.command(&["COPY", &one, &other, "REPLACE"]).await;
    for page in [PAGE, "/400000/other"] {
        instance.read(page).await;
    }
}

/// A body that writes replace all the time, read by others: each answer is whole, and of a version
/// that was current.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_large_page_that_changes_get_whole_versions() {
    let server = RedisServer::start().await;
    let versions = Versions::default();
    let one = options(&server.url());
    let make = || Instance::with(patient(one.clone()), versions.clone(), |layer| layer);
    let (writer, readers) = (make(), [make(), make()]);
    let promised = AtomicU64::new(0);
    let writes = async {
        for _ in 0..40 {
            send(&writer.service, put(PAGE)).await;
            promised.store(versions.current(PAGE), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reads = async |reader: &Instance| {
        let mut hits = 0;
        for _ in 0..60 {
            let before = promised.load(Ordering::SeqCst);
            let answer = send(&reader.service, get(PAGE)).await;
            let after = versions.current(PAGE);
            let mut possible = (before..=after).map(|version| super::body(300_000, version));
            assert!(possible.any(|body| answer.body == body), "torn or outdated");
            hits += usize::from(answer.is_hit());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hits
    };
    let [one, other] = &readers;
    let ((), hits, more) = tokio::join!(writes, reads(one), reads(other));
    assert!(hits + more > 0, "no hit");
}

/// A stale large response is validated, and a POST's response is stored, as small ones are.
#[tokio::test]
async fn large_responses_are_validated_and_written_through() {
    let server = RedisServer::start().await;
    let options = |layer: CacheLayer<_>| layer.stale_while_revalidate(Duration::ZERO);
    let backend = patient(crate::faults::world::options(&server.url()));
    let instance = Instance::with(backend, Versions::default(), options);
    instance.fill(PAGE).await;
    let validated = with(get(PAGE), "cache-control", "no-cache");
    let validated = send(&instance.service, validated).await;
    assert_eq!(validated.body.len(), 300_000);
    until("it is stored anew", async || {
        instance.read(PAGE).await.is_hit()
    })
    .await;
}
