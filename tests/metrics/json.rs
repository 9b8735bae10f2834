//! Statistics as JSON.

use serde_json::json;
use tower::Layer;

use crate::layer;
use crate::support::origin::{Origin, cacheable};
use crate::support::{get, put, send};

#[tokio::test(start_paused = true)]
async fn statistics_serialize_with_the_names_of_their_reasons() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for request in [get("/a"), get("/a"), put("/a")] {
        send(&service, request).await;
    }
    tokio::time::advance(std::time::Duration::from_millis(1500)).await;
    let stats = json!(layer.handle().stats());
    for (pointer, expected) in [
        ("/name", json!("tower-response-cache")),
        ("/uptime_seconds", json!(1.5)),
        ("/requests/hit", json!(1)),
        ("/requests/bypass", json!(1)),
        ("/requests/gateway_timeout", json!(0)),
        ("/hits", json!(1)),
        ("/fetches/uri-miss", json!(1)),
        ("/stores_by/fill", json!(1)),
        ("/body_bytes/origin", json!(2)),
        ("/in_flight/fills", json!(0)),
        ("/tier", json!("near")),
        ("/usage/entries", json!(0)),
        ("/health", json!(null)),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&expected), "{pointer}");
    }
    let invalidated = json!({"target": "resource", "mode": "remove", "result": "ok", "count": 1});
    let invalidations = stats["invalidation_counts"].as_array();
    assert!(invalidations.expect("a list").contains(&invalidated));
}
