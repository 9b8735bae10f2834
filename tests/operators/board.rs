//! The board, the alerts and the metrics, checked by Prometheus' own tool.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::example::Example;
use crate::http_client::{get, make_product, send};

/// Checks a text with `promtool`.
pub fn promtool(arguments: &[&str], text: &str) -> String {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("these tests need promtool: apt-get install prometheus");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    said
}

/// The names of series in a text, whatever is around them.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !is_name(character))
        .filter(|word| word.starts_with("response_cache_"))
        .map(str::to_owned)
        .collect()
}

/// The names of series of a scrape, those of the memory backend, of Redis and of the proxy.
async fn series() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let upstream = ["--upstream", "http://127.0.0.1:1"];
    for (program, backend, more) in [
        ("products", "memory", &[][..]),
        ("products", "redis", &[]),
        ("proxy", "memory", &upstream),
    ] {
        // Nothing listens there: the backend is away, and its metrics are there all the same.
        let redis = ["--backend", backend, "--redis-url", "redis://127.0.0.1:1/"];
        let arguments = [&redis[..], &["--admin", "127.0.0.1:0"], more].concat();
        let server = Example::start(program, &arguments).await;
        let metrics = get(server.admin(), "/metrics").await.text;
        let lines = metrics.lines().filter(|line| !line.starts_with('#'));
        names.extend(lines.flat_map(|line| names_in(line.split('{').next().expect("a name"))));
        // A histogram without observations has no series yet.
        let types = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        let histograms = types.filter_map(|line| line.strip_suffix(" histogram"));
        for name in histograms {
            names.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}")));
        }
    }
    names
}

fn document(name: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    std::fs::read_to_string(file).expect("a document")
}

#[tokio::test]
async fn every_series_of_the_board_and_of_the_alerts_is_there() {
    let series = series().await;
    for name in ["grafana.json", "alerts.yml", "operating.md"] {
        let named = names_in(&document(name));
        assert!(named.len() >= 6, "{name}: {named:?}");
        let unknown: Vec<_> = named.difference(&series).collect();
        assert!(
            unknown.is_empty(),
            "{name} names {unknown:?}, which is not in {series:?}"
        );
    }
}

#[test]
fn the_alerts_are_valid_and_the_board_is_json() {
    let said = promtool(&["check", "rules", "/dev/stdin"], &document("alerts.yml"));
    assert!(said.contains("9 rules found"), "{said}");
    let board: serde_json::Value = serde_json::from_str(&document("grafana.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let expressions: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().expect("an expression"))
        .collect();
    assert!(expressions.len() >= 20, "{expressions:?}");
    // As rules, so that their grammar is checked, too.
    let mut rules = String::from("groups:\n  - name: board\n    rules:\n");
    for (number, expression) in expressions.iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        let expression = expression
            .replace("$cache", ".*")
            .replace("$instance", ".*");
        rules +=
            &format!("      - record: panel:{number}\n        expr: |\n          {expression}\n");
    }
    let said = promtool(&["check", "rules", "/dev/stdin"], &rules);
    assert!(
        said.contains(&format!("{} rules found", expressions.len())),
        "{said}"
    );
}

/// Sends requests that differ in whatever clients can choose.
async fn vary_everything(server: &Example, path: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let query = format!("{path}?{number}");
        let (value, method) = (format!("value-{number}"), format!("METHOD{number}"));
        let lines = [
            ("accept-language", &*value),
            ("cache-control", &*value),
            ("authorization", &*value),
        ];
        send(server.base(), "GET", &query, &lines, "").await;
        send(server.base(), &method, &query, &[("host", &*value)], "").await;
    }
}

#[tokio::test]
async fn metrics_of_both_programs_are_clean_and_bounded_whatever_clients_send() {
    let products = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    let upstream = ["--upstream", products.base(), "--admin", "127.0.0.1:0"];
    let proxy = Example::start("proxy", &upstream).await;
    let path = make_product(&products, "Lamp").await;
    let series = |metrics: &str| {
        metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    for server in [&products, &proxy] {
        // What each of these requests makes first: a histogram has no series before.
        vary_everything(server, &path, 0..1).await;
        let before = get(server.admin(), "/metrics").await;
        promtool(&["check", "metrics"], &before.text);
        vary_everything(server, &path, 1..50).await;
        let after = get(server.admin(), "/metrics").await;
        promtool(&["check", "metrics"], &after.text);
        assert_eq!(
            series(&before.text),
            series(&after.text),
            "requests make no series"
        );
        assert!(series(&after.text) <= 200, "{} series", series(&after.text));
        assert!(
            !after.text.contains("value-"),
            "no label has text of clients"
        );
    }
}
