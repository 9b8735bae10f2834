//! The text formats: complete, well formed, and bounded whatever clients send.

use std::collections::BTreeSet;

use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::{MetricKind, MetricValue, Stats, Tier};

use crate::layer;
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::in_virtual_time;
use crate::support::yielding::yielding;
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
    // The histograms of calls, fills and sizes, each with its buckets.
    assert!(before.len() + 30 > after.len());
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

/// Without a backend, nothing is said of one.
#[tokio::test(start_paused = true)]
async fn a_cache_without_a_backend_has_no_series_of_one() {
    let layer = in_virtual_time(None::<MemoryBackend>);
    send(&layer.layer(Origin::at_once(|_| cacheable("x"))), get("/a")).await;
    let stats = layer.handle().stats();
    assert_eq!(stats.tier, Tier::Nowhere);
    let text = stats.to_openmetrics();
    assert!(!text.contains("tier="), "{text}");
    assert!(text.contains("result=\"miss\"} 1"), "{text}");
    assert_eq!(
        layer.handle().stats().families().len(),
        busy().await.families().len()
    );
}

/// A backend of this process that has to be waited for has no series of operations: `tier` says where
/// they go to, and an operator looks for a network behind them.
#[tokio::test(start_paused = true)]
async fn a_backend_in_this_process_has_no_series_of_operations() {
    let layer = in_virtual_time(yielding(MemoryBackend::default()));
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for _ in 0..2 {
        send(&service, get("/a")).await;
    }
    let stats = layer.handle().stats();
    assert_eq!(stats.tier, Tier::Near);
    let operations = stats.backend_durations.iter();
    assert!(operations.map(|(_, times)| times.count()).sum::<u64>() > 0);
    let text = stats.to_openmetrics();
    assert!(
        !text.contains("backend_operation_duration_seconds_"),
        "{text}"
    );
    assert!(!text.contains("backend_operations_total{"), "{text}");
}

/// Reasons with the same remedy are one series, and none gets lost.
#[tokio::test(start_paused = true)]
async fn rare_reasons_count_with_those_of_their_class() {
    let layer = layer();
    let origin = Origin::at_once(|request| match request.uri().path() {
        "/expired" => answer(200, &[("cache-control", "max-age=0")], "x"),
        "/long" => answer(200, &[("cache-control", "no-store")], "x"),
        "/stream" => answer(200, &[("content-type", "text/event-stream")], "x"),
        _ => answer(200, &[], "x"),
    });
    let service = layer.layer(origin);
    for path in ["/expired", "/none", "/long", "/stream"] {
        send(&service, get(path)).await;
    }
    for (name, value) in [("cache-control", "no-cache"), ("pragma", "no-cache")] {
        send(&service, with(get("/none"), name, value)).await;
    }
    let stats = layer.handle().stats();
    let sum = |name: &str| -> u64 {
        let families = stats.families().into_iter();
        let family = families.filter(|family| family.name == name);
        let samples = family.flat_map(|family| family.samples);
        let counts = samples.map(|sample| match sample.value {
            MetricValue::Count(count) => count,
            other => panic!("{other:?}"),
        });
        counts.sum()
    };
    assert_eq!(sum("response_cache_refusals"), stats.refusals.total());
    assert_eq!(sum("response_cache_fetches"), stats.fetches.total());
    assert_eq!(sum("response_cache_bypasses"), stats.bypasses.total());
    assert_eq!(stats.refusals.total(), 6);
    assert_eq!(sum("response_cache_origin_calls"), 6);
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
    assert!(series(&text).len() <= 200, "{}", series(&text).len());
}

#[tokio::test(start_paused = true)]
async fn buckets_are_written_with_their_bounds() {
    let stats = busy().await;
    assert_well_formed(&stats);
    let text = stats.to_prometheus();
    let name = r#"response_cache_stored_bytes_bucket{cache="edge \"1\"\\",le="#;
    for (bound, count) in [("1024.0", 1000), ("4194304.0", 1000), ("+Inf", 1000)] {
        let line = format!("{name}\"{bound}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(text.contains("# TYPE response_cache_stored_bytes histogram\n"));
}
