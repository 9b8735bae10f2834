//! Each request of a client counts once, whatever becomes of it, and for as long as the program
//! runs.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::example::{Example, PATIENCE, example};
use crate::http_client::{get, make_product};

/// An origin that answers as the path says, one request for each connection.
async fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    format!("http://{address}")
}

async fn answer(mut stream: TcpStream) {
    let mut head = [0; 8192];
    let length = stream.read(&mut head).await.unwrap_or_default();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let has = |text: &str| head.contains(text);
    if has("/slow") {
        sleep(Duration::from_millis(700)).await;
    }
    let close = "connection: close\r\n";
    let text = match () {
        () if has("/hang") => return sleep(PATIENCE).await,
        () if has("/garbage") => "no answer of HTTP\r\n\r\n".to_owned(),
        () if has("/cut") => format!("HTTP/1.1 200 OK\r\n{close}content-length: 10\r\n\r\nhello"),
        () if has("/none") => String::new(),
        () if has("/500") => format!("HTTP/1.1 500 No\r\n{close}content-length: 0\r\n\r\n"),
        () if has("if-none-match") => format!("HTTP/1.1 304 Same\r\n{close}etag: \"1\"\r\n\r\n"),
        () => format!(
            "HTTP/1.1 200 OK\r\n{close}cache-control: max-age=60\r\netag: \"1\"\r\n\
             content-length: 5\r\n\r\nhello"
        ),
    };
    let _ = stream.write_all(text.as_bytes()).await;
}

/// In place of a status: the content breaks off, before the head is sent or after.
const CUT: u16 = 0;

/// Sends bytes on a connection of their own, and returns the statuses of the answers.
async fn send_raw(proxy: &Example, text: &str) -> Vec<u16> {
    let address = proxy.base().strip_prefix("http://").expect("a base");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may be closed before it has read all.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answers = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answers))
        .await
        .expect("in time");
    let answers = String::from_utf8_lossy(&answers);
    let statuses = answers.split("HTTP/1.1 ").skip(1);
    statuses
        .map(|answer| answer[..3].parse().expect("a status"))
        .collect()
}

/// A request that is the last one of its connection.
fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{lines}\r\n")
}

async fn stats(proxy: &Example) -> Value {
    let text = get(proxy.admin(), "/stats").await.text;
    serde_json::from_str(&text).expect("JSON")
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().expect("counts").values();
    counts.map(|count| count.as_u64().expect("a number")).sum()
}

/// Waits until so many requests are counted, which may be after their answers are read: never more.
async fn until_counted(proxy: &Example, sent: u64, last: &str) {
    let counted = async {
        loop {
            let counted = sum(&stats(proxy).await["requests"]);
            assert!(counted <= sent, "{counted} instead of {sent}: {last:.80}");
            if counted == sent {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = timeout(Duration::from_secs(20), counted).await;
    counted.unwrap_or_else(|_| panic!("{sent} are not counted: {last:.80}"));
}

/// What the proxy, or its HTTP library, answers itself: the request, and the status.
fn answered_outside() -> Vec<(String, u16)> {
    let via = "via: 1.1 tower-response-cache\r\n".repeat(9);
    let fields: String = (0..150)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let bare = |text: &str| text.to_owned();
    vec![
        (bare("no request at all\r\n\r\n"), 400),
        (
            bare("GET /a HTTP/1.1\r\nhost: a.example\r\nno field\r\n\r\n"),
            400,
        ),
        (
            bare("GET /a HTTP/1.1\r\nhost: a.example\r\ncontent-length: x\r\n\r\n"),
            400,
        ),
        (bare("GET /a HTTP/1.1\r\nconnection: close\r\n\r\n"), 400),
        (request("GET", "/a", "host: b.example\r\n"), 400),
        (
            bare("GET /a HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n"),
            400,
        ),
        (request("GET", "ftp://a.example/a", ""), 400),
        (request("GET", "/dead/..%2fa", ""), 400),
        (request("PURGE", "/a", ""), 405),
        (request("CONNECT", "a.example:443", ""), 501),
        (
            request("POST", "/a", "transfer-encoding: gzip, chunked\r\n"),
            501,
        ),
        (request("OPTIONS", "*", ""), 204),
        (request("OPTIONS", "/a", "max-forwards: 0\r\n"), 204),
        (request("GET", "/a", &via), 508),
        (request("GET", "/a", &fields), 431),
    ]
}

/// What the cache gets: the request, and the status of the answer; 0 for none that is whole.
fn answered_inside() -> Vec<(String, u16)> {
    let body = |text: &str| format!("content-length: {}\r\n\r\n{text}", text.len());
    vec![
        (request("GET", "/a", ""), 200),
        (request("GET", "/a", ""), 200),
        (request("HEAD", "/a", ""), 200),
        (request("GET", "/a", "range: bytes=0-1\r\n"), 206),
        (request("GET", "/a", "if-none-match: \"1\"\r\n"), 304),
        (request("GET", "/a", "cache-control: no-cache\r\n"), 200),
        (
            request("GET", "/b", "cache-control: only-if-cached\r\n"),
            504,
        ),
        (request("GET", "/b", "range: bytes=0-1\r\n"), 200),
        (request("OPTIONS", "/a", ""), 200),
        (request("BREW", "/a", ""), 200),
        (
            format!("{}\r\n{}", request("PUT", "/a", "").trim_end(), body("x")),
            200,
        ),
        (
            format!(
                "{}\r\n{}",
                request("POST", "/500", "").trim_end(),
                body("x")
            ),
            500,
        ),
        (request("GET", "/500", ""), 500),
        (request("GET", "/garbage", ""), 502),
        (request("GET", "/none", ""), 502),
        (request("GET", "/dead/a", ""), 502),
        (request("PUT", "/dead/a", ""), 502),
        (request("GET", "/hang", ""), 504),
        (request("GET", "/cut", ""), CUT),
        (
            "GET /a HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_owned(),
            200,
        ),
    ]
}

/// Requests on one connection of HTTP/2, two of which the proxy answers itself.
async fn send_http2(proxy: &Example) -> u64 {
    let address = proxy.base().strip_prefix("http://").expect("a base");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.expect("a connection");
    tokio::spawn(connection);
    let requests = [
        ("GET", 1, 200),
        ("PURGE", 1, 405),
        // A head of 40,000 bytes is served, one of 70,000 is too large.
        ("GET", 4_000, 200),
        ("GET", 7_000, 431),
    ];
    for (method, length, status) in requests {
        let mut request = http::Request::builder().method(method);
        for number in 0..10 {
            request = request.header(format!("x-{number}"), "y".repeat(length));
        }
        let request = request
            .uri("http://a.example/h2")
            .body(Empty::<Bytes>::new());
        let response = sender.send_request(request.expect("a request")).await;
        let response = response.expect("a response");
        assert_eq!(response.status(), status);
        let _ = response.into_body().collect().await;
    }
    requests.len() as u64
}

#[tokio::test]
async fn every_request_and_fault_counts_once() {
    let (origin, dead) = (origin().await, "/dead=http://127.0.0.1:1");
    let flags = [
        ["--upstream", &origin],
        ["--upstream", dead],
        ["--admin", "127.0.0.1:0"],
        ["--concurrency", "4"],
        ["--queue-timeout", "100ms"],
        ["--head-timeout", "1500ms"],
        ["--broken-upload-timeout", "100ms"],
    ];
    let proxy = Example::start("proxy", flags.as_flattened()).await;
    let mut sent = 0;
    let outside = answered_outside();
    let count = outside.len() as u64;
    let is_4xx = |(_, status): &&(String, u16)| status / 100 == 4;
    let count_4xx = outside.iter().filter(is_4xx).count() as u64;
    for (text, status) in outside {
        assert_eq!(send_raw(&proxy, &text).await, [status], "{text:.80}");
        sent += 1;
        until_counted(&proxy, sent, &text).await;
    }
    assert_eq!(stats(&proxy).await["requests"]["outside"], count);
    for (text, status) in answered_inside() {
        let answers = send_raw(&proxy, &text).await;
        match status {
            CUT => assert!(matches!(answers[..], [] | [200]), "{answers:?}"),
            _ => assert_eq!(answers.first(), Some(&status), "{text:.80}"),
        }
        sent += 1;
        until_counted(&proxy, sent, &text).await;
    }
    // Two at once on a connection, the second of which cannot be read.
    let two = "GET /a HTTP/1.1\r\nhost: a.example\r\n\r\nno request\r\n\r\n";
    assert_eq!(send_raw(&proxy, two).await, [200, 400]);
    sent += 2;
    sent += send_http2(&proxy).await;
    // More than there are places for, and the same for each other.
    let many = (0..12).map(|number| {
        let (base, path) = (proxy.base().to_owned(), format!("/slow?{}", number % 8));
        tokio::spawn(async move { get(&base, &path).await.status })
    });
    let mut refused = 0;
    for status in many.collect::<Vec<_>>() {
        refused += u64::from(status.await.expect("an answer") == 503);
        sent += 1;
    }
    assert!(refused > 0);
    // Clients that leave, before the answer and within the content.
    for text in [
        request("GET", "/slow?left", ""),
        request("PUT", "/a", "content-length: 10\r\n") + "x",
    ] {
        let address = proxy.base().strip_prefix("http://").expect("a base");
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("sent");
        sleep(Duration::from_millis(100)).await;
        sent += 1;
    }
    until_counted(&proxy, sent, "left").await;
    let stats = stats(&proxy).await;
    assert_eq!(sum(&stats["requests"]), sent, "{}", stats["requests"]);
    assert_eq!(sum(&stats["outside"]), stats["requests"]["outside"]);
    assert_eq!(stats["requests"]["overload"], refused);
    // The two over HTTP/2, and the second one on a connection, are among them.
    assert_eq!(stats["requests"]["outside"], count + 3);
    assert_eq!(stats["outside"]["4xx"], count_4xx + 3);
    // Operators, and connections without a request, are not.
    let _silent = TcpStream::connect(proxy.base().strip_prefix("http://").expect("a base")).await;
    for path in ["/", "/metrics", "/healthz", "/nothing"] {
        get(proxy.admin(), path).await;
    }
    let metrics = get(proxy.admin(), "/metrics").await.text;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("response_cache_requests_total{"));
    let values = lines.map(|line| line.rsplit_once(' ').expect("a value").1);
    let total: u64 = values
        .map(|value| value.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(total, sent);
}

/// A reading of options again is not seen in the counters, which `rate` would take for a restart.
#[tokio::test]
async fn counters_go_on_when_options_are_read_again() {
    let products = Example::start("products", &["--database-delay", "2s"]).await;
    let path = make_product(&products, "Lamp").await;
    let name = format!("proxy-{}.toml", uuid::Uuid::new_v4());
    let file = std::env::temp_dir().join(name);
    let config = |ttl: &str, concurrency: u32| {
        let text = format!(
            "upstream = [\"{}\"]\nttl = \"{ttl}\"\nconcurrency = {concurrency}\nqueue-timeout = \"50ms\"\n",
            products.base()
        );
        std::fs::write(&file, text).expect("a file");
    };
    config("60s", 1);
    let flags = [
        "--config",
        file.to_str().expect("UTF-8"),
        "--admin",
        "127.0.0.1:0",
    ];
    let mut command = example("proxy", &flags);
    let command = command.env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let mut log = BufReader::new(proxy.stderr()).lines();
    let slow = {
        let (base, path) = (proxy.base().to_owned(), path.clone());
        tokio::spawn(async move { get(&base, &path).await.status })
    };
    while stats(&proxy).await["origin"]["in_flight"] == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    // There is no place for another one, and one that the cache never gets.
    assert_eq!(get(proxy.base(), "/products").await.status, 503);
    assert_eq!(
        crate::http_client::send(proxy.base(), "PURGE", "/", &[], "")
            .await
            .status,
        405
    );
    let mut before = stats(&proxy).await;
    for (ttl, concurrency) in [("50s", 1), ("40s", 1), ("40s", 2)] {
        config(ttl, concurrency);
        proxy.signal("HUP").await;
        let read = async {
            while !log
                .next_line()
                .await
                .expect("a log")
                .expect("a line")
                .contains("is_changed=true")
            {}
        };
        timeout(PATIENCE, read).await.expect("it is read again");
        let now = stats(&proxy).await;
        for pointer in [
            "/requests/overload",
            "/requests/outside",
            "/outside/4xx",
            "/origin_calls",
            "/fetches/uri-miss",
            "/origin/refused",
            "/origin/wait_durations/count",
            "/in_flight/fills",
        ] {
            assert_eq!(now.pointer(pointer), before.pointer(pointer), "{pointer}");
            assert_ne!(now.pointer(pointer), Some(&0.into()), "{pointer}");
        }
        assert!(now["uptime_seconds"].as_f64() > before["uptime_seconds"].as_f64());
        before = now;
    }
    // What was under way before is answered, stored, and counted.
    assert_eq!(slow.await.expect("an answer"), 200);
    let status = get(proxy.base(), &path).await;
    let status = status
        .headers
        .get_all("cache-status")
        .iter()
        .next_back()
        .expect("a status");
    assert!(
        status.to_str().expect("text").contains("; hit"),
        "{status:?}"
    );
    let now = stats(&proxy).await;
    assert_eq!(
        (&now["requests"]["miss"], &now["requests"]["hit"]),
        (&1.into(), &1.into())
    );
    assert_eq!(now["origin"]["max_in_flight"], 2, "and the options are new");
    let _ = std::fs::remove_file(&file);
}
