//! Servers that answer reads and take no writes: a demoted primary, and one that misses its replicas.

use std::time::Duration;

use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Backend, InvalidationTarget, Lookup, RedisBackend};

use super::world::guarded;
use crate::support::redis::{RedisServer, until};
use crate::support::sample::{Sample, at};

fn options(server: &RedisServer) -> RedisOptions {
    let options = RedisOptions::new(&server.url()).expect("a URL");
    options.namespace("test")
}

/// Another server may have what is to be invalidated, though nothing of it is stored here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_acknowledges_no_invalidation() {
    let demotes = ["REPLICAOF", "127.0.0.1", "1"];
    let misses_replicas = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    for command in [&demotes[..], &misses_replicas] {
        let server = RedisServer::start().await;
        let backend: RedisBackend = options(&server).build();
        Sample::of(&backend, "/other", "other")
            .await
            .store(&backend)
            .await;
        let page = Sample::in_groups(&backend, "/page", "\"g\"", "page").await;
        let fence = page.fence(&backend).await;
        page.invalidate(&backend).await;
        let marked = Sample::of(&backend, "/marked", "marked").await;
        let marked = InvalidationTarget::Resource(*marked.key.resource());
        let unknown = backend.invalidate_unknown(&marked, Duration::from_secs(60));
        unknown.await.expect("a tombstone");
        let group = InvalidationTarget::Group(page.response.groups()[0]);
        let resource = InvalidationTarget::Resource(*page.key.resource());
        server.command(command).await;
        for target in [resource, group, marked] {
            let unknown = backend.invalidate_unknown(&target, Duration::from_secs(90));
            let outcomes = [
                backend.invalidate(&target).await.map(drop),
                backend.invalidate_many(&[target], None).await.map(drop),
                backend
                    .expire(&[target], at(0), Duration::ZERO)
                    .await
                    .map(drop),
                unknown.await.map(drop),
            ];
            let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            assert_eq!(
                refused,
                outcomes.len(),
                "{command:?} {target:?}: {outcomes:?}"
            );
        }
        assert!(backend.clear().await.is_err());
        let replaced = backend.replace(&page.key, fence, page.response.clone(), at(0));
        assert!(replaced.await.is_err(), "{command:?}");
    }
}

/// Its health checks write, so that it is left though nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_misses_its_replicas_is_read_no_more() {
    let server = RedisServer::start().await;
    let backend = guarded(options(&server)).lookup_deadline(Duration::from_secs(2));
    let page = Sample::of(&backend, "/page", "page").await;
    page.store(&backend).await;
    assert!(matches!(
        backend.get(&page.key, at(0)).await,
        Ok(Lookup::Found(..))
    ));
    let lacks_replicas = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    server.command(&lacks_replicas).await;
    let is_left = async || !matches!(backend.get(&page.key, at(0)).await, Ok(Lookup::Found(..)));
    until("it is left", is_left).await;
    // Nor is it taken into use again as long as that lasts.
    for _ in 0..20 {
        assert!(is_left().await);
    }
    let no_replicas = ["CONFIG", "SET", "min-replicas-to-write", "0"];
    server.command(&no_replicas).await;
    until("it is used again", async || !is_left().await).await;
}
