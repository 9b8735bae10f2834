//! The log beside requests.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::example::{Example, PATIENCE, example};
use crate::origin::{Origin, fresh};
use crate::raw::Raw;

/// A pipe that is full stops no request; the lines that did not fit are counted.
#[tokio::test]
async fn a_log_that_is_not_read_stops_no_request() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut command = example("proxy", &["--upstream", &origin.url(), "--access-log"]);
    let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let mut stderr = proxy.stderr();
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
