//! Metrics of the backend: what it stores, how healthy it is, and its operations.

use super::super::BackendOperation::{Get, Invalidate, Put};
use super::super::metric_family::{Families, Label, sum_by};
use super::super::{Distribution, Reason, Stats, Tier};
use super::classes;
use crate::backend::{BreakerState, Usage};

impl Stats {
    /// What is stored, if anything is.
    fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref().filter(|_| self.tier != Tier::Nowhere)
    }

    fn tier_label(&self) -> Label {
        ("tier", self.tier.as_str().into())
    }

    pub(super) fn add_backend(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_evictions",
            "Entries that were evicted, by cause.",
        );
        for (cause, count) in self.usage().into_iter().flat_map(|usage| {
            [
                ("size", usage.evictions),
                ("expired", usage.expired),
                ("variants", usage.removed_variants),
            ]
        }) {
            to.count(vec![self.tier_label(), ("cause", cause.into())], count);
        }
        let usage = self.usage();
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
        let counts = self.backend_operations.iter();
        let counts = counts.filter(|_| self.tier == Tier::Far);
        let counts =
            counts.map(|((op, result), count)| ((classes::of_operation(op), result), count));
        for ((op, result), count) in sum_by(counts) {
            let result = result.as_str().into();
            let labels = vec![self.tier_label(), ("op", op.into()), ("result", result)];
            to.count(labels, count);
        }
        to.histogram(
            "response_cache_backend_operation_duration_seconds",
            "Operations of a backend outside of the process that were attempted.",
        );
        // Of a backend in this process, only one that is asked for its usage, there are no counts.
        let classes = [Get, Put, Invalidate].map(classes::of_operation);
        for class in classes.into_iter().filter(|_| self.tier == Tier::Far) {
            let all = self.backend_durations.iter();
            let all = all.filter(|(op, _)| classes::of_operation(*op) == class);
            let merged = Distribution::merged(all.map(|(_, distribution)| distribution));
            to.distribution(vec![self.tier_label(), ("op", class.into())], &merged);
        }
    }
}
