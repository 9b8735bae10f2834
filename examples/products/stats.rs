//! `GET /stats`: counters of the cache and the database as JSON. Belongs outside the cache, which
//! would answer with stored counters.

use std::collections::BTreeMap;

use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::Serialize;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::{Backend, Health};
use tower_response_cache::stats::{Reason, ReasonCounts, Stats};

use crate::database::{CallCounts, Database};
use crate::failure::{self, Failure};
use crate::source;

pub fn routes<B: Backend>(cache: CacheHandle<B>, database: Database) -> Router {
    let show = async move || respond(&Report::new(&cache.stats(), database.calls()));
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

/// Counts by reason.
type Counts = BTreeMap<&'static str, u64>;

#[derive(Serialize)]
struct Report {
    hits: u64,
    collapsed: u64,
    stale: Counts,
    refreshes: Counts,
    gateway_timeouts: u64,
    overloads: u64,
    validations: u64,
    contradictions: u64,
    repetitions: u64,
    fetches: Counts,
    bypasses: Counts,
    stores: u64,
    refusals: Counts,
    writes: Counts,
    invalidations: u64,
    failed_invalidations: u64,
    hit_ratio: f64,
    entries: Option<u64>,
    bytes: Option<u64>,
    evictions: Option<u64>,
    under_way: Running,
    /// The state of the circuit breaker; `none` for a backend without one.
    breaker: &'static str,
    backend: Option<BackendHealth>,
    database: CallCounts,
}

/// The current numbers of fills, background tasks and buffered bytes.
#[derive(Serialize)]
struct Running {
    fills: usize,
    tasks: usize,
    bytes: u64,
}

/// The counters of a backend with a circuit breaker.
#[derive(Serialize)]
struct BackendHealth {
    opened: u64,
    failures: u64,
    timeouts: u64,
    rejected: u64,
    replayed: u64,
    undelivered: usize,
    to_be_cleared: bool,
}

impl BackendHealth {
    fn new(health: Health) -> Self {
        Self {
            opened: health.opened,
            failures: health.failures,
            timeouts: health.timeouts,
            rejected: health.rejected,
            replayed: health.replayed,
            undelivered: health.undelivered,
            to_be_cleared: health.to_be_cleared,
        }
    }
}

impl Report {
    fn new(cache: &Stats, database: CallCounts) -> Self {
        Self {
            hits: cache.hits,
            collapsed: cache.collapsed,
            stale: counts(&cache.stale),
            refreshes: counts(&cache.refreshes),
            gateway_timeouts: cache.gateway_timeouts,
            overloads: cache.overloads,
            validations: cache.validations,
            contradictions: cache.contradictions.total(),
            repetitions: cache.repetitions,
            fetches: counts(&cache.fetches),
            bypasses: counts(&cache.bypasses),
            stores: cache.stores,
            refusals: counts(&cache.refusals),
            writes: counts(&cache.writes),
            invalidations: cache.invalidations,
            failed_invalidations: cache.failed_invalidations,
            hit_ratio: cache.hit_ratio(),
            entries: cache.usage.map(|usage| usage.entries),
            bytes: cache.usage.map(|usage| usage.bytes),
            evictions: cache.usage.map(|usage| usage.evictions),
            under_way: Running {
                fills: cache.in_flight.fills,
                tasks: cache.in_flight.tasks,
                bytes: cache.in_flight.bytes,
            },
            breaker: cache
                .health
                .map_or("none", |health| health.breaker.as_str()),
            backend: cache.health.map(BackendHealth::new),
            database,
        }
    }
}

fn counts<R: Reason>(tally: &ReasonCounts<R>) -> Counts {
    tally
        .iter()
        .map(|(reason, count)| (reason.as_str(), count))
        .collect()
}
