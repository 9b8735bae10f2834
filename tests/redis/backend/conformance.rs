//! The contract, over every way to reach a server.

use std::sync::atomic::{AtomicU32, Ordering};

use tower_response_cache::backend::conformance::check;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Guarded, RedisBackend};

use crate::backend::options;
use crate::support::redis::{PATIENCE, RedisServer};

/// A backend in an unused namespace.
fn fresh(url: &str) -> RedisBackend {
    open_fresh(|namespace| options(url, namespace))
}

/// A backend in an unused namespace, by the options given.
pub fn open_fresh(options: impl Fn(&str) -> RedisOptions) -> RedisBackend {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    options(&format!("fresh-{number}")).build()
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    check(|| fresh(&server.url())).await;
}

#[tokio::test]
async fn guarded_redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    check(|| {
        Guarded::new(fresh(&server.url()))
            .lookup_deadline(PATIENCE)
            .invalidation_deadline(PATIENCE)
            .store_deadline(PATIENCE)
    })
    .await;
}

#[tokio::test]
async fn redis_keeps_the_contract_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build();
    let whole = tokio::task::spawn_blocking(move || {
        runtime.expect("a runtime").block_on(async {
            let server = RedisServer::start().await;
            let task = async move { check(|| fresh(&server.url())).await };
            tokio::spawn(task).await.expect("no panic");
        });
    });
    whole.await.expect("no panic");
}

#[tokio::test]
async fn redis_keeps_the_contract_with_a_password_and_a_database() {
    let config = RedisServer::configure().password("secret");
    let server = config.start().await;
    check(|| fresh(&format!("{}3", server.url()))).await;
    let keyspace = server.command(&["INFO", "keyspace"]).await.text();
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"));
}

#[tokio::test]
async fn redis_keeps_the_contract_over_a_unix_socket() {
    let config = RedisServer::configure().password("secret").unix_socket();
    let server = config.start().await;
    let socket = server.socket().display();
    check(|| fresh(&format!("redis+unix://{socket}?db=2&pass=secret"))).await;
    let keyspace = server.command(&["INFO", "keyspace"]).await.text();
    assert!(keyspace.contains("db2:") && !keyspace.contains("db0:"));
}
