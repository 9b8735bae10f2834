//! Metric families and their samples, whatever they are published with.
//!
//! It knows distributions and counts by reason, and not which metrics there are: that is the table
//! in `families`. Start with [`MetricFamily`].

use std::borrow::Cow;

use super::{Distribution, Distributions, Reason, ReasonCounts};

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that grows and falls.
    Gauge,
    /// Values by buckets.
    Histogram,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// The value of a counter.
    Count(u64),
    /// The value of a gauge.
    Gauge(f64),
    /// The values of a histogram.
    Distribution(Distribution),
}

/// One value of a metric, with its labels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The labels, each a name and a value. The first one is `cache`, the name of the cache.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The value.
    pub value: MetricValue,
}

/// A metric with all its samples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetricFamily {
    /// The name, without the `_total` that Prometheus adds to that of a counter. It begins with
    /// `response_cache_`.
    pub name: &'static str,
    /// What the metric counts or measures, in one sentence.
    pub help: &'static str,
    /// The kind of the metric.
    pub kind: MetricKind,
    /// The samples. There may be none: not every backend can say how much it stores.
    pub samples: Vec<Sample>,
}

impl MetricFamily {
    /// Returns the name as OpenTelemetry spells it: `response_cache.backend.operations`.
    #[must_use]
    pub fn dotted_name(&self) -> String {
        let name = self.name.strip_prefix(PREFIX).unwrap_or(self.name);
        format!("response_cache.{}", name.replace('_', "."))
    }
}

const PREFIX: &str = "response_cache_";

/// A label beside that of the cache: its name and its value.
pub(super) type Label = (&'static str, Cow<'static, str>);

/// The families of one cache, as they are made.
pub(super) struct Families<'s> {
    cache: &'s str,
    families: Vec<MetricFamily>,
}

impl<'s> Families<'s> {
    /// Creates an empty list. `cache` is the name of the cache, the first label of each sample.
    pub(super) fn new(cache: &'s str) -> Self {
        Self {
            cache,
            families: Vec::new(),
        }
    }

    pub(super) fn into_vec(self) -> Vec<MetricFamily> {
        self.families
    }

    fn begin(&mut self, kind: MetricKind, name: &'static str, help: &'static str) -> &mut Self {
        self.families.push(MetricFamily {
            name,
            help,
            kind,
            samples: Vec::new(),
        });
        self
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        self.begin(MetricKind::Counter, name, help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        self.begin(MetricKind::Gauge, name, help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        self.begin(MetricKind::Histogram, name, help)
    }

    /// Adds a sample to the family that was begun last.
    fn sample(&mut self, labels: Vec<Label>, value: MetricValue) -> &mut Self {
        let cache = ("cache", Cow::Owned(self.cache.to_owned()));
        let labels = std::iter::once(cache).chain(labels).collect();
        let family = self.families.last_mut().expect("a family was begun");
        family.samples.push(Sample { labels, value });
        self
    }

    pub(super) fn count(&mut self, labels: Vec<Label>, count: u64) -> &mut Self {
        self.sample(labels, MetricValue::Count(count))
    }

    pub(super) fn value(&mut self, labels: Vec<Label>, value: f64) -> &mut Self {
        self.sample(labels, MetricValue::Gauge(value))
    }

    /// Adds a sample unless the distribution is empty: each has as many series as buckets.
    pub(super) fn distribution(
        &mut self,
        labels: Vec<Label>,
        distribution: &Distribution,
    ) -> &mut Self {
        if distribution.count() > 0 {
            self.sample(labels, MetricValue::Distribution(distribution.clone()));
        }
        self
    }

    /// Adds a sample for all distributions of a set together.
    pub(super) fn merged<R: Reason>(&mut self, distributions: &Distributions<R>) -> &mut Self {
        let all = distributions.iter().map(|(_, distribution)| distribution);
        self.distribution(vec![], &Distribution::merged(all))
    }

    /// Adds a sample for each class of the reasons of a set.
    pub(super) fn classes<R: Reason>(
        &mut self,
        label: &'static str,
        counts: &ReasonCounts<R>,
        class_of: fn(R) -> &'static str,
    ) -> &mut Self {
        let counts = counts
            .iter()
            .map(|(reason, count)| (class_of(reason), count));
        for (class, count) in sum_by(counts) {
            self.count(vec![(label, class.into())], count);
        }
        self
    }

    /// Adds a sample for each reason of a set.
    pub(super) fn reasons<R: Reason>(
        &mut self,
        label: &'static str,
        counts: &ReasonCounts<R>,
    ) -> &mut Self {
        for (reason, count) in counts.iter() {
            self.count(vec![(label, reason.as_str().into())], count);
        }
        self
    }
}

/// Adds up the counts of each key, in the order in which the keys come.
pub(super) fn sum_by<K: PartialEq>(counts: impl Iterator<Item = (K, u64)>) -> Vec<(K, u64)> {
    let mut sums: Vec<(K, u64)> = Vec::new();
    for (key, count) in counts {
        match sums.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum += count,
            None => sums.push((key, count)),
        }
    }
    sums
}
