//! P9: clients that send their content slowly, before an origin with few workers.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::http2_client::Http2Client;
use crate::example::Example;
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

/// An origin each of whose workers takes a connection, and the next one after its answer to a whole
/// request.
async fn with_workers(count: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = std::sync::Arc::new(listener);
    for _ in 0..count {
        let listener = listener.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // A client that leaves is none of its business.
                let _ = answer(stream).await;
            }
        });
    }
    format!("http://{address}")
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut heard = Vec::new();
    let mut is_asked_for = false;
    while !is_whole(&String::from_utf8_lossy(&heard)) {
        if stream.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&heard).to_lowercase();
        if !is_asked_for && said.contains("\r\n\r\n") && said.contains("expect: 100") {
            is_asked_for = true;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
    }
    let answer = ok("cache-control: no-store\r\nconnection: close\r\n", "hello");
    stream.write_all(answer.as_bytes()).await
}

/// Whether all of a request is there.
fn is_whole(heard: &str) -> bool {
    let Some((head, content)) = heard.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return content.ends_with("0\r\n\r\n");
    }
    let length = head.split_once("content-length: ");
    let length = length.and_then(|(_, rest)| rest.lines().next());
    content.len() >= length.map_or(0, |length| length.parse().expect("a number"))
}

fn post(field: &str, content: &str) -> String {
    format!("POST /up HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n{content}")
}

/// Misses and whole writes of another client, until all that was begun has stalled.
async fn assert_others_are_served(proxy: &Example, kind: &str) {
    let begin = Instant::now();
    let numbers = (0..).take_while(|_| begin.elapsed() < Duration::from_secs(1));
    for number in numbers {
        for said in [
            last_get(&format!("/{number}")),
            post("content-length: 3\r\nconnection: close", "abc"),
        ] {
            let mut raw = Raw::connect_from("127.0.0.2", proxy.port()).await;
            raw.say(said).await;
            let heard = raw.hear_all().await;
            assert!(heard.ends_with("hello"), "{kind}: {heard}");
        }
    }
}

/// Content that is not there yet is not waited for by an upstream, but by the proxy.
#[tokio::test]
async fn slow_uploads_hold_no_worker() {
    let url = with_workers(4).await;
    for kind in ["POST", "QUERY", "HTTP/2"] {
        let proxy = Example::start("proxy", &["--upstream", &url]).await;
        let (mut raws, mut client) = (Vec::new(), None);
        for _ in 0..8 {
            if kind == "HTTP/2" {
                if client.is_none() {
                    client = Some(Http2Client::connect(proxy.port(), 1000).await);
                }
                let client = client.as_mut().expect("it is connected");
                let stream = client.request("POST", "/up", Some(60_000)).await;
                client.data(stream, b"some").await;
                continue;
            }
            let mut raw = Raw::connect(proxy.port()).await;
            let said = post("content-length: 60000", "some").replacen("POST", kind, 1);
            raw.say(said).await;
            raws.push(raw);
        }
        assert_others_are_served(&proxy, kind).await;
        drop((raws, client));
    }
}

/// Content that is streamed: at most half of `--concurrency` are not whole yet.
#[tokio::test]
async fn uploads_that_are_streamed_leave_workers_to_others() {
    for (field, content) in [
        ("transfer-encoding: chunked", "4\r\nsome\r\n"),
        ("content-length: 1000000", "some"),
        ("content-length: 10\r\nexpect: 100-continue", ""),
    ] {
        let url = with_workers(4).await;
        let proxy = Example::start("proxy", &["--upstream", &url, "--concurrency", "4"]).await;
        let mut raws = Vec::new();
        for number in 0..8 {
            let address = format!("127.0.0.{}", 10 + number % 2);
            let mut raw = Raw::connect_from(&address, proxy.port()).await;
            raw.say(post(field, content)).await;
            raws.push(raw);
        }
        assert_others_are_served(&proxy, field).await;
    }
}

/// Until then no upstream knows of the request.
#[tokio::test]
async fn content_is_whole_before_an_upstream_is_asked() {
    let origin = Origin::start(|_| vec![Step::Content, Step::Say(ok("", "hello").into())]).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    let mut upload = Raw::connect(proxy.port()).await;
    upload.say(post("content-length: 9", "abc")).await;
    for piece in ["def", "ghi"] {
        // By then it would have come there.
        for number in 0..3 {
            exchange(proxy.port(), last_get(&format!("/{number}/{piece}"))).await;
        }
        let heard = origin.heard();
        assert!(heard.iter().all(|heard| heard.head.starts_with("GET ")));
        upload.say(piece).await;
    }
    upload.hear_until("hello").await;
    let heard = origin.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].content, b"abcdefghi");
    assert_eq!(heard[0].field("content-length"), "9");
}

/// One more waits for its turn, then is answered 503, and counts as a write that was rejected.
#[tokio::test]
async fn uploads_beyond_the_limit_are_answered_503() {
    let origin = Origin::start(|heard| match heard.head.starts_with("GET") {
        true => vec![Step::Say(fresh("hello").into())],
        false => vec![Step::Content, Step::Say(ok("", "written").into())],
    })
    .await;
    let url = origin.url();
    let options = ["--upstream", &url, "--max-uploads", "1"];
    let times = ["--queue-timeout", "300ms"];
    let proxy = Example::start("proxy", &[&options[..], &times].concat()).await;
    exchange(proxy.port(), last_get("/up")).await;
    let chunked = "transfer-encoding: chunked\r\nconnection: close";
    let mut first = Raw::connect_from("127.0.0.2", proxy.port()).await;
    first.say(post(chunked, "3\r\nabc\r\n")).await;
    origin.until_heard("POST /up ").await;
    let refused = exchange(proxy.port(), post(chunked, "3\r\nabc\r\n0\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let hit = exchange(proxy.port(), last_get("/up")).await;
    assert!(hit.contains("; hit"), "{hit}");
    // Content that is whole needs none.
    let small = post("content-length: 3\r\nconnection: close", "abc");
    let written = exchange(proxy.port(), small).await;
    assert!(written.ends_with("written"), "{written}");
    first.say("0\r\n\r\n").await;
    assert!(first.hear_all().await.ends_with("written"));
    let later = exchange(proxy.port(), post(chunked, "0\r\n\r\n")).await;
    assert!(later.ends_with("written"), "{later}");
}
