//! The text formats: complete, well formed, and bounded whatever clients send.

use std::collections::BTreeSet;

use tower::Layer;
use tower_response_cache::stats::{MetricKind, MetricValue, Stats};

use crate::layer;
use crate::support::origin::{Origin, cacheable};
use crate::support::{get, send, with};

async fn busy() -> Stats {
    let layer = layer().cache_status_name("edge \"1\"\\");
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for number in 0..1000 {
        let path = format!("/{number}?secret={number}");
        send(&service, with(get(&path), "user-agent", &path)).await;
    }
    layer.handle().stats()
}

/// The names and labels of all samples.
fn series(text: &str) -> Vec<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').expect("a value").0)
        .collect()
}

/// No label has anything that a client has sent.
#[tokio::test(start_paused = true)]
async fn the_number_of_series_does_not_depend_on_clients() {
    let (idle, busy) = (layer().handle().stats(), busy().await);
    let (idle, busy) = (idle.to_openmetrics(), busy.to_openmetrics());
    let (before, after) = (series(&idle), series(&busy));
    // One kind of call and fill, each with its buckets.
    assert!(before.len() + 50 > after.len());
    assert!(after.len() <= 200, "{}", after.len());
    let different: BTreeSet<_> = after.iter().collect();
    assert_eq!(different.len(), after.len(), "each is there once");
    assert!(!busy.contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn both_formats_have_the_same_samples() {
    let stats = busy().await;
    let (open, plain) = (stats.to_openmetrics(), stats.to_prometheus());
    assert_eq!(series(&open), series(&plain));
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    assert!(open.contains("# TYPE response_cache_requests counter\n"));
    assert!(plain.contains("# TYPE response_cache_requests_total counter\n"));
    let miss = r#"response_cache_requests_total{cache="edge \"1\"\\",result="miss"} 1000"#;
    assert!(open.contains(miss) && plain.contains(miss), "{open}");
}

/// The rules that `promtool check metrics` has for names.
#[tokio::test(start_paused = true)]
async fn names_follow_the_rules_of_prometheus() {
    for family in busy().await.families() {
        let name = family.name;
        assert!(name.starts_with("response_cache_"), "{name}");
        assert!(!name.ends_with("_total"), "{name}");
        assert!(family.help.ends_with('.'), "{name}");
        assert!(!name.contains("milliseconds"), "{name}");
        let (first, _) = family.dotted_name().split_once('.').map_or_else(
            || panic!("{name}"),
            |(first, rest)| (first.to_owned(), rest.to_owned()),
        );
        assert_eq!(first, "response_cache");
        for sample in family.samples {
            assert_eq!(sample.labels[0].0, "cache");
        }
    }
}

/// The number of series, with a histogram as one.
fn label_sets(stats: &Stats) -> usize {
    stats
        .families()
        .iter()
        .map(|family| family.samples.len())
        .sum()
}

/// Panics unless each sample has a value, and the buckets of histograms grow up to the count.
pub fn assert_well_formed(stats: &Stats) {
    for family in stats.families() {
        for sample in family.samples {
            let MetricValue::Distribution(distribution) = sample.value else {
                continue;
            };
            assert_eq!(family.kind, MetricKind::Histogram);
            let counts: Vec<_> = distribution.buckets().map(|(_, count)| count).collect();
            assert!(counts.is_sorted());
            assert_eq!(counts.last(), Some(&distribution.count()));
        }
    }
    let text = stats.to_openmetrics();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.ends_with('}'), "{line}");
    }
    assert!(label_sets(stats) <= 200, "{}", label_sets(stats));
}

#[tokio::test(start_paused = true)]
async fn buckets_are_written_with_their_bounds() {
    let stats = busy().await;
    assert_well_formed(&stats);
    let text = stats.to_prometheus();
    let name = r#"response_cache_stored_bytes_bucket{cache="edge \"1\"\\",le="#;
    for (bound, count) in [("256.0", 1000), ("67108864.0", 1000), ("+Inf", 1000)] {
        let line = format!("{name}\"{bound}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(text.contains("# TYPE response_cache_stored_bytes histogram\n"));
}
