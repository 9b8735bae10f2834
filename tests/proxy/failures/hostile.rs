//! Hostile clients and origins. Each gets a clear answer or a closed connection; no other client is
//! affected.

use std::fs;
use std::time::{Duration, Instant};

use crate::example::{Example, PATIENCE};
use crate::origin::{Heard, Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

async fn before(origin: &Origin) -> Example {
    Example::start("proxy", &["--upstream", &origin.url()]).await
}

#[tokio::test]
async fn heads_that_are_none() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = before(&origin).await;
    let long = "y".repeat(200_000);
    let many = "x: y\r\n".repeat(1000);
    for (said, status) in [
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            "431",
        ),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "431"),
        ("garbage\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n".to_owned(), "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned(), "400"),
        (
            "GET /\u{7f}\u{1} HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n".to_owned(),
            "501",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"
                .to_owned(),
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(&said).await;
        let heard = raw.hear_until("\r\n\r\n").await;
        let begin: String = said.chars().take(80).collect();
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status} ")),
            "{begin:?}: {heard}"
        );
        assert_eq!(origin.heard().len(), 0, "{begin:?}");
    }
}

/// Whichever length a request has, what follows it is a request of its own, or nothing.
#[tokio::test]
async fn nothing_is_smuggled() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: test.example\r\nx: ";
    let length = smuggled.len();
    let chunk = format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    for (fields, content) in [
        (format!("content-length: {length}\r\n"), smuggled.to_owned()),
        ("transfer-encoding: chunked\r\n".to_owned(), chunk.clone()),
        (
            format!(
                "content-length: {}\r\ntransfer-encoding: chunked\r\n",
                5 + length
            ),
            format!("0\r\n\r\n{smuggled}"),
        ),
        (
            format!(
                "transfer-encoding: chunked\r\ncontent-length: {}\r\n",
                5 + length
            ),
            format!("0\r\n\r\n{smuggled}"),
        ),
        (
            "content-length: 4\r\ntransfer-encoding: chunked\r\n".to_owned(),
            chunk.clone(),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("zz\r\n{smuggled}"),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("1\r\nab\r\n{smuggled}"),
        ),
        (
            "transfer-encoding: \u{b}chunked\r\n".to_owned(),
            chunk.clone(),
        ),
        (
            "transfer-encoding: chunked, identity\r\n".to_owned(),
            chunk.clone(),
        ),
        (
            format!("content-length: +{length}\r\n"),
            smuggled.to_owned(),
        ),
        (
            format!("content-length: {length}, 0\r\n"),
            smuggled.to_owned(),
        ),
        (format!("content_length: {length}\r\n"), String::new()),
        ("content-length: 0\r\n".to_owned(), String::new()),
    ] {
        for method in ["GET", "POST"] {
            let origin = Origin::saying(fresh("hello")).await;
            let proxy = before(&origin).await;
            // A hit must not leave anything behind, either.
            exchange(proxy.port(), last_get("/a")).await;
            let head = format!("{method} /a HTTP/1.1\r\nhost: test.example\r\n{fields}\r\n");
            let said = format!("{head}{content}{}", last_get("/own"));
            let heard = exchange(proxy.port(), said).await;
            let asked = origin.heard();
            let is_smuggled = |heard: &Heard| heard.request_line().contains("smuggled");
            let is_own = asked
                .iter()
                .filter(|heard| heard.request_line().contains("/own"));
            let told = heard.matches("HTTP/1.1 ").count();
            // Where it ends with a `0` chunk, what follows is its client's own request in every
            // reading.
            let own_reading = content.starts_with("0\r\n");
            assert!(
                own_reading || !asked.iter().any(is_smuggled),
                "{method} {fields:?}: {asked:?}"
            );
            assert!(
                told <= 2 && is_own.count() <= 1,
                "{method} {fields:?}: {heard}"
            );
        }
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let origin = Origin::start(|heard| {
        let path = heard.request_line().split(' ').nth(1).unwrap_or_default();
        vec![
            Step::Content,
            Step::Say(fresh(&format!("this is {path}")).into_bytes()),
        ]
    })
    .await;
    let proxy = before(&origin).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test.example\r\n\r\n");
    for _ in 0..2 {
        let row = [get("/a"), get("/b"), get("/a"), last_get("/c")].concat();
        let heard = exchange(proxy.port(), row).await;
        let answers: Vec<_> = heard
            .match_indices("this is /")
            .map(|(at, _)| &heard[at + 8..at + 10])
            .collect();
        assert_eq!(answers, ["/a", "/b", "/a", "/c"], "{heard}");
    }
    assert_eq!(origin.heard().len(), 3);
}

/// An origin's refusal of one client's fields is not shared with others.
#[tokio::test]
async fn one_clients_error_is_not_stored() {
    for status in ["400 Bad Request", "413 Content Too Large", "431 Too Large"] {
        let origin = Origin::start(move |heard| {
            let dislikes = !heard.field("x-odd").is_empty();
            let answer = match dislikes {
                true => ok("", "bad").replace("200 OK", status),
                false => ok("", "good"),
            };
            vec![Step::Content, Step::Say(answer.into_bytes())]
        })
        .await;
        let proxy = Example::start("proxy", &["--upstream", &origin.url(), "--ttl", "60s"]).await;
        let odd = |value: &str| {
            last_get("/").replace("connection", &format!("x-odd: {value}\r\nconnection"))
        };
        let large = odd(&"y".repeat(20_000));
        assert!(exchange(proxy.port(), &large).await.ends_with("bad"));
        assert!(
            exchange(proxy.port(), last_get("/"))
                .await
                .ends_with("good")
        );
        let renewed = odd("\t").replace("x-odd", "cache-control: no-cache\r\nx-odd");
        exchange(proxy.port(), renewed).await;
        let last = exchange(proxy.port(), last_get("/")).await;
        assert!(last.ends_with("good"), "{status}: {last}");
    }
}

/// A broken body is reported as broken, and is not stored.
#[tokio::test]
async fn answers_that_break_off_are_not_stored() {
    let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n";
    for broken in [
        format!("{head}content-length: 10\r\n\r\nhello"),
        format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n9\r\nhello"),
        format!(
            "{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        format!("{head}x: {}\r\n\r\nhello", "y".repeat(100_000)),
        // RFC 9112 §7: whoever takes the other coding off is the recipient.
        format!("{head}transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked, identity\r\n\r\nhello"),
        format!("{head}transfer-encoding: gzip\r\n\r\nhello"),
    ] {
        let origin = Origin::start(move |heard| match heard.connection {
            0 => vec![Step::Say(broken.clone().into_bytes()), Step::Close],
            _ => vec![Step::Say(fresh("whole").into_bytes())],
        })
        .await;
        let proxy = before(&origin).await;
        let first = exchange(proxy.port(), last_get("/")).await;
        let is_whole = first.contains("content-length: 5\r\n") || first.ends_with("0\r\n\r\n");
        assert!(first.starts_with("HTTP/1.1 502") || !is_whole, "{first}");
        let second = exchange(proxy.port(), last_get("/")).await;
        assert!(second.ends_with("whole"), "{first}\n{second}");
    }
}

/// A length that no content has is no reason to stop: nothing is counted before it comes.
#[tokio::test]
async fn lengths_beyond_all_content_do_no_harm() {
    let lengths = [
        "18446744073709551613",
        "9223372036854775807",
        "4611686018427387904",
    ];
    for length in lengths {
        let origin = Origin::start(move |heard| match heard.head.contains(" /long ") {
            true => {
                let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n";
                let said = format!("{head}content-length: {length}\r\n\r\nhello");
                vec![Step::Say(said.into_bytes()), Step::Close]
            }
            false => vec![Step::Say(ok("", "fine").into_bytes())],
        })
        .await;
        let proxy = before(&origin).await;
        for _ in 0..3 {
            exchange(proxy.port(), last_get("/long")).await;
            let head = last_get("/long").replacen("GET", "HEAD", 1);
            exchange(proxy.port(), head).await;
        }
        for _ in 0..8 {
            let said = exchange(proxy.port(), last_get("/")).await;
            assert!(said.ends_with("fine"), "{length}: {said}");
        }
    }
}

/// More than an origin announced is not the next one's answer.
#[tokio::test]
async fn leftover_bytes_of_an_origin_answer_no_request() {
    let origin = Origin::start(|heard| {
        let path = heard.request_line().split(' ').nth(1).unwrap_or_default();
        let said = format!("{}{}", fresh(path), fresh("smuggled"));
        vec![Step::Content, Step::Say(said.into_bytes())]
    })
    .await;
    let proxy = before(&origin).await;
    for number in 0..20 {
        let heard = exchange(proxy.port(), last_get(&format!("/{number}"))).await;
        assert!(!heard.contains("smuggled"), "{heard}");
    }
}

/// A client that never ends a head, or never begins one, is disconnected.
#[tokio::test]
async fn slow_clients_are_let_go() {
    let origin = Origin::saying(fresh("hello")).await;
    let options = [
        "--upstream",
        &origin.url(),
        "--client-timeout",
        "300ms",
        "--idle-timeout",
        "300ms",
    ];
    let proxy = Example::start("proxy", &options).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = "\0\0\0\u{4}\0\0\0\0\0";
    for said in [
        String::new(),
        "P".to_owned(),
        "GET / HT".to_owned(),
        "GET / HTTP/1.1\r\nhost: test.example\r\nx: ".to_owned(),
        "GET / HTTP/1.1\r\nhost: test.example\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nhost: test.example\r\ncontent-length: 10\r\n\r\nhello".to_owned(),
        preface[..10].to_owned(),
        preface.to_owned(),
        format!("{preface}{settings}"),
    ] {
        let start = Instant::now();
        exchange(proxy.port(), &said).await;
        assert!(start.elapsed() < PATIENCE, "{said:?}");
    }
    // One byte at a time is no progress.
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say("GET / HTTP/1.1\r\nhost: test.example\r\nx: ").await;
    let dripping = async {
        while raw.try_say("y").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let closed = tokio::time::timeout(PATIENCE, dripping).await;
    closed.expect("it is let go");
}

/// A client that sends its content slowly does not keep the origin for longer than it may pause.
#[tokio::test]
async fn slow_content_is_given_up() {
    let origin = Origin::saying(ok("", "")).await;
    let options = ["--upstream", &origin.url(), "--idle-timeout", "200ms"];
    let proxy = Example::start("proxy", &options).await;
    let said = exchange(
        proxy.port(),
        "PUT / HTTP/1.1\r\nhost: test.example\r\ncontent-length: 10\r\n\r\nhello",
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("error=http_request_error"), "{said}");
}

#[tokio::test]
async fn a_client_that_leaves_a_hit_takes_nothing_along() {
    let origin = Origin::saying(fresh(&"0123456789".repeat(50_000))).await;
    let proxy = before(&origin).await;
    exchange(proxy.port(), last_get("/")).await;
    for _ in 0..5 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(last_get("/")).await;
        raw.hear_until("0123456789").await;
    }
    let whole = exchange(proxy.port(), last_get("/")).await;
    assert!(whole.contains("; hit"), "{}", &whole[..500]);
    assert_eq!(whole.matches("0123456789").count(), 50_000);
    assert_eq!(origin.heard().len(), 1);
}

/// A client that asks for much and reads nothing does not keep the origin, either.
#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let steps = [Step::Say(begin), Step::Forever(vec![b'x'; 1 << 16])];
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let options = ["--upstream", &origin.url(), "--idle-timeout", "200ms"];
    let proxy = Example::start("proxy", &options).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(last_get("/")).await;
    let let_go = async {
        while origin.closed() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let let_go = tokio::time::timeout(PATIENCE, let_go).await;
    let_go.expect("the origin is let go");
    // Bytes in flight still arrive, then the connection ends.
    raw.hear_no_more_than(64 * 1024 * 1024).await;
}

/// Where no connection is idle, which would be closed for another one.
#[tokio::test]
async fn more_clients_than_there_is_room_for_wait() {
    let origin = Origin::start(|heard| match heard.head.contains("/hangs") {
        true => vec![Step::Hang],
        false => vec![Step::Say(fresh("hello").into_bytes())],
    })
    .await;
    let room = [
        "--max-connections",
        "2",
        "--max-connections-per-client",
        "0",
    ];
    let url = origin.url();
    let proxy = Example::start("proxy", &[&["--upstream", &url], &room[..]].concat()).await;
    let mut both = Vec::new();
    for number in 0..2 {
        let mut raw = Raw::connect(proxy.port()).await;
        let line = format!("GET /hangs/{number} ");
        raw.say(format!("{line}HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        origin.until_heard(&line).await;
        both.push(raw);
    }
    let mut third = Raw::connect(proxy.port()).await;
    third.say(last_get("/")).await;
    let waited = tokio::time::timeout(Duration::from_millis(200), third.hear_until("hello"));
    assert!(waited.await.is_err(), "there was room");
    drop(both);
    third.hear_until("hello").await;
}

/// How many sockets this process may have.
fn most_sockets() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

/// 10,000 connections that say nothing, or as many as this machine lets a process have, of clients
/// that have no more than they may: others are served, memory is bounded, and they are let go when
/// their time is over.
#[tokio::test]
async fn idle_clients_cost_little() {
    let origin = Origin::saying(fresh("hello")).await;
    // Few of its files are for upstreams.
    let options = [
        ["--upstream", &origin.url()],
        ["--client-timeout", "10s"],
        ["--concurrency", "16"],
        ["--max-tunnels", "16"],
    ];
    let proxy = Example::start("proxy", options.as_flattened()).await;
    let count = 10_000.min(most_sockets().saturating_sub(300));
    let mut idle = Vec::with_capacity(count);
    for number in 0..count {
        // A sixth for each client; one may have a quarter.
        let client = format!("127.0.0.{}", 2 + number % 6);
        let mut raw = Raw::connect_from(&client, proxy.port()).await;
        if number % 2 == 0 {
            raw.say("GET / HTTP/1.1\r\nhost: te").await;
        }
        idle.push(raw);
    }
    assert!(
        exchange(proxy.port(), last_get("/"))
            .await
            .ends_with("hello")
    );
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or_default();
    let kib: usize = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number");
    // A buffer of 8 KiB and what a connection is, twice over.
    assert!(
        kib < 32 * 1024 + count * 32,
        "{kib} KiB for {count} connections"
    );
    for raw in idle {
        raw.hear_all().await;
    }
    assert!(
        exchange(proxy.port(), last_get("/"))
            .await
            .ends_with("hello")
    );
}
