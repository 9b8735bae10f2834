//! What the cache and the database did, as JSON. Belongs outside of the cache, which would repeat itself.

use std::collections::BTreeMap;

use axum::handler::Handler;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Serialize;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::{Reason, Stats, Tally};

use crate::database::{CallCounts, Database};
use crate::{failure, source};

pub fn routes<B: Backend>(cache: CacheHandle<B>, database: Database) -> Router {
    let show = async move || {
        let report = Report::of(&cache.stats(), database.calls());
        ([(CACHE_CONTROL, "no-store")], Json(report)).into_response()
    };
    let refuse = failure::method_not_allowed.layer(middleware::from_fn(source::stamp));
    Router::new().route("/stats", get(show).fallback(refuse))
}

type Counts = BTreeMap<&'static str, u64>;

#[derive(Serialize)]
struct Report {
    hits: u64,
    gateway_timeouts: u64,
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
    /// There is none around a backend that cannot fail.
    breaker: &'static str,
    database: CallCounts,
}

impl Report {
    fn of(cache: &Stats, database: CallCounts) -> Self {
        Self {
            hits: cache.hits,
            gateway_timeouts: cache.gateway_timeouts,
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
            breaker: "none",
            database,
        }
    }
}

fn counts<R: Reason>(tally: &Tally<R>) -> Counts {
    tally
        .iter()
        .map(|(reason, count)| (reason.as_str(), count))
        .collect()
}
