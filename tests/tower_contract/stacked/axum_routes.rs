//! On axum: a default for the router, and another one for a route.

use std::time::Duration;

use axum::Router;
use axum::extract::MatchedPath;
use axum::handler::Handler;
use axum::routing::get as handle;
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, Ttl};

use super::{layer, members};
use crate::routers::{Routed, of};
use crate::support::{collect, get, put, send};

const DEFAULT: Duration = Duration::from_secs(60);
const OF_ROUTE: Duration = Duration::from_secs(300);

/// A route with a lifetime of its own, and one without.
fn rates(cache: &CacheLayer<MemoryBackend>) -> Router {
    let rates = handle(async || "rates").put(async || "written");
    Router::new()
        .route("/rates", rates.layer(cache.clone().ttl(OF_ROUTE)))
        .route("/other", handle(async || "other"))
}

async fn says(service: &Routed, path: &str, expected: &str) {
    let begun = Instant::now();
    let answer = send(service, get(path)).await;
    assert_eq!(
        (answer.cache_status().as_str(), members(&answer)),
        (expected, 1)
    );
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing waits");
}

#[tokio::test(start_paused = true)]
async fn a_route_overrides_the_default_of_its_router() {
    let cache = layer().ttl(DEFAULT);
    let service = of(rates(&cache).layer(cache.clone()));
    says(&service, "/rates", "fwd=uri-miss; stored").await;
    says(&service, "/rates", "hit; ttl=300").await;
    says(&service, "/other", "fwd=uri-miss; stored").await;
    says(&service, "/other", "hit; ttl=60").await;
    let written = send(&service, put("/rates")).await;
    assert_eq!((written.body.as_str(), members(&written)), ("written", 1));
    says(&service, "/rates", "fwd=uri-miss; stored").await;
    let stats = cache.handle().stats();
    assert_eq!((stats.hits, stats.stores, stats.invalidations), (2, 3, 1));
}

/// The inner layer sees another path than the outer one.
#[tokio::test(start_paused = true)]
async fn a_nested_router_overrides_the_default() {
    let cache = layer().ttl(DEFAULT);
    let api = Router::new().nest("/api", rates(&cache));
    let service = of(api.layer(cache.clone()));
    says(&service, "/api/rates", "fwd=uri-miss; stored").await;
    says(&service, "/api/rates", "hit; ttl=300").await;
    send(&service, put("/api/rates")).await;
    says(&service, "/api/rates", "fwd=uri-miss; stored").await;
    // One write, which is for the path of each layer.
    let stats = cache.handle().stats();
    assert_eq!((stats.writes.total(), stats.invalidations), (1, 2));
}

/// A handler makes the service of its layer for each request, after the cache around the router has
/// been called.
#[tokio::test(start_paused = true)]
async fn a_cache_is_recognized_by_a_service_that_is_made_later() {
    let cache = layer().ttl(DEFAULT);
    let rates = handle((async || "rates").layer(cache.clone().ttl(OF_ROUTE)));
    let mut service = cache.layer(of(Router::new().route("/rates", rates)));
    for expected in ["fwd=uri-miss; stored", "hit; ttl=300"] {
        let begun = Instant::now();
        // No clone is sent the request: this is the only service so far.
        let answer = collect(service.call(get("/rates")).await.expect("an answer")).await;
        assert_eq!(
            (answer.cache_status().as_str(), members(&answer)),
            (expected, 1)
        );
        assert_eq!(begun.elapsed(), Duration::ZERO, "nothing waits");
    }
}

/// The hooks of the innermost layer see the request as that layer got it: a cache around the router
/// knows no route, one on the route does.
#[tokio::test(start_paused = true)]
async fn hooks_see_the_route_of_the_layer_that_has_them() {
    let route = |request: &http::request::Parts| {
        let path = request.extensions.get::<MatchedPath>()?;
        Some(path.as_str().to_owned())
    };
    let cache = layer().ttl(DEFAULT);
    let hooked = cache.clone().store_if(move |request, _| {
        let seen = route(request).expect("the router has matched");
        seen != "/private/{id}"
    });
    let hooked = hooked
        .ttl_by(move |request, _| (route(request)? == "/items/{id}").then_some(Ttl::For(OF_ROUTE)));
    let text = async || "x";
    let routes = Router::new()
        .route("/items/{id}", handle(text))
        .route("/private/{id}", handle(text))
        .route("/other", handle(text))
        .route_layer(hooked.clone());
    // Alone, and as the inner one of two.
    for service in [
        of(routes.clone()),
        of(Router::new().fallback_service(cache.layer(routes))),
    ] {
        cache.handle().clear().await.expect("memory");
        says(&service, "/items/1", "fwd=uri-miss; stored").await;
        says(&service, "/items/1", "hit; ttl=300").await;
        says(&service, "/private/1", "fwd=uri-miss; detail=store-if").await;
        says(&service, "/private/1", "fwd=uri-miss; detail=store-if").await;
        says(&service, "/other", "fwd=uri-miss; stored").await;
        says(&service, "/other", "hit; ttl=60").await;
    }
}
