//! The `metrics` facade gets what the text formats say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tower::Layer;

use crate::layer;
use crate::support::origin::{Origin, cacheable};
use crate::support::{get, put, send};

/// All that was published, by series as text.
#[derive(Default)]
struct Published {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<Vec<String>>,
}

fn series(key: &Key) -> String {
    let labels = key.labels();
    let labels: Vec<_> = labels
        .map(|label| format!("{}=\"{}\"", label.key(), label.value()))
        .collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Published {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        let mut described = self.described.lock().expect("no panic");
        described.push(name.as_str().to_owned());
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(name, unit, text);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("the facade's histograms take no counts");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().expect("no panic");
        Counter::from_arc(counters.entry(series(key)).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().expect("no panic");
        Gauge::from_arc(gauges.entry(series(key)).or_default().clone())
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("the facade's histograms take no counts");
    }
}

#[tokio::test(start_paused = true)]
async fn the_facade_gets_every_sample_of_the_text() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for request in [get("/a"), get("/a"), put("/a"), get("/b")] {
        send(&service, request).await;
    }
    let (published, stats) = (Published::default(), layer.handle().stats());
    metrics::with_local_recorder(&published, || {
        stats.publish();
        // Values are absolute: publishing twice counts nothing twice.
        stats.publish();
    });
    let counters = published.counters.lock().expect("no panic");
    let gauges = published.gauges.lock().expect("no panic");
    let described = published.described.lock().expect("no panic");
    let mut series = 0;
    let text = stats.to_prometheus();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        // The facade has the bounds as they are shown without a needless fraction.
        let name = name.replace(".0\"}", "\"}");
        let counted = counters
            .get(&name)
            .map(|it| it.load(Ordering::SeqCst) as f64);
        let gauge = gauges.get(&name);
        let gauge = gauge.map(|it| f64::from_bits(it.load(Ordering::SeqCst)));
        assert_eq!(counted.or(gauge), value.parse().ok(), "{line}");
        let (family, _) = name.split_once('{').expect("labels");
        assert!(described.iter().any(|name| name == family), "{family}");
        series += 1;
    }
    assert_eq!(series, counters.len() + gauges.len());
}
