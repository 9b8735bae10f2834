//! The log beside requests.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use super::http2_client::Http2Client;
use super::limit_counts::{reached, until};
use crate::call::Http2;
use crate::example::{Example, PATIENCE, example};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, last_get};

/// A proxy with an access log, whose stderr is a pipe.
async fn with_access_log(origin: &Origin) -> Example {
    let url = origin.url();
    let flags = ["--upstream", &url, "--access-log", "--admin", "127.0.0.1:0"];
    let mut command = example("proxy", &flags);
    Example::run(command.env_remove("RUST_LOG").stderr(Stdio::piped())).await
}

/// A pipe that is full stops no request; the lines that did not fit are counted.
#[tokio::test]
async fn a_log_that_is_not_read_stops_no_request() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut proxy = with_access_log(&origin).await;
    let mut stderr = proxy.stderr();
    assert_eq!(reached(&proxy, "log_lines").await, 0);
    let mut raw = Raw::connect(proxy.port()).await;
    let long = "q".repeat(1000);
    // Some 10 MiB of lines, of which a pipe takes 64 KiB and the program some 4,000.
    let asking = async {
        for _ in 0..9000 {
            raw.say(format!("GET /?{long} HTTP/1.1\r\nhost: a\r\n\r\n"))
                .await;
            raw.hear_until("hello").await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("requests go on");
    // The log cannot tell: it is not read.
    let dropped = reached(&proxy, "log_lines").await;
    assert!((1..9000).contains(&dropped), "{dropped}");
    proxy.signal("TERM").await;
    let mut log = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stderr.read_to_end(&mut log)).await;
    read.expect("it ends").expect("a pipe");
    let log = String::from_utf8_lossy(&log);
    assert!(
        log.contains("log lines dropped"),
        "{}",
        &log[log.len().saturating_sub(500)..]
    );
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// A client chooses how long some of its lines are.
#[tokio::test]
async fn long_lines_wait_in_few_bytes() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut proxy = with_access_log(&origin).await;
    let _unread = proxy.stderr();
    let mut raw = Raw::connect(proxy.port()).await;
    let long = "q".repeat(50_000);
    // Some 15 MiB, in fewer lines than may wait.
    for _ in 0..300 {
        raw.say(format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        raw.hear_until("hello").await;
    }
    let dropped = reached(&proxy, "log_lines").await;
    assert!((100..200).contains(&dropped), "{dropped}");
}

/// A log that is read is whole, to its last line.
#[tokio::test]
async fn a_log_that_is_read_is_whole() {
    for signal in ["TERM", "HUP"] {
        let origin = Origin::saying(fresh("hello")).await;
        let mut command = example("proxy", &["--upstream", &origin.url(), "--access-log"]);
        let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
        let mut proxy = Example::run(command).await;
        let mut stderr = proxy.stderr();
        let mut raw = Raw::connect(proxy.port()).await;
        for number in 0..100 {
            raw.say(format!("GET /{number}; HTTP/1.1\r\nhost: a\r\n\r\n"))
                .await;
            raw.hear_until("hello").await;
        }
        drop(raw);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.signal(signal).await;
        let mut log = String::new();
        stderr.read_to_string(&mut log).await.expect("a pipe");
        for number in 0..100 {
            assert!(log.contains(&format!("uri=/{number};")), "{number}");
        }
        assert!(log.contains("stopped"), "{log}");
        assert_eq!(proxy.exit().await.code(), Some(0), "{signal}");
    }
}

/// The first line of the access log that has this text.
async fn line_with(proxy: &mut Example, text: &str) -> String {
    let mut lines = BufReader::new(proxy.stderr()).lines();
    let reading = async {
        loop {
            let line = lines.next_line().await.expect("a pipe").expect("a line");
            if line.contains(text) {
                return line;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("it is logged")
}

/// A proxy before an origin that answers nothing below `/hangs`, with its access log.
async fn before_one_that_hangs(flags: &[&str]) -> (Origin, Example) {
    let origin = Origin::start(|heard| match heard.head.contains("/hangs") {
        true => vec![Step::Content, Step::Hang],
        false => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
    })
    .await;
    let url = origin.url();
    let all = ["--upstream", &url, "--access-log", "--admin", "127.0.0.1:0"];
    let mut command = example("proxy", &[&all, flags].concat());
    let command = command.env("RUST_LOG", "off,access=info");
    let proxy = Example::run(command.stderr(Stdio::piped())).await;
    (origin, proxy)
}

/// P8: an operator reads in the line of a request that is refused which limit has refused it.
#[tokio::test]
async fn a_line_of_a_refused_request_says_why() {
    // Their requests take too much memory.
    let (_origin, mut proxy) = before_one_that_hangs(&["--max-request-memory", "1MiB"]).await;
    let mut many = Http2Client::connect(proxy.port(), 65_535).await;
    for number in 0..100 {
        many.request("GET", &format!("/hangs/{number}"), None).await;
    }
    until("some are refused", || async {
        reached(&proxy, "requests").await > 0
    })
    .await;
    let line = line_with(&mut proxy, "status=503").await;
    assert!(
        line.contains("detail=request_memory_limit_reached"),
        "{line}"
    );

    // There is no place before the origin, for a read or a write.
    for method in ["GET", "PUT"] {
        let flags = ["--concurrency", "1", "--queue-timeout", "200ms"];
        let (origin, mut proxy) = before_one_that_hangs(&flags).await;
        let mut hangs = Raw::connect(proxy.port()).await;
        hangs.say(last_get("/hangs")).await;
        origin.until_heard("GET /hangs ").await;
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(last_get("/other").replace("GET", method)).await;
        assert!(
            raw.hear_all().await.starts_with("HTTP/1.1 503 "),
            "{method}"
        );
        let line = line_with(&mut proxy, "status=503").await;
        assert!(line.contains("detail=connection_limit_reached"), "{line}");
    }

    // Too much content is under way.
    let flags = ["--max-uploads", "1", "--queue-timeout", "200ms"];
    let (origin, mut proxy) = before_one_that_hangs(&flags).await;
    let put = "PUT /hangs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let mut held = Raw::connect(proxy.port()).await;
    held.say(put).await;
    origin.until_heard("PUT /hangs ").await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(put).await;
    raw.hear_until("HTTP/1.1 503 ").await;
    let line = line_with(&mut proxy, "status=503").await;
    assert!(line.contains("detail=connection_limit_reached"), "{line}");
}

/// A head that is too large for the proxy is told apart from one that is for the origin.
#[tokio::test]
async fn a_line_of_a_head_that_is_too_large_says_why() {
    let (_origin, mut proxy) = before_one_that_hangs(&[]).await;
    let mut client = Http2::connect(proxy.port()).await;
    let long = "x".repeat(22 * 1024);
    let lines = ["x-1", "x-2", "x-3"].map(|name| (name, long.as_str()));
    assert_eq!(client.get("/", &lines).await.status, 431);
    let line = line_with(&mut proxy, "status=431").await;
    assert!(line.contains("detail=http_request_error"), "{line}");
}
