//! Metrics of the backend: what it stores, how healthy it is, and its operations.

use super::super::metric_family::{Families, Label};
use super::super::{Reason, Stats, Tier};
use crate::backend::BreakerState;

impl Stats {
    fn tier_label(&self) -> Label {
        ("tier", self.tier.as_str().into())
    }

    pub(super) fn add_backend(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_evictions",
            "Entries that were evicted, by cause.",
        );
        for (cause, count) in self.usage.iter().flat_map(|usage| {
            [
                ("size", usage.evictions),
                ("expired", usage.expired),
                ("variants", usage.removed_variants),
            ]
        }) {
            to.count(vec![self.tier_label(), ("cause", cause.into())], count);
        }
        let usage = self.usage.as_ref();
        for (name, help, value) in [
            (
                "response_cache_entries",
                "Entries in the store.",
                usage.map(|usage| usage.entries),
            ),
            (
                "response_cache_size_bytes",
                "The size of all entries.",
                usage.map(|usage| usage.bytes),
            ),
            (
                "response_cache_capacity_bytes",
                "The size beyond which entries are evicted.",
                usage.and_then(|usage| usage.capacity),
            ),
        ] {
            to.gauge(name, help);
            if let Some(value) = value {
                to.value(vec![self.tier_label()], value as f64);
            }
        }
        self.add_health(to);
    }

    fn add_health(&self, to: &mut Families<'_>) {
        // One for lookups and stores, and one for invalidations.
        let breakers = self.health.iter().flat_map(|health| {
            [
                ("lookups", health.breaker, health.opened),
                (
                    "invalidations",
                    health.invalidation_breaker,
                    health.invalidation_breaker_opened,
                ),
            ]
        });
        to.counter(
            "response_cache_backend_breaker_opened",
            "Openings of a circuit breaker: that of lookups and stores, or that of invalidations.",
        );
        for (breaker, _, opened) in breakers.clone() {
            let labels = vec![self.tier_label(), ("breaker", breaker.into())];
            to.count(labels, opened);
        }
        to.gauge(
            "response_cache_backend_breaker_state",
            "1 for the state that a circuit breaker is in, 0 for its other states.",
        );
        for (breaker, now, _) in breakers {
            for (state, name) in [
                (BreakerState::Closed, "closed"),
                (BreakerState::Open, "open"),
                (BreakerState::HalfOpen, "half_open"),
            ] {
                let labels = vec![
                    self.tier_label(),
                    ("breaker", breaker.into()),
                    ("state", name.into()),
                ];
                to.value(labels, f64::from(now == state));
            }
        }
        to.counter(
            "response_cache_backend_reconnects",
            "Connections to the backend that were opened in place of others.",
        );
        if let Some(health) = &self.health {
            to.count(vec![self.tier_label()], health.reconnects);
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

    pub(super) fn add_operations(&self, to: &mut Families<'_>) {
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
}
