//! The options of the cache, and its statistics.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn write_through_makes_the_first_get_a_hit() {
    let server = Server::start(&["--write", "write-through"]).await;
    let made = server.post("Lamp", 39.5).await;
    assert_eq!(
        (made.status.as_u16(), made.source()),
        (201, "database".into())
    );
    let path = made.header("location");
    let hit = server.get(&path).await;
    assert_eq!((hit.status.as_u16(), hit.source()), (200, "cache".into()));
    assert_eq!(hit.text(), made.as_from("cache"));
    assert_eq!(hit.header("location"), "");

    let put = server.put(&path, "Lamp", 35.0).await;
    assert_eq!(put.source(), "database");
    let hit = server.get(&path).await;
    assert_eq!(hit.text(), put.as_from("cache"));
    assert_eq!(hit.header("etag"), put.header("etag"));

    assert_eq!(server.get("/products").await.data(), json!([put.data()]));
    assert_eq!(
        server.stats().await["database"],
        json!({"reads": 1, "writes": 2})
    );
}

#[tokio::test]
async fn a_put_by_one_host_name_invalidates_reads_by_another() {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    let by_name = format!("localhost:{}", server.port());
    let by_address = format!("127.0.0.1:{}", server.port());
    for (reads, writes, price) in [(&by_address, &by_name, 1.0), (&by_name, &by_address, 2.0)] {
        server.get_as(reads, &path).await;
        assert_eq!(server.get_as(reads, &path).await.source(), "cache");
        assert_eq!(server.get_as(writes, &path).await.source(), "cache");
        let put = server.put_as(writes, &path, "Lamp", price).await;
        assert_eq!(put.status, 200);
        let read = server.get_as(reads, &path).await;
        assert_eq!(
            (read.source(), &read.data()["price"]),
            ("database".into(), &json!(price))
        );
    }
}

#[tokio::test]
async fn without_a_backend_everything_comes_from_the_database() {
    let server = Server::start(&["--backend", "none", "--write", "write-through"]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    for _ in 0..3 {
        assert_eq!(server.get(&path).await.source(), "database");
    }
    let stats = server.stats().await;
    assert_eq!((&stats["hits"], &stats["entries"]), (&json!(0), &json!(0)));
    assert_eq!(stats["database"], json!({"reads": 3, "writes": 1}));
}

#[tokio::test]
async fn stats_count_what_happened_and_are_never_cached() {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    for _ in 0..4 {
        server.get(&path).await;
    }
    server.put(&path, "", 1.0).await;
    let answer = server.get("/stats").await;
    assert_eq!(answer.header("cache-status"), "");
    let stats = answer.json();
    for (pointer, expected) in [
        ("/hits", json!(3)),
        ("/hit_ratio", json!(0.75)),
        ("/fetches/uri-miss", json!(1)),
        ("/bypasses/upgrade", json!(0)),
        ("/refusals/private", json!(0)),
        ("/stores", json!(1)),
        ("/writes/invalidated", json!(1)),
        ("/writes/rejected", json!(1)),
        ("/failed_invalidations", json!(0)),
        ("/entries", json!(1)),
        ("/evictions", json!(0)),
        ("/breaker", json!("none")),
        ("/database", json!({"reads": 1, "writes": 1})),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(stats["invalidations"].as_u64() >= Some(2));
    assert!(stats["bytes"].as_u64() > Some(0));
    server.get(&path).await;
    assert_eq!(server.stats().await["hits"], 4);
}

/// Over the wire: many requests for a response that is not stored are one query.
#[tokio::test]
async fn a_crowd_costs_one_database_call() {
    let server = Server::start(&["--database-delay", "200ms"]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, path) = ((*server).clone(), path.clone());
        crowd.spawn(async move { client.get(&path).await });
    }
    for answer in crowd.join_all().await {
        assert_eq!(
            (answer.status.as_u16(), &answer.data()["name"]),
            (200, &json!("Lamp"))
        );
    }
    let stats = server.stats().await;
    assert_eq!(stats["database"], json!({"reads": 1, "writes": 1}));
    let shared = stats["collapsed"].as_u64().unwrap_or(0) + stats["hits"].as_u64().unwrap_or(0);
    assert_eq!(shared, 49);
    assert_eq!(
        stats["under_way"],
        json!({"fills": 0, "tasks": 0, "bytes": 0})
    );
}
