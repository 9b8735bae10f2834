//! The address for operators: what it bears, how long it is there, and under which names.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::example::{Example, PATIENCE, example};
use crate::http_client::{get, make_product, send};
use crate::programs::{TOKEN, TokenFile};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Starts a program; a proxy has a products server behind it, which answers after `delay`.
async fn start(
    name: &str,
    delay: &'static str,
    more: &[&str],
) -> (Example, Option<Example>, String) {
    let slow = ["--database-delay", delay];
    if name == "products" {
        let products = Example::start(name, &[&slow[..], more].concat()).await;
        let path = make_product(&products, "Lamp").await;
        return (products, None, path);
    }
    let products = Example::start("products", &slow).await;
    let path = make_product(&products, "Lamp").await;
    let upstream = ["--upstream", products.base()];
    let proxy = Example::start(name, &[&upstream[..], more].concat()).await;
    (proxy, Some(products), path)
}

/// Connects to operators, and sends a part of a request.
async fn connect(server: &Example, sent: &str) -> TcpStream {
    let address = server.admin().strip_prefix("http://").expect("a base");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(sent.as_bytes()).await.expect("it is sent");
    stream
}

#[tokio::test]
async fn connections_that_send_no_request_are_ended_and_lock_nobody_out_for_long() {
    for name in ["products", "proxy"] {
        let (server, _products, path) = start(name, "0ms", &ADMIN).await;
        let mut idle = Vec::new();
        for number in 0..100 {
            let sent = ["", "GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "][number % 2];
            idle.push(connect(&server, sent).await);
        }
        // Clients have connections of their own.
        assert_eq!(get(server.base(), &path).await.status, 200);
        let answered = timeout(PATIENCE, get(server.admin(), "/stats")).await;
        assert_eq!(answered.expect("in time").status, 200);
        for mut stream in idle {
            let mut rest = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            let _ = ended.expect("it is closed in time");
        }
    }
}

/// A stranger who reaches the port takes all connections, again and again, and sends half of each
/// request: the health check is answered at once all the same.
#[tokio::test]
async fn half_sent_requests_do_not_delay_the_health_check() {
    let token = TokenFile::new(TOKEN);
    let flags = [&ADMIN[..], &["--admin-token-file", token.path()]].concat();
    let head = "POST /explain HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    let with_content = format!("{head}content-length: 10\r\n\r\n{{");
    let whole = "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    for name in ["products", "proxy"] {
        let (server, _products, _) = start(name, "0ms", &flags).await;
        let mut kept = Vec::new();
        for sent in ["", "GET /stats HTTP/1.1\r\nx: ", &with_content, whole] {
            for _ in 0..64 {
                kept.push(connect(&server, sent).await);
            }
            let asked = std::time::Instant::now();
            assert_eq!(get(server.admin(), "/healthz").await.status, 200);
            let took = asked.elapsed();
            assert!(took < Duration::from_secs(1), "{name} {sent:?}: {took:?}");
        }
        // A connection that is used is not ended for those that are not.
        let mut used = connect(&server, whole).await;
        let mut read = [0; 1024];
        assert!(used.read(&mut read).await.expect("an answer") > 0);
        for _ in 0..80 {
            kept.push(connect(&server, "GET /").await);
        }
        assert_eq!(get(server.admin(), "/healthz").await.status, 200);
        used.write_all(whole.as_bytes()).await.expect("it is open");
        assert!(used.read(&mut read).await.expect("an answer") > 0, "{name}");
    }
}

/// A load balancer that asks for readiness stops sending requests before the program is gone.
#[tokio::test]
async fn a_program_that_stops_is_not_ready_and_says_so_until_its_end() {
    for name in ["products", "proxy"] {
        let (server, _products, path) = start(name, "1500ms", &ADMIN).await;
        assert_eq!(get(server.admin(), "/readyz").await.status, 200);
        let (base, admin) = (server.base().to_owned(), server.admin().to_owned());
        let request = tokio::spawn(async move { get(&base, &path).await.status });
        let in_flight = async || {
            let stats = get(&admin, "/stats").await.text;
            let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
            stats["in_flight"]["fills"].as_u64().expect("a number")
        };
        while in_flight().await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        server.signal("TERM").await;
        while get(&admin, "/readyz").await.status == 200 {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(!request.is_finished(), "{name}: it was told before the end");
        assert_eq!(get(&admin, "/healthz").await.status, 200);
        assert_eq!(in_flight().await, 1, "{name}: it can be looked at");
        assert_eq!(request.await.expect("an answer"), 200);
        assert!(server.exit().await.success());
    }
}

/// Behind a proxy that ends TLS, the page has another origin than the address.
#[tokio::test]
async fn the_name_of_operators_is_a_flag() {
    let token = TokenFile::new(TOKEN);
    for name in ["products", "proxy"] {
        let flags = [
            "--admin-token-file",
            token.path(),
            "--admin-host",
            "ops.example",
        ];
        let (server, _products, _) = start(name, "0ms", &[&ADMIN[..], &flags].concat()).await;
        let authorization = format!("Bearer {TOKEN}");
        for (origin, status) in [("https://ops.example", 200), ("https://evil.example", 403)] {
            let lines = [
                ("authorization", &*authorization),
                ("origin", origin),
                ("sec-fetch-site", "same-origin"),
                ("content-type", "application/json"),
            ];
            let all = r#"{"type":"all"}"#;
            let answer = send(server.admin(), "POST", "/invalidate", &lines, all).await;
            assert_eq!(answer.status, status, "{name} {origin}");
        }
        // Whoever reaches the name is no operator yet, nor is who comes by a proxy on this machine.
        let local = server.admin().strip_prefix("http://").expect("a base");
        for host in ["ops.example", local, "localhost"] {
            for (path, lines, status) in [
                ("/metrics", &[("host", host)][..], 401),
                ("/stats", &[("host", host)], 401),
                (
                    "/stats",
                    &[("host", host), ("authorization", &authorization)],
                    200,
                ),
            ] {
                let answer = send(server.admin(), "GET", path, lines, "").await;
                assert_eq!(answer.status, status, "{name} {host} {path}");
            }
        }
    }
    // No name, and no token for those who reach a name.
    for host in ["a b", "ops.example"] {
        let flags = [&ADMIN[..], &["--admin-host", host]].concat();
        let output = example("products", &flags).output().await;
        let output = output.expect("a program");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains("--admin-host"),
            "{error}"
        );
    }
}

/// The question of an operator has the key, and the kind, of a client's request.
#[tokio::test]
async fn an_explanation_in_the_proxy_says_what_was_refused_lately() {
    let (proxy, _products, _) = start("proxy", "0ms", &ADMIN).await;
    // The counters of products are `no-store`.
    let uri = format!("{}/stats", proxy.base());
    let explain = async |fields: &str| {
        let question = format!(r#"{{"uri":"{uri}","fields":{fields}}}"#);
        let json = [("content-type", "application/json")];
        send(proxy.admin(), "POST", "/explain", &json, question)
            .await
            .text
    };
    assert!(!explain("{}").await.contains("refused-lately"));
    assert_eq!(get(proxy.base(), "/stats").await.status, 200);
    let said = explain("{}").await;
    assert!(
        said.contains("refused-lately") && said.contains("uri-miss"),
        "{said}"
    );
    // What the proxy does not forward, the cache does not see either.
    let said = explain(r#"{"connection":"x-hop","x-hop":"1","x-forwarded-for":"1.2.3.4"}"#).await;
    assert!(said.contains("refused-lately"), "{said}");
    // Other fields than those of the client.
    let said = explain(r#"{"user-agent":"other"}"#).await;
    assert!(
        said.contains("others-refused") && said.contains("no-store"),
        "{said}"
    );
    // RFC 6455 §4.1: the handshake passes the cache by; `h2c` is not forwarded (RFC 9110 §7.8).
    for (protocol, verdict) in [("websocket", "bypass"), ("h2c", "fetch")] {
        let fields = format!(r#"{{"connection":"Upgrade","upgrade":"{protocol}"}}"#);
        let said = explain(&fields).await;
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["verdict"], verdict, "{said}");
    }
    let said = explain(r#"{"host":"a b"}"#).await;
    assert!(
        said.contains("answered-outside") && said.contains("400"),
        "{said}"
    );
}

/// Sets the most files that a program may have open.
async fn limit_files(program: &Example, limit: &str) {
    let (id, limit) = (program.id().to_string(), format!("--nofile={limit}:"));
    let set = Command::new("prlimit")
        .args(["--pid", &id, &limit])
        .status()
        .await;
    assert!(set.expect("prlimit of util-linux").success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_without_files_left_says_so_and_serves_operators_afterwards() {
    for name in ["products", "proxy"] {
        let upstream = ["--upstream", "http://127.0.0.1:1"];
        let more = if name == "proxy" { &upstream[..] } else { &[] };
        let mut command = example(name, &[&ADMIN[..], more].concat());
        command.env("RUST_LOG", "warn").stderr(Stdio::piped());
        let mut server = Example::run(&mut command).await;
        let mut log = BufReader::new(server.stderr()).lines();
        assert_eq!(get(server.admin(), "/healthz").await.status, 200);
        limit_files(&server, "3").await;
        let waiting = connect(&server, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let line = async {
            loop {
                let line = log.next_line().await.expect("a log").expect("a line");
                if line.contains("operator") {
                    return line;
                }
            }
        };
        let line = timeout(PATIENCE, line).await.expect("a line in time");
        assert!(line.contains("not accepted; will retry"), "{line}");
        assert!(line.contains("Too many open files"), "{line}");
        limit_files(&server, "1024").await;
        let mut waiting = BufReader::new(waiting).lines();
        let answer = timeout(PATIENCE, waiting.next_line())
            .await
            .expect("in time");
        assert_eq!(
            answer.expect("an answer").as_deref(),
            Some("HTTP/1.1 200 OK")
        );
    }
}
