//! What the programs write: to a terminal, to a pipe, and to the log.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example, program};
use crate::http_client::{get, make_product, send};

/// The objects of a log, up to the first for which a condition holds.
pub async fn log_until(
    example: &mut Example,
    mut is_last: impl FnMut(&Value) -> bool,
) -> Vec<Value> {
    let mut lines = BufReader::new(example.stderr()).lines();
    let mut objects: Vec<Value> = Vec::new();
    let reading = async {
        while !objects.last().is_some_and(&mut is_last) {
            let line = lines.next_line().await.expect("a pipe").expect("a line");
            objects.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
        }
    };
    timeout(PATIENCE, reading).await.expect("a line in time");
    objects
}

#[tokio::test]
async fn a_log_of_json_says_what_is_configured() {
    let flags = [
        "--log-format",
        "json",
        "--ttl",
        "7s",
        "--admin",
        "127.0.0.1:0",
    ];
    let mut command = example("products", &flags);
    let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut server = Example::run(command).await;
    let log = log_until(&mut server, |line| line["message"] == "ready").await;
    let ready = log.last().expect("a line");
    assert_eq!(ready["level"], "INFO");
    // As the flags have them.
    for (name, value) in [
        ("capacity", "64MiB"),
        ("backend", "memory"),
        ("write", "invalidate"),
    ] {
        assert_eq!(ready[name], value, "{name}");
    }
    // The ports are those that it has picked.
    for (name, base) in [("listen", server.base()), ("admin", server.admin())] {
        let address = base.strip_prefix("http://").expect("a base");
        assert_eq!(ready[name], address, "{name}");
    }
    assert_eq!(ready["ttl"], "7s");
    assert!(ready["timestamp"].is_string());
}

#[tokio::test]
async fn a_line_of_the_access_log_has_number_bytes_times_and_result() {
    let products = Example::start("products", &["--database-delay", "20ms"]).await;
    let path = make_product(&products, "Lamp").await;
    let arguments = [
        "--upstream",
        products.base(),
        "--ttl",
        "60s",
        "--access-log",
    ];
    let arguments = [&arguments[..], &["--log-format", "json"]].concat();
    let mut command = example("proxy", &arguments);
    let filter = "info,tower_response_cache=debug";
    let command = command.env("RUST_LOG", filter).stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let content = get(proxy.base(), &path).await.text;
    get(proxy.base(), &path).await;
    send(proxy.base(), "HEAD", &path, &[], "").await;
    let access = |line: &&Value| line["target"] == "access" && line["status"].is_number();
    let log = log_until(&mut proxy, |line| line["method"] == "HEAD" && access(&line)).await;
    let lines: Vec<_> = log.iter().filter(access).collect();
    let [miss, hit, head] = lines[..] else {
        panic!("three lines: {lines:#?}");
    };
    for (line, cache, bytes) in [
        (
            miss,
            "tower-response-cache; fwd=uri-miss; stored",
            content.len(),
        ),
        (hit, "tower-response-cache; hit; ttl=", content.len()),
        (head, "tower-response-cache; hit; ttl=", 0),
    ] {
        assert!(
            line["cache"].as_str().expect("text").starts_with(cache),
            "{line}"
        );
        assert_eq!(
            (&line["status"], &line["bytes"]),
            (&200.into(), &bytes.into()),
            "{line}"
        );
        assert_eq!(line["is_whole"], true, "{line}");
        assert!(
            line["elapsed_ms"].as_f64() >= line["head_ms"].as_f64(),
            "{line}"
        );
    }
    assert!(
        miss["upstream_ms"].as_f64().expect("a number") >= 20.0,
        "{miss}"
    );
    assert!(hit["upstream_ms"].is_null(), "{hit}");
    // Other lines about the request have its number, which no other request has.
    let id = &miss["id"];
    assert!(id != &hit["id"] && id.is_string());
    let is_about = |line: &&Value| line["message"] == "stored" && &line["span"]["id"] == id;
    let spans = |line: &&Value| {
        line["spans"].as_array().is_some_and(|spans| {
            line["message"] == "stored" && spans.iter().any(|span| &span["id"] == id)
        })
    };
    assert!(
        log.iter().any(|line| is_about(&line) || spans(&line)),
        "{log:#?}"
    );
}

/// Queries may hold secrets: neither lines about requests nor spans have them unless that is asked for.
#[tokio::test]
async fn queries_are_logged_by_option_alone() {
    let products = Example::start("products", &[]).await;
    for is_wanted in [false, true] {
        let upstream = ["--upstream", products.base(), "--ttl", "60s"];
        let mut arguments = [&upstream[..], &["--access-log", "--log-format", "json"]].concat();
        arguments.extend(is_wanted.then_some("--log-query"));
        let mut command = example("proxy", &arguments);
        let filter = "info,tower_response_cache=trace";
        let command = command.env("RUST_LOG", filter).stderr(Stdio::piped());
        let mut proxy = Example::run(command).await;
        for method in ["GET", "GET", "PUT"] {
            send(proxy.base(), method, "/products?secret=1", &[], "").await;
        }
        let log = log_until(&mut proxy, |line| {
            line["method"] == "PUT" && line["target"] == "access"
        });
        let log = log.await;
        let text = log.iter().map(Value::to_string).collect::<String>();
        assert_eq!(text.contains("secret"), is_wanted, "{text}");
        let access = log.iter().filter(|line| line["target"] == "access");
        let uris: Vec<_> = access.map(|line| line["uri"].clone()).collect();
        let uri = if is_wanted {
            "/products?secret=1"
        } else {
            "/products"
        };
        assert_eq!(uris, [uri; 3], "{text}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_logged_as_such() {
    let origin = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", origin.local_addr().expect("an address"));
    let answering = tokio::spawn(async move {
        let (mut stream, _) = origin.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await;
        assert!(read.expect("a request") > 0);
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    });
    let arguments = [
        "--upstream",
        &upstream,
        "--access-log",
        "--log-format",
        "json",
    ];
    let mut command = example("proxy", &arguments);
    let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let address = proxy
        .base()
        .strip_prefix("http://")
        .expect("a base")
        .to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let request = format!("GET /cut HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let log = log_until(&mut proxy, |line| line["uri"] == "/cut").await;
    let broken = log.last().expect("a line");
    assert_eq!(
        (&broken["status"], &broken["length"]),
        (&200.into(), &"10".into()),
        "{broken}"
    );
    assert_eq!(
        (&broken["bytes"], &broken["is_whole"]),
        (&5.into(), &false.into()),
        "{broken}"
    );
    answering.await.expect("no panic");
}

/// Runs products at a terminal that is 120 columns wide, and returns what it shows in some seconds.
async fn at_a_terminal(arguments: &str, requests: impl AsyncFn(String)) -> String {
    let program = program("products");
    let line = format!(
        "stty cols 120; exec {} --listen 127.0.0.1:0 {arguments}",
        program.display()
    );
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("RUST_LOG", "off")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script, of bsdutils");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut shown = String::new();
    let mut chunk = [0; 4096];
    let reading = async {
        let mut is_asked = false;
        loop {
            let length = stdout.read(&mut chunk).await.expect("a pipe");
            shown += &String::from_utf8_lossy(&chunk[..length]);
            let line = shown
                .lines()
                .find_map(|line| line.trim().strip_prefix("listening on "));
            if let Some(base) = line.filter(|_| !is_asked && shown.contains("curl")) {
                is_asked = true;
                requests(base.to_owned()).await;
            }
            if shown.contains("requests/s") && shows_hits(&shown) {
                return;
            }
            if length == 0 || !arguments.contains("watch") && shown.contains("curl") {
                return;
            }
        }
    };
    let _ = timeout(Duration::from_secs(20), reading).await;
    shown
}

/// Whether a line says that nearly all requests were hits: all of them, if the miss was in an earlier second.
fn shows_hits(shown: &str) -> bool {
    ["hit ratio 9", "hit ratio 100.0 %"]
        .iter()
        .any(|ratio| shown.contains(ratio))
}

#[tokio::test]
async fn at_a_terminal_there_is_a_banner_and_with_watch_a_line() {
    let shown = at_a_terminal("", async |_| {}).await;
    assert!(shown.contains("curl -i 127.0.0.1:"), "{shown}");
    assert!(!shown.contains("requests/s"), "{shown}");
    let load = async |base: String| {
        tokio::spawn(async move {
            for _ in 0..2000 {
                get(&base, "/products").await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    };
    let shown = at_a_terminal("--watch", load).await;
    assert!(shown.contains("requests/s"), "{shown}");
    assert!(shows_hits(&shown) && shown.contains("p99 "), "{shown}");
}

/// The canary always shows a line, and says how its run is ended.
#[tokio::test]
async fn the_canary_has_a_banner_and_a_line_at_a_terminal() {
    let canary = program("canary");
    let run = "--instances 1 --reads 20000 --writes 100 --time-limit 60s";
    let line = format!("stty cols 160; exec {} {run}", canary.display());
    let output = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .output();
    let shown = output.await.expect("script, of bsdutils").stdout;
    let shown = String::from_utf8_lossy(&shown);
    for text in ["Ctrl-C ends it", "hits ", "p99 ", "stale 0", "result"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

#[tokio::test]
async fn into_a_pipe_there_is_nothing_but_the_addresses() {
    let arguments = ["--watch", "--admin", "127.0.0.1:0"];
    let mut command = example("products", &arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a program");
    let mut stdout = child.stdout.take().expect("a pipe");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let id = child.id().expect("it runs");
    let stopped = Command::new("sh")
        .args(["-c", &format!("kill -TERM {id}")])
        .status()
        .await;
    assert!(stopped.expect("a shell").success());
    let mut shown = String::new();
    stdout.read_to_string(&mut shown).await.expect("a pipe");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(
        lines[0].starts_with("listening on ") && lines[1].starts_with("admin on "),
        "{shown}"
    );
}
