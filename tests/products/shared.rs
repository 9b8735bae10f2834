//! Instances that share one Redis.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use tokio::time::sleep;

use crate::redis::{RedisServer, Tap, until};
use crate::server::Server;
use crate::sharing::Folder;

async fn instance(redis: &str, database: &str, more: &[&str]) -> Server {
    let mut arguments = vec!["--backend", "redis", "--redis-url", redis];
    arguments.extend(["--database", database]);
    arguments.extend(more);
    Server::start(&arguments).await
}

/// RFC 9211 §2.1. The store to Redis may be under way still.
#[tokio::test]
async fn the_second_of_two_gets_in_a_row_says_cache() {
    let (redis, folder) = (RedisServer::start().await, Folder::new("pairs"));
    let server = instance(&redis.url(), &folder.database(), &[]).await;
    let path = server.post("Lamp", 0.0).await.header("location");
    for round in 1..=50 {
        server.put(&path, "Lamp", f64::from(round)).await;
        assert_eq!(server.get(&path).await.source(), "database", "{round}");
        assert_eq!(server.get(&path).await.source(), "cache", "{round}");
    }
    assert_eq!(server.stats().await["hits"], 50);
}

/// What the database file says of a product's price.
fn price(database: &str) -> f64 {
    let connection = Connection::open(database).expect("the database");
    connection
        .query_row("SELECT price FROM products", (), |row| row.get(0))
        .expect("a product")
}

#[tokio::test]
async fn a_write_by_one_is_read_by_all() {
    let (redis, folder) = (RedisServer::start().await, Folder::new("two"));
    for write in ["invalidate", "write-through"] {
        redis.command(&["FLUSHALL"]).await;
        let database = folder.database();
        let options = ["--write", write];
        let one = instance(&redis.url(), &database, &options).await;
        let other = instance(&redis.url(), &database, &options).await;
        let path = one.post("Lamp", 1.0).await.header("location");
        one.get(&path).await;
        one.until("/under_way/tasks", 0).await;
        assert_eq!(other.get(&path).await.source(), "cache", "{write}");
        for round in 2..10 {
            let (writer, reader) = if round % 2 == 0 {
                (&one, &other)
            } else {
                (&other, &one)
            };
            let put = writer.put(&path, "Lamp", f64::from(round)).await;
            let read = reader.get(&path).await;
            assert_eq!(read.data(), put.data(), "{write}");
            let is_stored = write == "write-through";
            assert_eq!(read.source() == "cache", is_stored, "{write}");
            reader.until("/under_way/tasks", 0).await;
            assert_eq!(writer.get(&path).await.source(), "cache", "{write}");
        }
    }
}

#[tokio::test]
async fn an_instance_serves_before_redis_is_there() {
    let (mut redis, folder) = (RedisServer::start().await, Folder::new("before"));
    redis.kill();
    let server = instance(&redis.url(), &folder.database(), &[]).await;
    let path = server.post("Lamp", 1.0).await.header("location");
    assert_eq!(server.get(&path).await.source(), "database");
    redis.restart().await;
    let is_used = async || server.get(&path).await.source() == "cache";
    until("Redis is used", is_used).await;
    server.until("/backend/undelivered", 0).await;
    assert_eq!(server.stats().await["breaker"], "closed");
}

/// An instance dies after its database has committed and before the invalidation: no client was
/// answered, and the older stored response stays until its lifetime ends, and no longer.
#[cfg(unix)]
#[tokio::test]
async fn responses_of_a_dead_instance_end_with_their_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(4);
    let (redis, folder) = (RedisServer::start().await, Folder::new("killed"));
    let (database, tap) = (folder.database(), Tap::to(redis.port()).await);
    let one = instance(&tap.url(), &database, &["--ttl", "4s"]).await;
    let other = instance(&redis.url(), &database, &["--ttl", "4s"]).await;
    let path = one.post("Lamp", 1.0).await.header("location");
    let stored = Instant::now();
    other.get(&path).await;
    other.until("/under_way/tasks", 0).await;
    assert_eq!(other.get(&path).await.source(), "cache");

    tap.black_hole();
    let client = (*one).clone();
    let (target, body) = (
        path.clone(),
        json!({"name": "Lamp", "price": 2.0}).to_string(),
    );
    let write = tokio::spawn(async move { client.try_put(&target, body).await });
    until("the database has it", async || price(&database) == 2.0).await;
    one.signal("KILL").await;
    write.await.expect("no panic");
    one.exit().await;

    // It may have been answered all the same, by a machine so slow that it gave Redis up before:
    // nothing else follows. Within the lifetime of the stored response either may be read; after
    // it, the new one alone.
    let read = other.get(&path).await;
    let (source, old) = (read.source(), read.data()["price"] == json!(1.0));
    assert!(old == (source == "cache"), "{source} {old}");
    sleep(LIFETIME.saturating_sub(stored.elapsed())).await;
    until("its lifetime is over", async || {
        let read = other.get(&path).await;
        let bound = LIFETIME + Duration::from_secs(2);
        assert!(stored.elapsed() < bound || read.data()["price"] == json!(2.0));
        read.data()["price"] == json!(2.0)
    })
    .await;
}

/// Nothing of one database is served from another one.
#[tokio::test]
async fn instances_of_other_databases_share_nothing() {
    let redis = RedisServer::start().await;
    let folders = [Folder::new("a"), Folder::new("b")].map(|folder| (folder.database(), folder));
    for databases in [[":memory:", ":memory:"], [&folders[0].0, &folders[1].0]] {
        let one = instance(&redis.url(), databases[0], &[]).await;
        let other = instance(&redis.url(), databases[1], &[]).await;
        let path = one.post("Lamp", 1.0).await.header("location");
        for target in ["/products", &path] {
            one.get(target).await;
            one.until("/under_way/tasks", 0).await;
            assert_eq!(one.get(target).await.source(), "cache", "{databases:?}");
            assert_eq!(
                other.get(target).await.source(),
                "database",
                "{databases:?}"
            );
        }
    }
}

/// However its path is spelled, a database is one.
#[cfg(unix)]
#[tokio::test]
async fn instances_of_one_database_share_under_each_of_its_paths() {
    let (redis, folder) = (RedisServer::start().await, Folder::new("spelled"));
    let database = folder.database();
    let one = instance(&redis.url(), &database, &[]).await;
    let path = one.post("Lamp", 1.0).await.header("location");
    one.get(&path).await;
    one.until("/under_way/tasks", 0).await;
    let linked = format!("{database}.link");
    std::os::unix::fs::symlink(&database, &linked).expect("a link");
    let dotted = database.replace("/products.db", "/./products.db");
    for spelled in [linked, dotted] {
        let other = instance(&redis.url(), &spelled, &[]).await;
        assert_eq!(other.get(&path).await.source(), "cache", "{spelled}");
    }
}

/// Instances with one namespace invalidate each other's responses.
#[tokio::test]
async fn a_namespace_can_be_given() {
    let (redis, folder) = (RedisServer::start().await, Folder::new("named"));
    let database = folder.database();
    let named = ["--namespace", "shop"];
    let one = instance(&redis.url(), &database, &named).await;
    let other = instance(&redis.url(), &database, &named).await;
    let path = one.post("Lamp", 1.0).await.header("location");
    one.get(&path).await;
    one.until("/under_way/tasks", 0).await;
    assert_eq!(other.get(&path).await.source(), "cache");
    other.put(&path, "Lamp", 2.0).await;
    assert_eq!(one.get(&path).await.data()["price"], 2.0);
    let names = redis.command(&["KEYS", "shop:*"]).await;
    let all = redis.command(&["DBSIZE"]).await.integer();
    assert_eq!(names.array().len() as i64, all);
}
