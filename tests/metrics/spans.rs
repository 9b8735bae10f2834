//! The spans of the cache's own work, as a tree.

use std::time::Duration;

use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Instrument, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_tree::HierarchicalLayer;

use crate::layer;
use crate::support::logs::{Logs, Written};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{in_virtual_time, settled};
use crate::support::yielding::yielding;
use crate::support::{get, put, send};

/// Writes spans as a tree, each as it closes.
fn tree() -> (Written, DefaultGuard) {
    let written = Written::default();
    let writer = written.clone();
    let layer = HierarchicalLayer::new(2)
        .with_ansi(false)
        .with_verbose_exit(true)
        .with_indent_lines(true)
        .with_writer(move || writer.clone());
    let guard = set_default(Registry::default().with(layer));
    (written, guard)
}

/// The lines of a kind of span.
fn spans<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let lines = text.lines().filter(|line| line.contains(name));
    lines.collect()
}

#[tokio::test(start_paused = true)]
async fn each_piece_of_work_has_a_span_that_says_how_it_ended() {
    // A second subscriber, so that other tests silence no line of this one.
    let logs = Logs::from_level(Level::TRACE);
    drop(logs);
    for waits in [false, true] {
        let (written, guard) = tree();
        let origin = Origin::at_once(|_| cacheable("x"));
        let secret = "/a?secret=1";
        if waits {
            let layer = in_virtual_time(yielding(MemoryBackend::default()));
            let service = layer.layer(origin);
            for request in [get(secret), get(secret), put(secret)] {
                send(&service, request).await;
                settled().await;
            }
        } else {
            let service = layer().layer(origin);
            for request in [get(secret), get(secret), put(secret)] {
                send(&service, request).await;
            }
        }
        drop(guard);
        let text = written.text();
        assert!(!text.contains("secret"), "{text}");
        let name = "cache.name=\"tower-response-cache\"";
        for (span, ends) in [
            (
                "response_cache.lookup",
                &[
                    "cache.status=\"miss\", cache.reason=\"uri-miss\"",
                    "cache.status=\"hit\"",
                ][..],
            ),
            (
                "response_cache.fetch",
                &["cache.status=\"2xx\", cache.reason=\"uri-miss\""],
            ),
            ("response_cache.store", &["cache.status=\"stored\""]),
            (
                "response_cache.invalidate",
                &["cache.status=\"ok\", cache.reason=\"resource\""],
            ),
        ] {
            for end in ends {
                let matching = |line: &&str| line.contains(name) && line.contains(end);
                let found = spans(&text, span);
                assert!(found.iter().any(matching), "{span} {end}\n{text}");
            }
        }
    }
}

/// The docs of `log_query` show what is written.
#[tokio::test(start_paused = true)]
async fn the_docs_show_the_tree_of_a_miss() {
    let logs = Logs::from_level(Level::TRACE);
    drop(logs);
    let (written, guard) = tree();
    send(
        &layer().layer(Origin::at_once(|_| cacheable("x"))),
        get("/a"),
    )
    .await;
    drop(guard);
    let docs = include_str!("../../src/layer/status.rs");
    let (_, tree) = docs
        .split_once("    /// ```text\n    /// ┐")
        .expect("a tree");
    let (tree, _) = tree.split_once("    /// ```").expect("its end");
    let tree = format!("┐{}", tree.replace("    /// ", ""));
    assert_eq!(written.text(), tree);
}

/// A background refresh goes on in the span of the request that it came from.
#[tokio::test(start_paused = true)]
async fn tasks_go_on_in_the_span_of_the_caller() {
    let origin = Origin::new(async |_| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        tracing::info!("in the inner service");
        let lines = [("cache-control", "max-age=1, stale-while-revalidate=60")];
        Ok(answer(200, &lines, "x"))
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    sleep(Duration::from_secs(3)).await;
    let (written, guard) = tree();
    let caller = tracing::info_span!("caller", id = 7);
    send(&service, get("/a")).instrument(caller).await;
    sleep(Duration::from_secs(1)).await;
    drop(guard);
    let text = written.text();
    let at = text.find("in the inner service").expect("it was called");
    let before = &text[..at];
    let caller = before.rfind("caller").expect("the caller's span");
    let fetch = before.rfind("response_cache.fetch").expect("a span");
    assert!(caller < fetch, "{text}");
}
