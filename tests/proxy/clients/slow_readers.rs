//! Clients that read slowly, without ever pausing for long.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::http2_client::Http2Client;
use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, ok};
use crate::raw::{Raw, exchange, last_get};

/// Endless responses that are not stored below `/big`, small ones elsewhere.
async fn endless() -> Origin {
    let mut chunk = b"3e8\r\n".to_vec();
    chunk.extend([b'x'; 1000]);
    chunk.extend(b"\r\n");
    let begin = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
    Origin::start(move |heard| match heard.head.contains("/big") {
        true => vec![
            Step::Say(begin.as_bytes().to_vec()),
            Step::Forever(chunk.clone()),
        ],
        false => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
    })
    .await
}

async fn proxy(origin: &Origin, options: &[&str]) -> Example {
    let url = origin.url();
    let places = ["--upstream", &url, "--concurrency", "2"];
    Example::start("proxy", &[&places, options].concat()).await
}

/// How many of the misses and writes of others fail.
async fn failures_of_others(port: u16) -> usize {
    let mut failed = 0;
    for number in 0..3 {
        let get = last_get(&format!("/{number}"));
        let post = get.replacen("GET", "POST", 1);
        for request in [get, post] {
            let said = exchange(port, request).await;
            failed += usize::from(!said.starts_with("HTTP/1.1 200 "));
        }
    }
    failed
}

const SHORT: [&str; 4] = ["--queue-timeout", "500ms", "--idle-timeout", "1s"];

/// A little of the response now and then does not keep a place before the upstream.
#[tokio::test]
async fn slow_readers_hold_up_no_other_request() {
    let origin = endless().await;
    let proxy = proxy(&origin, &SHORT).await;
    let mut client = Http2Client::connect(proxy.port(), 1000).await;
    let mut streams = Vec::new();
    for number in 0..2 {
        let path = format!("/big/{number}");
        streams.push(client.request("GET", &path, None).await);
    }
    let slow = async {
        for _ in 0..20 {
            sleep(Duration::from_millis(200)).await;
            for stream in &streams {
                client.open(*stream, 1000).await;
            }
        }
    };
    let port = proxy.port();
    let others = async {
        sleep(Duration::from_millis(1500)).await;
        failures_of_others(port).await
    };
    let ((), failed) = tokio::join!(slow, others);
    assert_eq!(failed, 0);
}

/// A window that is never opened keeps no place, whatever else the connection does.
#[tokio::test]
async fn readers_that_do_not_begin_hold_up_no_other_request() {
    let origin = endless().await;
    let proxy = proxy(&origin, &["--queue-timeout", "500ms"]).await;
    let mut client = Http2Client::connect(proxy.port(), 0).await;
    for number in 0..2 {
        let path = format!("/big/{number}");
        client.request("GET", &path, None).await;
    }
    let busy = async {
        for _ in 0..10 {
            client.request("HEAD", "/small", None).await;
            sleep(Duration::from_millis(200)).await;
        }
    };
    let port = proxy.port();
    let others = async {
        sleep(Duration::from_millis(1000)).await;
        failures_of_others(port).await
    };
    let ((), failed) = tokio::join!(busy, others);
    assert_eq!(failed, 0);
}

/// Connections of HTTP/1.1 that read a little now and then keep no place either.
#[tokio::test]
async fn slow_readers_of_http_1_hold_up_no_other_request() {
    let origin = endless().await;
    let proxy = proxy(&origin, &["--queue-timeout", "500ms"]).await;
    let mut raws = Vec::new();
    for number in 0..2 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(last_get(&format!("/big/{number}"))).await;
        raws.push(raw);
    }
    let slow = async {
        for _ in 0..15 {
            sleep(Duration::from_millis(200)).await;
            for raw in &mut raws {
                raw.hear_some(1000).await;
            }
        }
    };
    let port = proxy.port();
    let others = async {
        sleep(Duration::from_millis(1000)).await;
        failures_of_others(port).await
    };
    let ((), failed) = tokio::join!(slow, others);
    assert_eq!(failed, 0);
}

/// A response that has arrived needs no place, nor a connection, to be read.
#[tokio::test]
async fn a_response_that_has_arrived_has_no_place() {
    let origin = Origin::saying(ok("cache-control: no-store\r\n", &"x".repeat(3000))).await;
    let proxy = proxy(&origin, &SHORT).await;
    let mut client = Http2Client::connect(proxy.port(), 0).await;
    for number in 0..6 {
        let path = format!("/{number}");
        client.request("GET", &path, None).await;
    }
    // All six were forwarded by two places.
    let begin = Instant::now();
    let mut heard = 0;
    while heard < 6 {
        assert!(begin.elapsed() < PATIENCE, "{heard} requests");
        heard += origin.heard().len();
        sleep(Duration::from_millis(10)).await;
    }
    assert!(begin.elapsed() < Duration::from_millis(450));
}

/// A reader below the lowest rate is let go, though it never pauses for long.
#[tokio::test]
async fn readers_below_the_lowest_rate_are_let_go() {
    let origin = endless().await;
    let rates = ["--min-download-rate", "20KiB", "--rate-window", "1s"];
    let proxy = proxy(&origin, &rates).await;
    let mut client = Http2Client::connect(proxy.port(), 1000).await;
    let stream = client.request("GET", "/big", None).await;
    let begin = Instant::now();
    while origin.closed() == 0 {
        assert!(begin.elapsed() < PATIENCE, "the upstream is not let go");
        client.open(stream, 1000).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(900));
}

/// One in time is not, however long it takes.
#[tokio::test]
async fn readers_above_the_lowest_rate_are_kept() {
    let origin = endless().await;
    let rates = ["--min-download-rate", "10KiB", "--rate-window", "1s"];
    let proxy = proxy(&origin, &rates).await;
    let mut client = Http2Client::connect(proxy.port(), 65_535).await;
    let stream = client.request("GET", "/big", None).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        client.open(stream, 8000).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(origin.closed(), 0);
}

/// More slow readers than places: one client's end its own, not those of another.
#[tokio::test]
async fn a_client_with_many_slow_responses_ends_its_own() {
    let origin = endless().await;
    let proxy = proxy(&origin, &[]).await;
    let mut honest = Http2Client::connect_from("127.0.0.2", proxy.port(), 1000).await;
    honest.request("GET", "/big/honest", None).await;
    sleep(Duration::from_millis(300)).await;
    let mut greedy = Http2Client::connect(proxy.port(), 1000).await;
    for number in 0..5 {
        let path = format!("/big/{number}");
        greedy.request("GET", &path, None).await;
        sleep(Duration::from_millis(300)).await;
    }
    // Two are with the upstream without a place: the first of all, and the last.
    let connections: Vec<_> = origin.heard().into_iter().map(|heard| heard.head).collect();
    assert_eq!(connections.len(), 6);
    assert_eq!(origin.closed(), 4);
    assert!(origin.closed_connections().iter().all(|number| *number > 0));
}

/// Stored responses are read slowly by many, beside clients that read at once.
#[tokio::test]
async fn slow_readers_of_hits_hold_up_no_other_hit() {
    let origin = Origin::saying(crate::origin::fresh(&"x".repeat(500_000))).await;
    for is_http2 in [false, true] {
        let proxy = proxy(&origin, &[]).await;
        exchange(proxy.port(), last_get("/hot")).await;
        let (mut raws, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..if is_http2 { 20 } else { 200 } {
            if is_http2 {
                let mut client = Http2Client::connect(proxy.port(), 1000).await;
                for _ in 0..50 {
                    client.request("GET", "/hot", None).await;
                }
                clients.push(client);
            } else {
                let mut raw = Raw::connect(proxy.port()).await;
                raw.say(last_get("/hot")).await;
                raw.hear_some(100).await;
                raws.push(raw);
            }
        }
        let mut times = Vec::new();
        for _ in 0..100 {
            let begin = Instant::now();
            let said = exchange(proxy.port(), last_get("/hot")).await;
            assert!(said.len() > 500_000 && said.contains("; hit"));
            times.push(begin.elapsed());
            for raw in raws.iter_mut().take(20) {
                raw.hear_some(100).await;
            }
        }
        times.sort();
        // 4 ms with optimizations (benches/abuse); other tests run beside this one.
        assert!(times[95] < Duration::from_secs(1), "{:?}", times[95]);
        drop((raws, clients));
    }
}
