//! The text formats of Prometheus and OpenMetrics.
//!
//! They differ in the names of counters and in the last line. Start with [`Stats::to_openmetrics`].

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::Stats;
use super::metric_family::{MetricFamily, MetricKind, MetricValue, Sample};

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Prometheus,
}

impl Stats {
    /// Returns all metrics in the text format of OpenMetrics 1.0, for the media type
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let text = CacheLayer::new(MemoryBackend::default()).handle().stats().to_openmetrics();
    /// assert!(text.contains(
    ///     "response_cache_requests_total{cache=\"tower-response-cache\",result=\"hit\"} 0\n"
    /// ));
    /// ```
    #[must_use]
    pub fn to_openmetrics(&self) -> String {
        self.to_text(Format::OpenMetrics)
    }

    /// Returns all metrics in the text format of Prometheus, for the media type
    /// `text/plain; version=0.0.4; charset=utf-8`.
    ///
    /// The samples are those of [`to_openmetrics`](Self::to_openmetrics). Use it for a client that
    /// does not name OpenMetrics in `Accept`.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        self.to_text(Format::Prometheus)
    }

    fn to_text(&self, format: Format) -> String {
        let mut text = String::with_capacity(16 * 1024);
        for family in self.families() {
            write_family(&mut text, format, &family).expect("a string takes every write");
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

fn write_family(text: &mut String, format: Format, family: &MetricFamily) -> fmt::Result {
    let (kind, suffix) = match family.kind {
        MetricKind::Counter => ("counter", "_total"),
        MetricKind::Gauge => ("gauge", ""),
        MetricKind::Histogram => ("histogram", ""),
    };
    // A counter of OpenMetrics has the suffix in its samples only.
    let described = match format {
        Format::OpenMetrics => "",
        Format::Prometheus => suffix,
    };
    let MetricFamily { name, help, .. } = family;
    writeln!(text, "# TYPE {name}{described} {kind}")?;
    writeln!(text, "# HELP {name}{described} {help}")?;
    for Sample { labels, value } in &family.samples {
        let mut sample = |suffix, bound: Option<f64>, value: &dyn fmt::Display| {
            write!(text, "{name}{suffix}")?;
            write_labels(text, labels, bound)?;
            writeln!(text, " {value}")
        };
        match value {
            MetricValue::Count(count) => sample(suffix, None, count)?,
            MetricValue::Gauge(value) => sample(suffix, None, value)?,
            MetricValue::Distribution(distribution) => {
                for (bound, count) in distribution.buckets() {
                    sample("_bucket", Some(bound), &count)?;
                }
                sample("_sum", None, &distribution.sum())?;
                sample("_count", None, &distribution.count())?;
            }
        }
    }
    Ok(())
}

/// Writes labels, the last of which is the upper bound of a bucket.
fn write_labels(
    text: &mut String,
    labels: &[(&'static str, Cow<'static, str>)],
    bound: Option<f64>,
) -> fmt::Result {
    text.push('{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write!(text, "{name}=\"")?;
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    match bound {
        Some(f64::INFINITY) => text.push_str(",le=\"+Inf\""),
        // With a fraction, as OpenMetrics spells numbers: 1.0.
        Some(bound) => write!(text, ",le=\"{bound:?}\"")?,
        None => {}
    }
    text.push('}');
    Ok(())
}
