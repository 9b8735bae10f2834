//! `GET /stats`: counters of the cache and the database as JSON. Belongs outside the cache, which
//! would answer with stored counters.

use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde_json::{Value, json};
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::Stats;

use crate::database::{CallCounts, Database};
use crate::failure;
use crate::source;

pub fn routes<B: Backend>(cache: CacheHandle<B>, database: Database) -> Router {
    let show = async move || respond(&report(&cache.stats(), &database.calls()));
    let refuse = failure::method_not_allowed.layer(middleware::from_fn(source::add_source));
    Router::new().route("/stats", get(show).fallback(refuse))
}

fn respond(report: &Value) -> Response {
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_TYPE, "application/json"),
    ];
    (headers, format!("{report:#}\n")).into_response()
}

/// The counters of the cache, with what is worth more when it is read at once.
fn report(cache: &Stats, database: &CallCounts) -> Value {
    let mut report = json!(cache);
    let usage = cache.usage.as_ref();
    for (name, value) in [
        ("hit_ratio", json!(cache.hit_ratio())),
        ("contradictions", json!(cache.contradictions.total())),
        ("entries", json!(usage.map(|usage| usage.entries))),
        ("bytes", json!(usage.map(|usage| usage.bytes))),
        ("evictions", json!(usage.map(|usage| usage.evictions))),
        ("under_way", json!(cache.in_flight)),
        ("breaker", json!(breaker(cache))),
        ("backend", json!(cache.health)),
        ("database", json!(database)),
    ] {
        report[name] = value;
    }
    report
}

/// The state of the circuit breaker; `none` for a backend without one.
fn breaker(cache: &Stats) -> &'static str {
    let health = cache.health.as_ref();
    health.map_or("none", |health| health.breaker.as_str())
}
