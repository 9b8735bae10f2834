//! The board, the alerts and the metrics, checked by Prometheus' own tool.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::example::Example;
use crate::http_client::{get, make_product, send};
use crate::programs::{TOKEN, TokenFile};

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
    assert!(said.contains("19 rules found"), "{said}");
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

/// An origin behind the proxy that makes every histogram have values: it answers with each class of
/// status, or not at all, and slowly enough for others to wait.
async fn every_status() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let length = stream.read(&mut head).await.unwrap_or_default();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let status = head
                    .split('/')
                    .nth(1)
                    .map_or("", |rest| &rest[..3.min(rest.len())]);
                sleep(Duration::from_millis(20)).await;
                if status.parse::<u16>().is_ok() {
                    let answer = format!(
                        "HTTP/1.1 {status} So\r\ncache-control: max-age=60\r\nconnection: close\r\n\
                         content-length: 1\r\n\r\nx"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    format!("http://{address}")
}

/// The number of series in a scrape, each bucket counted as one.
fn series_in(metrics: &str) -> usize {
    let lines = metrics.lines();
    lines.filter(|line| !line.starts_with('#')).count()
}

/// Sends what makes all histograms have values, and as many label values as can be.
async fn touch_everything(proxy: &Example) {
    let requests = ["200", "204", "301", "404", "500", "none"]
        .into_iter()
        .flat_map(|status| {
            // Two at once: one waits for the call of the other, and both for the place of a third.
            [status; 2].into_iter().chain(["200?1"])
        });
    let requests = requests.map(|path| {
        let (base, path) = (proxy.base().to_owned(), format!("/{path}"));
        tokio::spawn(async move { get(&base, &path).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.expect("an answer");
    }
    for (method, path) in [
        ("PUT", "/200"),
        ("POST", "/500"),
        ("OPTIONS", "/200"),
        ("PURGE", "/200"),
        ("PUT", "/none"),
    ] {
        send(proxy.base(), method, path, &[], "x").await;
    }
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "only-if-cached"),
        ("cache-control", "no-store"),
        ("authorization", "x"),
        ("cookie", "a=b"),
        ("range", "bytes=0-0"),
        ("expect", "200-ok"),
    ] {
        send(proxy.base(), "GET", "/200?2", &[(name, value)], "").await;
    }
}

/// The worst cases: everything is configured, and everything has happened once.
#[tokio::test]
async fn a_scrape_has_at_most_200_series_whatever_has_happened() {
    let upstream = every_status().await;
    let token = TokenFile::new(TOKEN);
    let authorization = format!("Bearer {TOKEN}");
    for backend in ["memory", "redis", "none"] {
        let arguments = [
            ["--upstream", &upstream],
            ["--admin", "127.0.0.1:0"],
            ["--admin-token-file", token.path()],
            // One place before the origin, so that others wait for it.
            ["--concurrency", "1"],
            ["--backend", backend],
            // Nothing listens there: each operation fails.
            ["--redis-url", "redis://127.0.0.1:1/"],
        ];
        let proxy = Example::start("proxy", arguments.as_flattened()).await;
        touch_everything(&proxy).await;
        for target in [
            r#""uri","selectors":["http://a.example/200"]"#,
            r#""group","selectors":["g"],"authority":"a.example""#,
            r#""all""#,
        ] {
            for purge in [true, false] {
                let content = format!(r#"{{"type":{target},"purge":{purge}}}"#);
                let lines = [
                    ("authorization", &*authorization),
                    ("content-type", "application/json"),
                ];
                send(proxy.admin(), "POST", "/invalidate", &lines, content).await;
            }
        }
        let metrics = get(proxy.admin(), "/metrics").await.text;
        promtool(&["check", "metrics"], &metrics);
        assert!(
            series_in(&metrics) <= 200,
            "{backend}: {}",
            series_in(&metrics)
        );
        let has = |text: &str| metrics.contains(text);
        assert_eq!(has("tier=\"far\""), backend == "redis", "{backend}");
        assert_eq!(has("tier=\"near\""), backend == "memory", "{backend}");
        assert!(has("fetch_duration_seconds_bucket") && has("on=\"readiness\""));
        assert!(has("on=\"flight\"") || backend != "memory", "{metrics}");
    }
}

#[tokio::test]
async fn metrics_of_both_programs_are_clean_and_bounded_whatever_clients_send() {
    let products = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    let upstream = ["--upstream", products.base(), "--admin", "127.0.0.1:0"];
    let proxy = Example::start("proxy", &upstream).await;
    let path = make_product(&products, "Lamp").await;
    for server in [&products, &proxy] {
        assert!(
            !get(server.admin(), "/metrics")
                .await
                .text
                .contains("tier=\"far\"")
        );
        // What each of these requests makes first: a histogram has no series before.
        vary_everything(server, &path, 0..1).await;
        let before = get(server.admin(), "/metrics").await;
        promtool(&["check", "metrics"], &before.text);
        vary_everything(server, &path, 1..50).await;
        let after = get(server.admin(), "/metrics").await;
        promtool(&["check", "metrics"], &after.text);
        assert_eq!(
            series_in(&before.text),
            series_in(&after.text),
            "requests make no series"
        );
        assert!(
            series_in(&after.text) <= 200,
            "{} series",
            series_in(&after.text)
        );
        assert!(
            !after.text.contains("value-"),
            "no label has text of clients"
        );
    }
}
