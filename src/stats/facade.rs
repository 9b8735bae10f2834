//! Publishes statistics to the recorder of the `metrics` facade (feature `metrics`).

use metrics::{Label, SharedString, Unit};

use super::metric_family::{MetricFamily, MetricKind, MetricValue, Sample};
use super::{Distribution, Stats};

impl Stats {
    /// Publishes all metrics to the recorder of the [`metrics`] facade that is installed.
    ///
    /// Call it before each scrape, or in a task that repeats it every few seconds. Nothing is
    /// published on the way of a request, so that hits cost the same with and without it: counters
    /// are set to the absolute values that the cache has counted. Without a recorder it does
    /// nothing.
    ///
    /// Names and labels are those of [`to_openmetrics`](Self::to_openmetrics), with `_total` at the
    /// end of counters. The facade has no histogram that takes counts: the buckets and the counts
    /// of one are published as counters, as `.._bucket` with the label `le` and `.._count`, and its
    /// sum as the gauge `.._sum`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_response_cache::{CacheHandle, backend::MemoryBackend};
    ///
    /// async fn publish(cache: CacheHandle<MemoryBackend>) {
    ///     let mut ticks = tokio::time::interval(Duration::from_secs(5));
    ///     loop {
    ///         ticks.tick().await;
    ///         cache.stats().publish();
    ///     }
    /// }
    /// ```
    pub fn publish(&self) {
        for family in self.families() {
            describe(&family);
            for sample in family.samples {
                publish(family.name, sample);
            }
        }
    }
}

fn unit_of(name: &str) -> Unit {
    if name.ends_with("_seconds") {
        Unit::Seconds
    } else if name.ends_with("_bytes") {
        Unit::Bytes
    } else {
        Unit::Count
    }
}

fn describe(family: &MetricFamily) {
    let MetricFamily { name, help, .. } = *family;
    let unit = unit_of(name);
    match family.kind {
        MetricKind::Counter => metrics::describe_counter!(format!("{name}_total"), unit, help),
        MetricKind::Gauge => metrics::describe_gauge!(name, unit, help),
        MetricKind::Histogram => {
            metrics::describe_counter!(format!("{name}_bucket"), Unit::Count, help);
            metrics::describe_counter!(format!("{name}_count"), Unit::Count, help);
            metrics::describe_gauge!(format!("{name}_sum"), unit, help);
        }
    }
}

fn publish(name: &'static str, Sample { labels, value }: Sample) {
    let labels = labels.into_iter();
    let labels: Vec<_> = labels
        .map(|(label, value)| Label::new(label, SharedString::from(value)))
        .collect();
    match value {
        MetricValue::Count(count) => {
            metrics::counter!(format!("{name}_total"), labels).absolute(count);
        }
        MetricValue::Gauge(value) => metrics::gauge!(name, labels).set(value),
        MetricValue::Distribution(distribution) => {
            publish_distribution(name, &labels, &distribution);
        }
    }
}

fn publish_distribution(name: &str, labels: &[Label], distribution: &Distribution) {
    for (bound, count) in distribution.buckets() {
        let bound = match bound {
            f64::INFINITY => "+Inf".to_owned(),
            bound => bound.to_string(),
        };
        let labels = labels.iter().cloned().chain([Label::new("le", bound)]);
        metrics::counter!(format!("{name}_bucket"), labels.collect::<Vec<_>>()).absolute(count);
    }
    let count = distribution.count();
    metrics::counter!(format!("{name}_count"), labels.to_vec()).absolute(count);
    metrics::gauge!(format!("{name}_sum"), labels.to_vec()).set(distribution.sum());
}
