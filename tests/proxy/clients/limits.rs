//! How many connections there may be.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

use super::http2_client::Http2Client;
use crate::example::{Example, PATIENCE, program};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, STREAMED, exchange, last_get};

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

/// A proxy with room for few connections, whose clients may be silent for long.
async fn with_room_for(origin: &Origin, max: &str) -> Example {
    let url = origin.url();
    let options = ["--upstream", &url, "--max-connections", max];
    let times = ["--client-timeout", "10m"];
    Example::start("proxy", &[&options[..], &times, &STREAMED].concat()).await
}

/// A connection that was used, and is idle since then.
async fn idle(address: &str, port: u16) -> Raw {
    let mut raw = Raw::connect_from(address, port).await;
    raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.hear_until("hello").await;
    raw
}

/// Whether a connection still gets answers.
async fn is_open(raw: &mut Raw) -> bool {
    raw.try_say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await && raw.hears("hello").await
}

/// A few clients that keep all connections without a request hold up no other one.
#[tokio::test]
async fn connections_without_a_request_make_room_for_others() {
    let origin = Origin::saying(fresh("hello")).await;
    for kind in [
        "idle",
        "silent",
        "half a head",
        "HTTP/2",
        "HTTP/2 after a request",
    ] {
        let proxy = with_room_for(&origin, "16").await;
        let port = proxy.port();
        let (mut raws, mut http2) = (Vec::new(), Vec::new());
        for number in 0..16 {
            let address = format!("127.0.0.{}", 11 + number / 4);
            if kind.starts_with("HTTP/2") {
                let mut client = Http2Client::connect_from(&address, port, 1000).await;
                if kind.ends_with("request") {
                    client.request("GET", "/", None).await;
                    client.receive(5).await;
                }
                http2.push(client);
                continue;
            }
            let mut raw = match kind {
                "idle" => idle(&address, port).await,
                _ => Raw::connect_from(&address, port).await,
            };
            if kind == "half a head" {
                raw.say("GET / HTTP/1.1\r\nhos").await;
            }
            raws.push(raw);
        }
        for number in 0..4 {
            let mut honest = Raw::connect_from("127.0.0.9", port).await;
            honest.say(last_get("/")).await;
            let said = honest.hear_all().await;
            assert!(said.ends_with("hello"), "{kind}, {number}: {said}");
        }
    }
}

/// The client that has most loses its oldest one, not one that was there before.
#[tokio::test]
async fn the_client_with_most_connections_makes_room() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = with_room_for(&origin, "16").await;
    let port = proxy.port();
    let mut others = Vec::new();
    for number in 0..12 {
        let address = format!("127.0.0.{}", 20 + number);
        others.push(idle(&address, port).await);
    }
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(idle("127.0.0.11", port).await);
    }
    for number in 0..2 {
        others.push(idle(&format!("127.0.0.{}", 40 + number), port).await);
    }
    let mut open = Vec::new();
    for raw in &mut many {
        open.push(is_open(raw).await);
    }
    assert_eq!(open, [false, false, true, true]);
    for (number, raw) in others.iter_mut().enumerate() {
        assert!(is_open(raw).await, "{number}");
    }
}

/// It is told to leave, answers nothing, and has a request then.
#[tokio::test]
async fn a_client_that_does_not_leave_makes_room_once_it_has_no_request() {
    let origin = Origin::start(|heard| {
        let pause = match heard.head.starts_with("GET /slow") {
            true => Duration::from_secs(2),
            false => Duration::ZERO,
        };
        let hello = ok("cache-control: max-age=60\r\n", "hello");
        vec![Step::Pause(pause), Step::Say(hello.into_bytes())]
    })
    .await;
    let proxy = with_room_for(&origin, "4").await;
    let port = proxy.port();
    let mut stays = Http2Client::connect_from("127.0.0.11", port, 1000).await;
    stays.request("GET", "/", None).await;
    stays.receive(5).await;
    let mut others = Vec::new();
    for number in 0..3 {
        others.push(idle(&format!("127.0.0.{}", 20 + number), port).await);
    }
    let newcomer = tokio::spawn(async move { idle("127.0.0.30", port).await });
    stays.until_told_to_leave().await;
    stays.request("GET", "/slow", None).await;
    others.push(newcomer.await.expect("no panic"));
    stays.receive(10).await;
    let mut newcomer = Raw::connect_from("127.0.0.31", port).await;
    newcomer.say(last_get("/")).await;
    assert!(newcomer.hear_all().await.ends_with("hello"));
    stays.wait_for_end().await;
}

/// A request that is under way goes on: whether its response, or its content, is awaited.
#[tokio::test]
async fn connections_with_a_request_make_no_room() {
    let origin = Origin::start(|heard| match heard.head.starts_with("GET /slow") {
        true => vec![
            Step::Pause(Duration::from_secs(2)),
            Step::Say(ok("", "slow").into_bytes()),
        ],
        false => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
    })
    .await;
    let proxy = with_room_for(&origin, "4").await;
    let port = proxy.port();
    let mut slow = Raw::connect_from("127.0.0.11", port).await;
    slow.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    origin.until_heard("GET /slow ").await;
    let mut upload = Raw::connect_from("127.0.0.12", port).await;
    upload
        .say("PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
        .await;
    origin.until_heard("PUT /up ").await;
    let mut later = Vec::new();
    for number in 0..8 {
        later.push(idle(&format!("127.0.0.{}", 20 + number), port).await);
    }
    slow.hear_until("slow").await;
    upload.say("def").await;
    upload.hear_until("hello").await;
}

/// A response that waits for its client to read is under way, though its body has ended, and is
/// sent whole however long that takes.
#[tokio::test]
async fn connections_with_a_response_that_is_being_read_make_no_room() {
    const SIZE: usize = 8 * 1024 * 1024;
    let origin = Origin::saying(fresh(&"x".repeat(SIZE))).await;
    let url = origin.url();
    let options = ["--upstream", &url, "--max-connections", "4"];
    let times = ["--client-timeout", "1s"];
    let large = ["--capacity", "1GiB", "--max-body", "16MiB"];
    let proxy = Example::start("proxy", &[&options[..], &times, &large].concat()).await;
    let port = proxy.port();
    let stored = exchange(port, last_get("/")).await;
    assert!(stored.len() > SIZE);
    let mut slow = Raw::connect_from("127.0.0.11", port).await;
    slow.say(last_get("/")).await;
    slow.hear_until("; hit").await;
    let mut others = Vec::new();
    for number in 0..8 {
        let address = format!("127.0.0.{}", 20 + number);
        let mut raw = Raw::connect_from(&address, port).await;
        raw.say("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.hear_until("\r\n\r\n").await;
        others.push(raw);
    }
    // For longer than `--client-timeout` twice.
    let mut heard = 0;
    for _ in 0..25 {
        sleep(Duration::from_millis(100)).await;
        heard += slow.hear_some(64 * 1024).await;
    }
    heard += slow.hear_all().await.len();
    assert!(heard > SIZE, "{heard}");
}

/// A quarter of a few is one, not none, which would be no limit.
#[tokio::test]
async fn a_client_has_one_of_a_few_connections() {
    let origin = Origin::saying(fresh("hello")).await;
    for max in ["1", "3", "7"] {
        let proxy = with_room_for(&origin, max).await;
        let mut first = idle("127.0.0.1", proxy.port()).await;
        assert_eq!(
            Raw::connect(proxy.port()).await.hear_all().await,
            "",
            "{max}"
        );
        assert!(is_open(&mut first).await, "{max}");
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
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut proxy = Example::run(&mut command).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    let mut line_with = async |text: &str| loop {
        let line = lines.next_line().await.expect("a pipe").expect("a line");
        if line.contains(text) {
            return line;
        }
    };
    let line = line_with("--max-connections is limited by open files").await;
    assert!(line.contains("possible=80"), "{line}");
    // P8: an operator reads what is in force.
    let line = line_with("ready").await;
    assert!(line.contains("max_connections=80"), "{line}");
    assert!(line.contains("max_connections_per_client=0"), "{line}");
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Raw::connect(proxy.port()).await);
    }
    // Idle connections make room for it.
    let said = exchange(proxy.port(), last_get("/")).await;
    assert!(said.ends_with("hello"), "{said}");
    proxy.signal("TERM").await;
    while let Some(line) = lines.next_line().await.expect("a pipe") {
        assert!(!line.contains("os error"), "{line}");
    }
}
