//! The text formats of Prometheus and OpenMetrics.
//!
//! They differ in the names of counters and in the last line. Start with [`Stats::to_openmetrics`].

use std::fmt::{self, Write};

use super::Stats;
use super::families::{MetricFamily, MetricKind, MetricValue, Sample};

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
        write!(text, "{name}{suffix}")?;
        write_labels(text, labels)?;
        match value {
            MetricValue::Count(count) => writeln!(text, " {count}")?,
            MetricValue::Gauge(value) => writeln!(text, " {value}")?,
        }
    }
    Ok(())
}

fn write_labels(
    text: &mut String,
    labels: &[(&'static str, std::borrow::Cow<'static, str>)],
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
    text.push('}');
    Ok(())
}
