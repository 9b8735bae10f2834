//! `GET /stats`: counters of the cache and the database as JSON. Belongs outside the cache, which
//! would answer with stored counters.

use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::Stats;

use crate::database::{CallCounts, Database};
use crate::failure::{self, Failure};
use crate::source;

pub fn routes<B: Backend>(cache: CacheHandle<B>, database: Database) -> Router {
    let show = async move || respond(&report(&cache.stats(), &database.calls()));
    let refuse = failure::method_not_allowed.layer(middleware::from_fn(source::add_source));
    Router::new().route("/stats", get(show).fallback(refuse))
}

fn respond(report: &Report) -> Result<Response, Failure> {
    let json = serde_json::to_string_pretty(report).map_err(Failure::internal)?;
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_TYPE, "application/json"),
    ];
    Ok((headers, json + "\n").into_response())
}

/// Counters by name, in an order for readers.
struct Report(Vec<(&'static str, Value)>);

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn report(cache: &Stats, database: &CallCounts) -> Report {
    let all = json!(cache);
    let names = [
        "hits",
        "collapsed",
        "stale",
        "refreshes",
        "gateway_timeouts",
        "overloads",
        "validations",
        "repetitions",
        "fetches",
        "bypasses",
        "stores",
        "refusals",
        "writes",
        "invalidations",
        "failed_invalidations",
        "requests",
    ];
    let mut report: Vec<_> = names.map(|name| (name, all[name].clone())).into();
    let (usage, in_flight) = (cache.usage.as_ref(), &cache.in_flight);
    let (fills, tasks, bytes) = (in_flight.fills, in_flight.tasks, in_flight.bytes);
    report.extend([
        ("contradictions", json!(cache.contradictions.total())),
        ("hit_ratio", json!(cache.hit_ratio())),
        ("entries", json!(usage.map(|usage| usage.entries))),
        ("bytes", json!(usage.map(|usage| usage.bytes))),
        ("evictions", json!(usage.map(|usage| usage.evictions))),
        (
            "under_way",
            json!({"fills": fills, "tasks": tasks, "bytes": bytes}),
        ),
        ("breaker", json!(breaker(cache))),
        ("backend", json!(cache.health)),
        ("database", json!(database)),
    ]);
    Report(report)
}

/// The state of the circuit breaker; `none` for a backend without one.
fn breaker(cache: &Stats) -> &'static str {
    let health = cache.health.as_ref();
    health.map_or("none", |health| health.breaker.as_str())
}
