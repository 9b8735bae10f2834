//! Statistics as metric families: the table of all metrics, with their names, labels and values.
//!
//! One table feeds the text formats, the facade and OpenTelemetry. All sets of labels are closed:
//! no label holds anything that a client, a handler or a backend chooses. Start with
//! [`Stats::families`].

mod backend;
mod classes;
mod limits;
mod work;

use super::metric_family::{Families, MetricFamily};
use super::{Distribution, InvalidatedTarget, Reason, Stats, StatusClass, WaitedFor};

impl Stats {
    /// Returns all metrics, for whatever publishes them.
    ///
    /// There are at most 200 series, each bucket counted as one, whatever clients send: labels hold
    /// the name of the cache and words of closed sets, and nothing of a request. Reasons count by
    /// class where there are many; the fields of [`Stats`] have each by itself.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let stats = CacheLayer::new(MemoryBackend::default()).handle().stats();
    /// let families = stats.families();
    /// let requests = families.iter().find(|family| family.name == "response_cache_requests");
    /// assert_eq!(requests.expect("always there").samples.len(), 12);
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
        self.add_calls(&mut families);
        self.add_origin(&mut families);
        self.add_limits(&mut families);
        families.into_vec()
    }

    fn add_requests(&self, to: &mut Families<'_>) {
        to.counter(
            "response_cache_requests",
            "Requests by their result. Each request counts once.",
        )
        .reasons("result", &self.requests);
        to.counter(
            "response_cache_outside",
            "Requests that were answered outside of the cache, by the class of the status.",
        );
        let answered = self.outside.iter();
        for (class, count) in answered.filter(|(class, _)| *class != StatusClass::Error) {
            to.count(vec![("status_class", class.as_str().into())], count);
        }
        to.counter(
            "response_cache_response_body_bytes",
            "Bytes of response bodies, by their source.",
        )
        .reasons("source", &self.body_bytes);
        to.counter(
            "response_cache_fetches",
            "GET and HEAD requests that the store could not answer, by reason.",
        )
        .classes("reason", &self.fetches, classes::of_fetch);
        to.counter(
            "response_cache_bypasses",
            "Requests that bypassed the cache, by reason.",
        )
        .classes("reason", &self.bypasses, classes::of_bypass);
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
        .classes("reason", &self.refusals, classes::of_refusal);
        to.counter("response_cache_writes", "Writes, by outcome.")
            .reasons("outcome", &self.writes);
        to.counter(
            "response_cache_invalidations",
            "Invalidations by target, mode and result. Those replayed have failed before.",
        );
        let counts = self.invalidation_counts.iter();
        // Prefixes are invalidated as the groups that they are.
        let counts = counts.filter(|((target, ..), _)| *target != InvalidatedTarget::Prefix);
        for ((target, mode, result), count) in counts {
            let labels = vec![
                ("target", target.as_str().into()),
                ("mode", mode.as_str().into()),
                ("result", result.as_str().into()),
            ];
            to.count(labels, count);
        }
        let replayed = self.health.iter().flat_map(|health| {
            let by = &health.replayed_by;
            [
                ("resource", "remove", by.removed_resources),
                ("resource", "expire", by.expired_resources),
                ("group", "remove", by.removed_groups),
                ("group", "expire", by.expired_groups),
                ("all", "remove", by.clears),
            ]
        });
        for (target, mode, count) in replayed {
            let labels = vec![
                ("target", target.into()),
                ("mode", mode.into()),
                ("result", "replayed".into()),
            ];
            to.count(labels, count);
        }
    }

    fn add_durations(&self, to: &mut Families<'_>) {
        to.histogram(
            "response_cache_fetch_duration_seconds",
            "Calls of the inner service for fills, to the head of the response.",
        )
        .merged(&self.fetch_durations);
        to.histogram(
            "response_cache_fill_duration_seconds",
            "Fills, from the call to the end of the body, or to their failure.",
        )
        .merged(&self.fill_durations);
        to.histogram(
            "response_cache_wait_duration_seconds",
            "Requests that waited for a flight, or for the readiness of the inner service: until it \
             took them, or had a place in a queue of its own.",
        );
        let own_queue = self.origin.as_ref().map(|origin| &origin.wait_durations);
        for (waited_for, durations) in self.wait_durations.iter() {
            let own_queue = own_queue.filter(|_| waited_for == WaitedFor::Readiness);
            let merged = Distribution::merged([durations].into_iter().chain(own_queue));
            to.distribution(vec![("on", waited_for.as_str().into())], &merged);
        }
        to.histogram(
            "response_cache_stored_bytes",
            "The sizes of the bodies that were stored.",
        )
        .distribution(vec![], &self.stored_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::{Health, ObserveOperations, Usage};
    use crate::stats::{
        BackendOperation, BackendOperations, Counters, FillOutcome, Histograms, InFlight,
        OperationResult, OriginLoad, Snapshot, WaitTimes,
    };

    /// The most series that there can be: each label of each set, whatever happens.
    #[test]
    fn the_number_of_series_is_bounded() {
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
        let waits = WaitTimes::new();
        waits.observe(time);
        let origin = OriginLoad {
            max_in_flight: Some(1),
            servers: 1,
            wait_durations: waits.distribution(),
            ..OriginLoad::default()
        };
        let now = Snapshot {
            uptime: time,
            in_flight: InFlight::default(),
            origin_silence: Duration::ZERO,
            histograms: &histograms,
            operations: &operations,
            origin: Some(origin),
            max_response: u64::MAX,
            usage: Some(Usage {
                capacity: Some(1),
                ..Usage::default()
            }),
            health: Some(Health::default()),
        };
        let stats = Stats::new("name".into(), &Counters::default(), now);
        let families = stats.families();
        // With each bucket as a series of its own, as Prometheus counts.
        let series = stats.to_openmetrics();
        let series = series.lines().filter(|line| !line.starts_with('#'));
        let series = series.count();
        assert!(series <= 200, "{series}");
        let mut names: Vec<_> = families.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), families.len(), "each metric is there once");
    }
}
