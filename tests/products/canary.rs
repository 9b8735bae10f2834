//! The canary: that it passes where nothing is stale, and fails where something is.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::example::program;
#[cfg(feature = "redis")]
use crate::redis::{Link, LinkSpeed, RedisServer};

/// Only a canary that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn canary(arguments: &str) -> Command {
    let mut command = Command::new(program("canary"));
    command
        .args(arguments.split_whitespace())
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(arguments: &str) -> Output {
    let output = timeout(PATIENCE, canary(arguments).output()).await;
    output.expect("an end in time").expect("an output")
}

/// A short run on one server.
async fn run_on(url: &str) -> Output {
    run(&format!(
        "--url {url} --reads 600 --writes 80 --time-limit 60s --json"
    ))
    .await
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The least part of reads that are hits, in invalidating runs and in such that write through.
const HITS: [f64; 2] = [0.1, 0.6];

/// The deadline of a lookup in Redis, in milliseconds. Where one of a hundred reads takes longer,
/// this machine may be too busy for lookups: then there may be no hits.
#[cfg(feature = "redis")]
const LOOKUP_DEADLINE: f64 = 50.0;

/// In invalidating runs and in such that write through, with enough hits unless one of a hundred
/// reads takes longer than `deadline` milliseconds.
async fn nothing_is_stale(arguments: &str, deadline: f64) {
    for (write, hits) in ["invalidate", "write-through"].into_iter().zip(HITS) {
        let size = "--reads 3000 --writes 200 --json";
        let output = run(&format!("{arguments} --write {write} {size}")).await;
        let report = report(&output);
        let is_busy = report["read_milliseconds"]["p99"].as_f64() > Some(deadline);
        let hits = if is_busy { -1.0 } else { hits };
        if is_busy && report["hit_ratio"] == 0.0 {
            let failure = "no response came from the cache, so the run shows nothing";
            assert_eq!(report["failures"], json!([failure]), "{output:?}");
        } else {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(report["failures"], json!([]));
        }
        assert_eq!(report["stale_reads"], 0);
        assert_eq!(
            report["errors"],
            json!({"not_2xx": 0, "broken": 0, "wrong": 0})
        );
        assert!(report["reads"].as_u64() >= Some(3000), "{report:#}");
        assert!(report["writes"].as_u64() >= Some(200), "{report:#}");
        assert!(report["hit_ratio"].as_f64() > Some(hits), "{report:#}");
        assert!(report["write_milliseconds"]["p50"].as_f64() > Some(0.0));
    }
}

#[tokio::test]
async fn nothing_is_stale_in_one_instance() {
    nothing_is_stale("--instances 1 --backend memory", f64::MAX).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn nothing_is_stale_in_instances_that_share_a_redis() {
    nothing_is_stale("--instances 2", LOOKUP_DEADLINE).await;
}

/// 100 Mbit/s and 5 ms, as between two sites.
#[cfg(feature = "redis")]
#[tokio::test]
async fn nothing_is_stale_over_a_slow_link() {
    let redis = RedisServer::start().await;
    let link = Link::to(redis.port(), LinkSpeed::SLOW).await;
    // Few clients: what they cost of a busy machine adds to the time of each lookup, which has 50 ms.
    let clients = "--readers 8 --writers 2";
    let arguments = format!("--instances 2 --redis-url {} {clients}", link.url());
    nothing_is_stale(&arguments, LOOKUP_DEADLINE).await;
}

#[tokio::test]
async fn without_json_it_is_one_figure_a_line() {
    let output = run("--instances 1 --reads 300 --writes 20").await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", said(&output));
    let figures: Vec<_> = text
        .lines()
        .map(|line| line.split_at(24))
        .map(|(name, figure)| (name.trim_end(), figure))
        .collect();
    assert!(figures.contains(&("stale after write", "0")), "{text}");
    assert_eq!(figures.last(), Some(&("result", "passed")), "{text}");
}

/// Answers GETs with what a product was so many writes ago.
#[derive(Clone, Default)]
struct Late {
    by: usize,
    /// Its PUT is refused, and takes effect after the next one.
    refuses: Option<u64>,
    gives_id: Option<&'static str>,
    products: Arc<Mutex<Vec<Product>>>,
}

struct Product {
    versions: Vec<u64>,
    refused: Option<u64>,
}

#[derive(Deserialize)]
struct Draft {
    price: u64,
}

impl Late {
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let routes = Router::new()
            .route("/products", post(Self::create))
            .route("/products/{id}", get(Self::show).put(Self::change))
            .with_state(self);
        tokio::spawn(async { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    async fn create(State(late): State<Self>, Json(draft): Json<Draft>) -> Json<Value> {
        let mut products = late.products.lock().unwrap();
        products.push(Product {
            versions: vec![draft.price],
            refused: None,
        });
        let id = (products.len() - 1).to_string();
        Json(json!({"data": {"id": id, "price": draft.price}, "source": "database"}))
    }

    async fn show(State(late): State<Self>, Path(id): Path<String>) -> Json<Value> {
        let products = late.products.lock().unwrap();
        let versions = &products[id.parse::<usize>().unwrap()].versions;
        let price = versions[versions.len().saturating_sub(late.by + 1)];
        let id = late.gives_id.unwrap_or(&id);
        Json(json!({"data": {"id": id, "price": price}, "source": "cache"}))
    }

    async fn change(
        State(late): State<Self>,
        Path(id): Path<usize>,
        Json(Draft { price }): Json<Draft>,
    ) -> StatusCode {
        let product = &mut late.products.lock().unwrap()[id];
        if late.refuses == Some(price) {
            product.refused = Some(price);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        product.versions.push(price);
        product.versions.extend(product.refused.take());
        StatusCode::OK
    }
}

#[tokio::test]
async fn a_server_that_is_a_write_behind_is_caught() {
    let late = Late {
        by: 1,
        ..Late::default()
    };
    let url = late.serve().await;
    let output = run_on(&url).await;
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let stale = report["stale_reads"].as_u64().expect("a count");
    assert!(stale >= 10, "{report:#}");
    assert_eq!(report["failures"], json!([format!("{stale} stale reads")]));
    let first = report["first_stale_reads"].as_array().expect("a list");
    assert_eq!(first.len(), 10);
    let said = said(&output);
    for told in first.iter().map(|told| told.as_str().expect("text")) {
        assert!(said.contains(&format!("stale read: {told}\n")), "{said}");
        assert!(told.starts_with(&format!("{url}/products/")), "{told}");
        let number = |name| -> Option<u64> {
            let (number, _) = told.split_once(name)?.1.split_once(',')?;
            number.parse().ok()
        };
        let (got, promised) = (number(", got "), number(", promised "));
        assert_eq!(got.map(|got| got + 1), promised, "{told}");
        assert!(promised.is_some(), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_behind_passes() {
    let output = run_on(&Late::default().serve().await).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(report(&output)["hit_ratio"], 1.0);
}

#[tokio::test]
async fn a_refused_write_fails_the_run_and_its_possible_effects_are_undecided() {
    let late = Late {
        refuses: Some(3),
        ..Late::default()
    };
    let output = run_on(&late.serve().await).await;
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["stale_reads"], 0, "{report:#}");
    assert!(report["undecided_reads"].as_u64() > Some(0), "{report:#}");
    let errors = report["errors"]["not_2xx"].as_u64().expect("a count");
    assert!(errors > 0, "{report:#}");
    assert_eq!(report["failures"], json!([format!("{errors} errors")]));
    let said = said(&output);
    assert!(said.contains("error: PUT http://"), "{said}");
    assert!(said.contains(": 503 Service Unavailable"), "{said}");
}

#[tokio::test]
async fn an_answer_of_another_product_is_an_error_and_the_time_limit_holds() {
    let late = Late {
        gives_id: Some("another"),
        ..Late::default()
    };
    let url = late.serve().await;
    let output = run(&format!("--url {url} --time-limit 500ms --json")).await;
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["reads"], 0, "{report:#}");
    assert!(report["errors"]["wrong"].as_u64() > Some(0), "{report:#}");
    let missing = report["failures"][2].as_str().expect("why it failed");
    assert!(missing.starts_with("1000000 reads and "), "{missing}");
    assert!(missing.ends_with("the time limit of 500ms was reached"));
}

#[tokio::test]
async fn help_opens_with_an_example_and_names_rust_log() {
    let help = String::from_utf8_lossy(&run("--help").await.stdout).into_owned();
    assert!(help.starts_with("Shows that no read is older"), "{help}");
    for part in [
        "Example:\n  canary --instances",
        "RUST_LOG",
        "[default: 600s]",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[tokio::test]
async fn wrong_calls_are_explained() {
    for (arguments, message) in [
        ("--backend memory", "needs --instances 1"),
        ("--writers 21", "--writers 21 is more than --products 20"),
        (
            "--instances 1 --redis-url redis://127.0.0.1/",
            "--redis-url has no effect",
        ),
        ("--reads 0", "0 is not in 1.."),
        ("--ttl 60", "units ms, s, m, h, d, or until-invalidated"),
        ("--url 127.0.0.1:3000", "expected http://HOST:PORT"),
        (
            "--url http://operator:secret@127.0.0.1:1",
            "expected http://HOST:PORT",
        ),
        (
            "--url http://operator@127.0.0.1:1 --time-limit 1s",
            "expected http://HOST:PORT",
        ),
        (
            "--url http://127.0.0.1:1 --instances 2",
            "cannot be used with",
        ),
    ] {
        let output = run(arguments).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(message), "{arguments}: {said}");
        assert!(!said.contains("secret"), "{arguments}: {said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_leaves_nothing_behind() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpStream;

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("canary-signal");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut canary = canary("--instances 1")
        .env("TMPDIR", &folder)
        .spawn()
        .expect("a running example");
    let mut lines = BufReader::new(canary.stderr.take().expect("a pipe")).lines();
    let first = lines.next_line().await.expect("a readable pipe");
    let first = first.expect("a line");
    let address = first.strip_prefix("instance 0: http://").expect("a URL");
    assert!(TcpStream::connect(address).await.is_ok());
    lines.next_line().await.expect("progress");

    let id = canary.id().expect("it still runs");
    let kill = format!("kill -INT {id}");
    let sent = Command::new("sh").args(["-c", &kill]).status().await;
    assert!(sent.expect("a shell").success());
    let output = timeout(PATIENCE, canary.wait_with_output()).await;
    let output = output.expect("an end in time").expect("an output");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.trim_end().ends_with("missing: interrupted"), "{text}");
    assert!(TcpStream::connect(address).await.is_err(), "it serves on");
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 0);
}
