//! What an operator, a browser and a scraper read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as axum_get;
use base64::prelude::{BASE64_STANDARD, Engine};
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::MemoryBackend;

use super::calls::{TOKEN, call, get, request};
use crate::support;
use crate::support::origin::{Origin, cacheable};

#[tokio::test]
async fn the_page_and_the_health_checks_need_no_token_and_say_nothing() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let admin = Admin::new(layer.handle()).token(TOKEN);
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = call(&admin, request("GET", path, &[], "")).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (200, text));
    }
    let head = call(&admin, request("HEAD", "/healthz", &[], "")).await;
    assert_eq!((head.header("content-length"), &*head.text), ("3", ""));
    let page = call(&admin, request("GET", "/", &[], "")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for answer in [&head, &page] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    layer.handle().shutdown(Duration::ZERO).await;
    let answer = call(&admin, request("GET", "/readyz", &[], "")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "1")
    );
    let answer = call(&admin, request("GET", "/healthz", &[], "")).await;
    assert_eq!(answer.status, 200);
}

/// A server says that it stops before it shuts its cache down.
#[tokio::test]
async fn a_program_that_stops_is_not_ready_though_its_cache_still_works() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let runs = Arc::new(AtomicBool::new(true));
    let is_ready = runs.clone();
    let admin = Admin::new(layer.handle()).ready_if(move || is_ready.load(Ordering::Relaxed));
    let status = async |path| call(&admin, request("GET", path, &[], "")).await.status;
    assert_eq!(status("/readyz").await, 200);
    runs.store(false, Ordering::Relaxed);
    assert_eq!(status("/readyz").await, 503);
    assert_eq!(status("/healthz").await, 200);
    // The condition does not make a cache ready that is shutting down.
    runs.store(true, Ordering::Relaxed);
    assert_eq!(status("/readyz").await, 200);
    layer.handle().shutdown(Duration::ZERO).await;
    assert_eq!(status("/readyz").await, 503);
}

/// The text of the only element of a name.
fn element<'p>(page: &'p str, name: &str) -> &'p str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts: Vec<_> = page.split(&*open).collect();
    assert_eq!(parts.len(), 2, "one element {name}");
    parts[1].split(&*close).next().expect("its end")
}

#[tokio::test]
async fn the_policy_of_the_page_allows_its_own_script_and_style_and_nothing_else() {
    let admin = Admin::new(CacheLayer::new(MemoryBackend::default()).handle());
    let page = call(&admin, request("GET", "/", &[], "")).await;
    let policy = page.header("content-security-policy");
    for (name, directive) in [("script", "script-src"), ("style", "style-src")] {
        let text = element(&page.text, name);
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let digest = BASE64_STANDARD.encode(digest);
        let expected = format!("{directive} 'sha256-{digest}';");
        assert!(
            policy.contains(&expected),
            "src/admin/page.rs must say: {expected}"
        );
    }
    for directive in [
        "default-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    // Nothing comes from elsewhere, and no attribute is a script or a style.
    for foreign in [
        "http:", "https:", "//", " onclick", " style=", "@import", "url(",
    ] {
        let found = page
            .text
            .replace("http://example.com", "")
            .replace("+ \"://\"", "");
        let found = found.lines().find(|line| line.contains(foreign));
        let comment = |line: &&str| line.trim_start().starts_with("//");
        assert_eq!(found.filter(|line| !comment(line)), None, "{foreign}");
    }
}

#[tokio::test]
async fn statistics_are_json_and_metrics_are_text() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(Origin::at_once(|_| cacheable("stored")));
    for _ in 0..3 {
        support::send(&service, support::get("/a")).await;
    }
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let stats = get(&admin, "/stats").await;
    assert_eq!(stats.header("content-type"), "application/json");
    assert_eq!(stats.json()["requests"]["hit"], 2);
    assert_eq!(stats.json()["requests"]["miss"], 1);
    let metrics = get(&admin, "/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let line = "response_cache_requests_total{cache=\"tower-response-cache\",result=\"hit\"} 2\n";
    assert!(metrics.text.contains(line), "{}", metrics.text);
    let token = format!("Bearer {TOKEN}");
    let lines = [
        ("authorization", &*token),
        (
            "accept",
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        ),
    ];
    let metrics = call(&admin, request("GET", "/metrics", &lines, "")).await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(metrics.header("content-type"), media_type);
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn it_nests_in_a_router_outside_of_the_cache() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let routes: Router = Router::new()
        .route(
            "/a",
            axum_get(async || ([("cache-control", "max-age=60")], "a")),
        )
        .layer(layer)
        .nest_service("/cache", admin);
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let request = request.body(axum::body::Body::empty()).expect("a request");
        let response = routes.clone().oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let content = body.collect().await.expect("content").to_bytes();
        (
            head.status.as_u16(),
            String::from_utf8(content.into()).expect("UTF-8"),
        )
    };
    assert_eq!(ask("GET", "/a").await, (200, "a".to_owned()));
    for path in ["/cache", "/cache/"] {
        let (status, text) = ask("GET", path).await;
        assert_eq!((status, text.contains("<title>")), (200, true), "{path}");
    }
    assert_eq!(ask("GET", "/cache/healthz").await.0, 200);
    assert_eq!(ask("GET", "/cache/stats").await.0, 200);
    assert_eq!(ask("PURGE", "/cache/a").await.0, 200);
    assert_eq!(ask("GET", "/healthz").await.0, 404);
}
