//! Statistics as metric families: the table of all metrics, with their names, labels and values.
//!
//! One table feeds the text formats, the facade and OpenTelemetry. All sets of labels are closed:
//! no label holds anything that a client, a handler or a backend chooses. Start with
//! [`Stats::families`].

use super::metric_family::{Families, Label, MetricFamily};
use super::{Reason, Stats, Tier};
use crate::backend::BreakerState;

impl Stats {
    /// Returns all metrics, for whatever publishes them.
    ///
    /// The number of samples is bounded, whatever clients send: labels hold the name of the cache
    /// and words of closed sets, and nothing of a request.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let stats = CacheLayer::new(MemoryBackend::default()).handle().stats();
    /// let families = stats.families();
    /// let requests = families.iter().find(|family| family.name == "response_cache_requests");
    /// assert_eq!(requests.expect("always there").samples.len(), 11);
    /// ```
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = Families::new(&self.name);
        self.add_requests(&mut families);
        self.add_stores(&mut families);
        self.add_durations(&mut families);
        self.add_backend(&mut families);
        self.add_operations(&mut families);
        self.add_work(&mut families);
        families.into_vec()
    }

    fn tier_label(&self) -> Label {
        ("tier", self.tier.as_str().into())
    }

    fn add_requests(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_requests",
            "Requests by their result. Each request counts once.",
        )
        .reasons("result", &self.requests);
        to.counter(
            "response_cache_response_body_bytes",
            "Bytes of response bodies, by their source.",
        )
        .reasons("source", &self.body_bytes);
        to.counter(
            "response_cache_fetches",
            "GET and HEAD requests that the store could not answer, by reason.",
        )
        .reasons("reason", &self.fetches);
        to.counter(
            "response_cache_bypasses",
            "Requests that bypassed the cache, by reason.",
        )
        .reasons("reason", &self.bypasses);
        to.counter(
            "response_cache_stale",
            "Stale responses from the store, by the rule that allowed them.",
        )
        .reasons("reason", &self.stale);
        to.counter(
            "response_cache_refreshes",
            "Background refreshes, by reason.",
        )
        .reasons("reason", &self.refreshes);
    }

    fn add_stores(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_stores",
            "Responses that were stored, by their way into the store.",
        )
        .reasons("by", &self.stores_by);
        to.counter(
            "response_cache_refusals",
            "Responses that were not stored, by reason.",
        )
        .reasons("reason", &self.refusals);
        to.counter("response_cache_writes", "Writes, by outcome.")
            .reasons("outcome", &self.writes);
        to.counter(
            "response_cache_invalidations",
            "Invalidations, by target, mode and result.",
        );
        for ((target, mode, result), count) in self.invalidation_counts.iter() {
            let labels = vec![
                ("target", target.as_str().into()),
                ("mode", mode.as_str().into()),
                ("result", result.as_str().into()),
            ];
            to.count(labels, count);
        }
    }

    fn add_durations(&self, to: &mut Families<'_>) {
        to.histogram(
            "response_cache_fetch_duration_seconds",
            "Calls of the inner service for fills, to the head of the response.",
        )
        .distributions("status_class", &self.fetch_durations);
        to.histogram(
            "response_cache_fill_duration_seconds",
            "Fills, from the call to the end of the body, by outcome.",
        )
        .distributions("outcome", &self.fill_durations);
        to.histogram(
            "response_cache_wait_duration_seconds",
            "Requests that waited for a flight, or for the readiness of the inner service.",
        )
        .distributions("on", &self.wait_durations);
        to.histogram(
            "response_cache_stored_bytes",
            "The sizes of the bodies that were stored.",
        )
        .distribution(vec![], &self.stored_bytes);
    }

    fn add_operations(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_backend_operations",
            "Operations of a backend outside of the process, by result.",
        );
        for ((operation, result), count) in self.backend_operations.iter() {
            let (operation, result) = (operation.as_str().into(), result.as_str().into());
            if self.tier == Tier::Far {
                to.count(
                    vec![self.tier_label(), ("op", operation), ("result", result)],
                    count,
                );
            }
        }
        to.histogram(
            "response_cache_backend_operation_duration_seconds",
            "Operations of a backend outside of the process that were attempted.",
        );
        for (operation, distribution) in self.backend_durations.iter() {
            let labels = vec![self.tier_label(), ("op", operation.as_str().into())];
            to.distribution(labels, distribution);
        }
    }

    fn add_backend(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_evictions",
            "Entries that were evicted, by cause.",
        );
        if let Some(usage) = &self.usage {
            let labels = vec![self.tier_label(), ("cause", "size".into())];
            to.count(labels, usage.evictions);
        }
        to.gauge("response_cache_entries", "Entries in the store.");
        if let Some(usage) = &self.usage {
            to.value(vec![self.tier_label()], usage.entries as f64);
        }
        to.gauge("response_cache_size_bytes", "The size of all entries.");
        if let Some(usage) = &self.usage {
            to.value(vec![self.tier_label()], usage.bytes as f64);
        }
        to.gauge(
            "response_cache_capacity_bytes",
            "The size beyond which entries are evicted.",
        );
        if let Some(capacity) = self.usage.and_then(|usage| usage.capacity) {
            to.value(vec![self.tier_label()], capacity as f64);
        }
        self.add_health(to);
    }

    fn add_health(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_backend_breaker_opened",
            "Openings of the circuit breaker of lookups and stores.",
        );
        if let Some(health) = &self.health {
            to.count(vec![self.tier_label()], health.opened);
        }
        to.gauge(
            "response_cache_backend_breaker_state",
            "1 for the state that the circuit breaker of lookups and stores is in, 0 for others.",
        );
        if let Some(health) = &self.health {
            for (state, name) in [
                (BreakerState::Closed, "closed"),
                (BreakerState::Open, "open"),
                (BreakerState::HalfOpen, "half_open"),
            ] {
                let labels = vec![self.tier_label(), ("state", name.into())];
                to.value(labels, f64::from(health.breaker == state));
            }
        }
        to.gauge(
            "response_cache_undelivered_invalidations",
            "Resources and groups whose invalidation the backend has not acknowledged yet.",
        );
        if let Some(health) = &self.health {
            to.value(vec![], health.undelivered as f64);
        }
        to.gauge(
            "response_cache_clear_pending",
            "1 while the whole backend is to be cleared, otherwise 0.",
        );
        if let Some(health) = &self.health {
            to.value(vec![], f64::from(health.to_be_cleared));
        }
    }

    fn add_work(&self, to: &mut Families<'_>) {
        let work = &self.in_flight;
        for (name, help, value) in [
            (
                "response_cache_fills_in_flight",
                "Fills that other requests can join.",
                work.fills as f64,
            ),
            (
                "response_cache_fills_waiting",
                "Fills that wait for the inner service to be ready.",
                work.waiting_fills as f64,
            ),
            (
                "response_cache_background_tasks",
                "Background tasks: refreshes, captures of bodies, writes whose client left.",
                work.tasks as f64,
            ),
            (
                "response_cache_buffered_bytes",
                "Bytes of bodies that are buffered and not stored yet.",
                work.bytes as f64,
            ),
        ] {
            to.gauge(name, help).value(vec![], value);
        }
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("features", features().into()),
        ];
        to.gauge(
            "response_cache_build_info",
            "Always 1; the labels have the version and the features of the crate.",
        )
        .value(labels, 1.0);
    }
}

/// The features of this build, with commas between them.
fn features() -> String {
    let features = [
        ("admin", cfg!(feature = "admin")),
        ("metrics", cfg!(feature = "metrics")),
        ("proxy", cfg!(feature = "proxy")),
        ("proxy-tls", cfg!(feature = "proxy-tls")),
        ("redis", cfg!(feature = "redis")),
        ("redis-tls", cfg!(feature = "redis-tls")),
        ("serde", cfg!(feature = "serde")),
    ];
    let enabled = features.iter().filter(|(_, is_enabled)| *is_enabled);
    let names: Vec<_> = enabled.map(|(name, _)| *name).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::{Health, ObserveOperations, Usage};
    use crate::stats::{
        BackendOperation, BackendOperations, Counters, FillOutcome, Histograms, InFlight,
        OperationResult, Snapshot, StatusClass, WaitedFor,
    };

    /// The most samples that there can be: each label of each set, whatever happens.
    #[test]
    fn the_number_of_samples_is_bounded() {
        let (histograms, operations) = (Histograms::default(), BackendOperations::default());
        let time = Duration::from_millis(1);
        for class in StatusClass::ALL {
            histograms.observe_fetch(*class, time);
        }
        for outcome in FillOutcome::ALL {
            histograms.observe_fill(*outcome, time);
        }
        for waited_for in WaitedFor::ALL {
            histograms.observe_wait(*waited_for, time);
        }
        for operation in BackendOperation::ALL {
            operations.observe(*operation, OperationResult::Ok, time);
        }
        histograms.observe_stored(1);
        let now = Snapshot {
            in_flight: InFlight::default(),
            histograms: &histograms,
            operations: &operations,
            usage: Some(Usage::default()),
            health: Some(Health::default()),
        };
        let stats = Stats::new("name".into(), &Counters::default(), now);
        let families = stats.families();
        let samples: usize = families.iter().map(|family| family.samples.len()).sum();
        assert!(samples <= 200, "{samples}");
        // With each bucket as a series of its own, as Prometheus counts.
        let series = stats.to_openmetrics();
        let series = series.lines().filter(|line| !line.starts_with('#'));
        assert!(series.count() <= 420);
        let mut names: Vec<_> = families.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), families.len(), "each metric is there once");
    }
}
