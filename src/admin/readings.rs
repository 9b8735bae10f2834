//! Statistics as JSON, and metrics as text.

use http::header::ACCEPT;
use http::{StatusCode, request};
use serde_json::{Map, Value, json};

use super::answer::{Answer, content, json as json_answer};
use super::options::Admin;
use crate::backend::{Health, Usage};
use crate::stats::{InFlight, Reason, ReasonCounts, Stats};

/// The media types of metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Admin {
    /// Answers `GET /stats`.
    pub(super) fn stats(&self) -> Answer {
        json_answer(StatusCode::OK, &stats(&self.cache.stats()))
    }

    /// Answers `GET /metrics`, in the format that the client prefers by naming it.
    pub(super) fn metrics(&self, request: &request::Parts) -> Answer {
        let mut accepted = request.headers.get_all(ACCEPT).iter();
        let is_named = accepted.any(|line| {
            let line = line.to_str().unwrap_or_default();
            line.contains("application/openmetrics-text")
        });
        let stats = self.cache.stats();
        match is_named {
            true => content(StatusCode::OK, OPENMETRICS, stats.to_openmetrics()),
            false => content(StatusCode::OK, PROMETHEUS, stats.to_prometheus()),
        }
    }
}

fn counts<R: Reason>(counts: &ReasonCounts<R>) -> Value {
    let members = counts.iter();
    let members = members.map(|(reason, count)| (reason.as_str().to_owned(), count.into()));
    Value::Object(members.collect::<Map<_, _>>())
}

fn stats(stats: &Stats) -> Value {
    json!({
        "name": stats.name,
        "requests": counts(&stats.requests),
        "body_bytes": counts(&stats.body_bytes),
        "hits": stats.hits,
        "validations": stats.validations,
        "contradictions": counts(&stats.contradictions),
        "repetitions": stats.repetitions,
        "stale": counts(&stats.stale),
        "refreshes": counts(&stats.refreshes),
        "fetches": counts(&stats.fetches),
        "bypasses": counts(&stats.bypasses),
        "stores": stats.stores,
        "stores_by": counts(&stats.stores_by),
        "refusals": counts(&stats.refusals),
        "writes": counts(&stats.writes),
        "detached_writes": stats.detached_writes,
        "abandoned_writes": stats.abandoned_writes,
        "invalidations": stats.invalidations,
        "failed_invalidations": stats.failed_invalidations,
        "refused_write_graces": stats.refused_write_graces,
        "in_flight": in_flight(&stats.in_flight),
        "tier": stats.tier.as_str(),
        "usage": stats.usage.as_ref().map(usage),
        "health": stats.health.as_ref().map(health),
    })
}

fn in_flight(work: &InFlight) -> Value {
    json!({
        "fills": work.fills,
        "waiting_fills": work.waiting_fills,
        "tasks": work.tasks,
        "detached_writes": work.detached_writes,
        "bytes": work.bytes,
        "unread_bytes": work.unread_bytes,
        "lingering_bytes": work.lingering_bytes,
        "copied_bytes": work.copied_bytes,
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "entries": usage.entries,
        "bytes": usage.bytes,
        "evictions": usage.evictions,
        "capacity": usage.capacity,
    })
}

fn health(health: &Health) -> Value {
    json!({
        "breaker": health.breaker.as_str(),
        "invalidation_breaker": health.invalidation_breaker.as_str(),
        "opened": health.opened,
        "failures": health.failures,
        "timeouts": health.timeouts,
        "rejected": health.rejected,
        "skipped_invalidations": health.skipped_invalidations,
        "replayed": health.replayed,
        "undelivered": health.undelivered,
        "to_be_cleared": health.to_be_cleared,
    })
}
