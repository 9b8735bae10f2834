//! How many connections there may be.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::example::{Example, PATIENCE, program};
use crate::origin::{Origin, fresh};
use crate::raw::{Raw, exchange, last_get};

#[tokio::test]
async fn one_client_has_a_bounded_number_of_connections() {
    let origin = Origin::saying(fresh("hello")).await;
    let url = origin.url();
    let options = ["--upstream", &url, "--max-connections-per-client", "3"];
    let proxy = Example::start("proxy", &options).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.hear_until("hello").await;
        held.push(raw);
    }
    assert_eq!(Raw::connect(proxy.port()).await.hear_all().await, "");
    held.pop();
    let begin = std::time::Instant::now();
    while !exchange(proxy.port(), last_get("/"))
        .await
        .ends_with("hello")
    {
        assert!(begin.elapsed() < PATIENCE, "there is no room again");
    }
}

/// The program never accepts more connections than it may have files, and says so.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_limit_of_open_files_is_respected() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut command = Command::new("sh");
    let proxy = program("proxy").display().to_string();
    let url = origin.url();
    command
        .args(["-c", "ulimit -n 160 && exec \"$0\" \"$@\"", &proxy])
        .args([
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            &url,
            "--concurrency",
            "16",
        ])
        .args([
            "--client-timeout",
            "2s",
            "--max-connections-per-client",
            "0",
        ])
        .env("RUST_LOG", "warn")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut proxy = Example::run(&mut command).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    let line = lines.next_line().await.expect("a pipe").expect("a line");
    assert!(
        line.contains("--max-connections is limited by open files"),
        "{line}"
    );
    assert!(line.contains("possible=80"), "{line}");
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Raw::connect(proxy.port()).await);
    }
    // Idle connections make room for it.
    let said = exchange(proxy.port(), last_get("/")).await;
    assert!(said.ends_with("hello"), "{said}");
    proxy.signal("TERM").await;
    while let Some(line) = lines.next_line().await.expect("a pipe") {
        assert!(!line.contains("not accepted"), "{line}");
    }
}
