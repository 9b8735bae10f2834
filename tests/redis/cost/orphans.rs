//! Nothing is left behind in Redis for longer than it is of use.

use http::Method;

use super::{Instance, Measured, respond};
use crate::support::redis::until;
use crate::support::{get, put, request, send_all, with};

/// A lease is kept for a minute without a response.
const LEASE: i64 = 60_000;

/// The keys of the namespace without those that all share.
async fn own_keys(measured: &Measured) -> Vec<(String, i64)> {
    let keys = measured.keys("").await.into_iter();
    keys.filter(|(name, _)| name.contains(":{")).collect()
}

#[tokio::test]
async fn a_scan_of_uncacheable_urls_leaves_nothing_for_longer_than_a_minute() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    let urls = (0..5000).map(|number| get(&format!("/uncacheable/{number}")));
    let urls: Vec<_> = urls.collect();
    for some in urls.chunks(100) {
        send_all(&one.service, some.iter().cloned()).await;
    }
    assert_eq!(one.handle.stats().stores, 0);
    let left = own_keys(&measured).await;
    let longest = left.iter().map(|(_, ttl)| *ttl).max();
    assert!(longest.is_none_or(|ttl| ttl <= LEASE), "{longest:?}");
    assert!(left.iter().all(|(_, ttl)| *ttl > 0), "each expires");
}

#[tokio::test]
async fn failing_and_missing_pages_leave_nothing_for_longer_than_a_minute() {
    use tower::Layer;
    use tower_response_cache::CacheLayer;

    use crate::support::origin::{Origin, answer};
    let measured = Measured::start().await;
    let layer = CacheLayer::new(measured.backend().await);
    let service = layer.layer(Origin::at_once(|request| {
        let status = if request.uri().path().starts_with("/e") {
            500
        } else {
            404
        };
        answer(status, &[], "")
    }));
    let paths = (0..200).map(|number| format!("/{}{number}", ["e", "n"][number % 2]));
    let requests: Vec<_> = paths.map(|path| get(&path)).collect();
    send_all(&service, requests).await;
    let left = own_keys(&measured).await;
    assert!(
        left.iter().all(|(_, ttl)| (1..=LEASE).contains(ttl)),
        "{left:?}"
    );
}

/// What a write invalidates is removed, with every query that its lease lists.
#[tokio::test]
async fn a_deleted_resource_leaves_no_key() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    for number in 0..20 {
        one.fill(get(&format!("/products/{number}"))).await;
    }
    for query in 0..5 {
        one.fill(get(&format!("/products/0?page={query}"))).await;
    }
    assert_eq!(measured.keys("e").await.len(), 25);
    for number in 0..20 {
        let deletion = request(Method::DELETE, &format!("/products/{number}"));
        assert_eq!(one.send(deletion).await.status, 204);
    }
    assert_eq!(own_keys(&measured).await, []);
}

#[tokio::test]
async fn an_invalidated_resource_leaves_no_variant() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    for encoding in ["br", "gzip", "zstd"] {
        one.fill(with(get("/varies"), "accept-encoding", encoding))
            .await;
    }
    // Three variants, their rule and their list.
    assert_eq!(own_keys(&measured).await.len(), 6);
    one.send(put("/varies")).await;
    assert_eq!(own_keys(&measured).await, []);
}

/// A key that has had a response without variants, and has a rule now.
#[tokio::test]
async fn a_rule_after_a_plain_response_leaves_no_variant() {
    use tower::Layer;
    use tower_response_cache::CacheLayer;

    use crate::support::origin::Origin;
    let measured = Measured::start().await;
    let layer = CacheLayer::new(measured.backend().await);
    let handle = layer.handle();
    let service = layer.layer(Origin::at_once(|request| {
        let mut response = respond(request);
        if request.headers().contains_key("accept-encoding") {
            response
                .headers_mut()
                .insert("vary", "accept-encoding".parse().expect("a value"));
        }
        response
    }));
    let anew = |request| with(request, "cache-control", "no-cache");
    let requests = [
        get("/a"),
        anew(with(get("/a"), "accept-encoding", "br")),
        with(get("/a"), "accept-encoding", "gzip"),
    ];
    for request in requests {
        let stores = handle.stats().stores;
        crate::support::send(&service, request).await;
        until("it is stored", async || handle.stats().stores > stores).await;
    }
    assert_eq!(measured.keys("e").await.len(), 3);
    crate::support::send(&service, put("/a")).await;
    assert_eq!(own_keys(&measured).await, []);
}

/// A write-through leaves its own response alone, and a write of unknown outcome its tombstone.
#[tokio::test]
async fn replaced_and_buried_resources_leave_no_older_entry() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    let through = Instance::writing_through(&measured).await;
    for query in ["", "?a", "?b"] {
        one.fill(get(&format!("/a{query}"))).await;
    }
    assert_eq!(measured.keys("e").await.len(), 3);
    through.send(put("/a")).await;
    assert_eq!(measured.keys("e").await.len(), 1);
    assert!(one.send(get("/a")).await.is_hit());
    let failed = one.send(with(put("/a"), "x-fails", "1")).await;
    assert_eq!(failed.status, 500);
    assert_eq!(measured.keys("e").await, []);
    assert_eq!(measured.keys("l").await.len(), 1, "the tombstone");
}

/// The list behind a lease is bounded. An invalidation puts the other entries out of reach, too.
#[tokio::test]
async fn a_lease_lists_a_bounded_number_of_entries() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    for query in 0..30 {
        one.fill(get(&format!("/a?q={query}"))).await;
    }
    let (lease, _) = measured.keys("l").await.remove(0);
    let length = measured.server.command(&["STRLEN", &lease]).await.integer();
    assert_eq!(length, 48 + 8 * 17);
    one.send(put("/a")).await;
    assert_eq!(measured.keys("e").await.len(), 30 - 8);
    for query in 0..30 {
        assert!(!one.send(get(&format!("/a?q={query}"))).await.is_hit());
    }
}
