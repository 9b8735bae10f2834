//! Uploads that stall beside requests of others.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::http2_client::Http2Client;
use crate::example::Example;
use crate::origin::{Origin, Step, ok};
use crate::raw::{Raw, STREAMED, exchange, last_get};

/// An origin that reads the content of each request before it answers.
async fn reading() -> Origin {
    Origin::start(|_| vec![Step::Content, Step::Say(ok("", "hello").into_bytes())]).await
}

fn put(length: usize, content: &str) -> String {
    format!("PUT /up HTTP/1.1\r\nhost: test.example\r\ncontent-length: {length}\r\n\r\n{content}")
}

/// A proxy with few places that passes content on as it comes.
async fn streaming(origin: &Origin, concurrency: &str) -> Example {
    let url = origin.url();
    let options = ["--upstream", &url, "--concurrency", concurrency];
    Example::start("proxy", &[&options, &STREAMED[..]].concat()).await
}

/// Misses and writes of others, all in time.
async fn assert_others_are_served(proxy: &Example) {
    let begin = Instant::now();
    for number in 0..5 {
        let said = exchange(proxy.port(), last_get(&format!("/{number}"))).await;
        assert!(said.ends_with("hello"), "{said}");
        let write = put(3, "abc").replace("host:", "connection: close\r\nhost:");
        let said = exchange(proxy.port(), write).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

/// More slow uploads than there are places before the upstream.
#[tokio::test]
async fn uploads_that_stall_hold_up_no_other_request() {
    let origin = reading().await;
    let options = ["--upstream", &origin.url(), "--concurrency", "8"];
    let proxy = Example::start("proxy", &options).await;
    // Streams of HTTP/2 that have begun, and those that have not; connections of HTTP/1.1.
    let mut clients = Vec::new();
    for content in ["", "some"] {
        let mut client = Http2Client::connect(proxy.port(), 65_535).await;
        for _ in 0..20 {
            let stream = client.request("POST", "/up", Some(1000)).await;
            if !content.is_empty() {
                client.data(stream, content.as_bytes()).await;
            }
        }
        clients.push(client);
    }
    let mut raws = Vec::new();
    for number in 0..20 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put(1000, if number % 2 == 0 { "" } else { "some" }))
            .await;
        raws.push(raw);
    }
    assert_others_are_served(&proxy).await;
    drop((clients, raws));
}

/// An upload goes on after a pause. Its end waits for a place, as a new request would.
#[tokio::test]
async fn an_upload_goes_on_after_it_has_stalled() {
    let origin = Origin::start(|heard| match heard.head.starts_with("GET") {
        true => vec![
            Step::Pause(Duration::from_secs(1)),
            Step::Say(ok("", "other").into_bytes()),
        ],
        false => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
    })
    .await;
    let proxy = streaming(&origin, "1").await;
    let mut upload = Raw::connect(proxy.port()).await;
    upload.say(put(6, "abc")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // It takes the place.
    let mut other = Raw::connect(proxy.port()).await;
    other.say(last_get("/")).await;
    origin.until_heard("GET / ").await;
    upload.say("def").await;
    upload.hear_until("hello").await;
}

/// Uploads that stall, give their places to others and then end are not with the upstream beyond
/// the limit: wave after wave of them has no more than the places.
#[tokio::test]
async fn no_more_whole_requests_are_with_upstreams_than_places() {
    let origin = Origin::start(|heard| match heard.head.starts_with("GET") {
        true => vec![
            Step::Pause(Duration::from_millis(900)),
            Step::Say(ok("", "x").into_bytes()),
        ],
        false => vec![Step::Content, Step::Hang],
    })
    .await;
    for framing in ["transfer-encoding: chunked", "content-length: 6"] {
        let proxy = streaming(&origin, "4").await;
        let is_chunked = framing.contains("chunked");
        let (begin, end) = match is_chunked {
            true => ("3\r\nabc\r\n", "0\r\n\r\n"),
            false => ("abc", "def"),
        };
        let mut all = Vec::new();
        for wave in 0..3 {
            let mut uploads = Vec::new();
            for _ in 0..4 {
                let mut raw = Raw::connect(proxy.port()).await;
                let head = format!("POST /up HTTP/1.1\r\nhost: test.example\r\n{framing}\r\n\r\n");
                raw.say(head + begin).await;
                uploads.push(raw);
            }
            sleep(Duration::from_millis(400)).await;
            for number in 0..4 {
                let mut raw = Raw::connect(proxy.port()).await;
                raw.say(last_get(&format!("/{wave}/{number}"))).await;
                all.push(raw);
            }
            sleep(Duration::from_millis(200)).await;
            for mut raw in uploads {
                // It may have been ended for the next ones.
                raw.try_say(end).await;
                all.push(raw);
            }
            sleep(Duration::from_millis(1000)).await;
        }
        let whole = origin.heard();
        let whole = whole.iter().filter(|heard| !heard.content.is_empty());
        assert!(whole.count() <= 4, "{framing}");
    }
}

/// One without a place in time is answered 503, and counts as rejected: the upstream has only a
/// part of it.
#[tokio::test]
async fn whole_content_without_a_place_is_answered_503() {
    let origin = Origin::start(|heard| match heard.request_line() {
        "GET /up HTTP/1.1" => vec![Step::Say(crate::origin::fresh("old").into_bytes())],
        "GET /hangs HTTP/1.1" => vec![Step::Hang],
        _ => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
    })
    .await;
    let url = origin.url();
    let places = ["--upstream", &url, "--concurrency", "1"];
    let times = [
        "--queue-timeout",
        "300ms",
        "--broken-upload-timeout",
        "200ms",
    ];
    let proxy = Example::start("proxy", &[&places[..], &times, &STREAMED].concat()).await;
    exchange(proxy.port(), last_get("/up")).await;
    let mut upload = Raw::connect(proxy.port()).await;
    upload.say(put(6, "abc")).await;
    sleep(Duration::from_millis(300)).await;
    let mut hangs = Raw::connect(proxy.port()).await;
    hangs.say(last_get("/hangs")).await;
    origin.until_heard("GET /hangs ").await;
    upload.say("def").await;
    let head = upload.hear_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(origin.heard().iter().all(|heard| heard.content.is_empty()));
    let hit = exchange(proxy.port(), last_get("/up")).await;
    assert!(hit.contains("; hit"), "{hit}");
}

/// An upload below the lowest rate is answered 408, though it never pauses for long.
#[tokio::test]
async fn uploads_below_the_lowest_rate_are_ended() {
    let origin = reading().await;
    let url = origin.url();
    let rates = ["--min-upload-rate", "20KiB", "--rate-window", "1s"];
    let proxy = Example::start("proxy", &[&["--upstream", &url], &rates[..]].concat()).await;
    for (piece, is_kept) in [("x".repeat(500), false), ("x".repeat(10_000), true)] {
        let mut upload = Raw::connect(proxy.port()).await;
        upload.say(put(30 * piece.len(), "")).await;
        let mut number = 0;
        while number < 30 && upload.try_say(&piece).await {
            sleep(Duration::from_millis(100)).await;
            number += 1;
        }
        let head = upload.hear_until("\r\n\r\n").await;
        assert_eq!(head.starts_with("HTTP/1.1 200 "), is_kept, "{head}");
        assert_eq!(head.starts_with("HTTP/1.1 408 "), !is_kept, "{head}");
    }
}

/// Many uploads of one client that stall end no upload of another one.
#[tokio::test]
async fn a_client_with_many_stalled_uploads_ends_its_own() {
    let origin = reading().await;
    let proxy = streaming(&origin, "2").await;
    let mut honest = Raw::connect_from("127.0.0.2", proxy.port()).await;
    honest.say(put(6, "abc")).await;
    sleep(Duration::from_millis(300)).await;
    let mut greedy = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put(6, "abc")).await;
        sleep(Duration::from_millis(200)).await;
        greedy.push(raw);
    }
    let last = greedy.pop();
    for raw in greedy {
        let said = raw.hear_all().await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    honest.say("def").await;
    honest.hear_until("hello").await;
    let mut last = last.expect("five");
    last.say("def").await;
    last.hear_until("hello").await;
}

/// As many uploads may stall as there are places; one more ends the oldest.
#[tokio::test]
async fn uploads_that_stall_are_bounded() {
    let origin = reading().await;
    let proxy = streaming(&origin, "2").await;
    let mut uploads = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put(6, "abc")).await;
        // Until it has stalled.
        tokio::time::sleep(Duration::from_millis(400)).await;
        uploads.push(raw);
    }
    let mut uploads = uploads.into_iter();
    for raw in uploads.by_ref().take(2) {
        let said = raw.hear_all().await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    for mut raw in uploads {
        raw.say("def").await;
        raw.hear_until("hello").await;
    }
}

/// A request without a place is answered 503 in time. A write without one invalidates nothing.
#[tokio::test]
async fn a_request_without_a_place_is_answered_503() {
    let origin = Origin::start(|heard| match heard.request_line() {
        "GET /hot HTTP/1.1" => vec![Step::Say(crate::origin::fresh("hot").into_bytes())],
        _ => vec![Step::Content, Step::Hang],
    })
    .await;
    let url = origin.url();
    let options = [
        "--upstream",
        &url,
        "--concurrency",
        "1",
        "--queue-timeout",
        "200ms",
    ];
    let proxy = Example::start("proxy", &options).await;
    exchange(proxy.port(), last_get("/hot")).await;
    let mut hangs = Raw::connect(proxy.port()).await;
    hangs.say(last_get("/hangs")).await;
    origin.until_heard("GET /hangs ").await;
    for method in ["GET", "PUT", "DELETE", "POST"] {
        let path = if method == "GET" { "/other" } else { "/hot" };
        let request = last_get(path).replacen("GET", method, 1);
        let said = exchange(proxy.port(), request).await;
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        assert!(said.contains("retry-after: 1\r\n"), "{said}");
        assert!(said.contains("error=connection_limit_reached"), "{said}");
        let hot = exchange(proxy.port(), last_get("/hot")).await;
        assert!(hot.contains("; hit"), "{method}: {hot}");
    }
}

/// A byte now and then does not keep the place of an upload that stalls.
#[tokio::test]
async fn uploads_that_trickle_hold_up_no_other_request() {
    let origin = reading().await;
    let options = [
        "--upstream",
        &origin.url(),
        "--concurrency",
        "4",
        "--queue-timeout",
        "500ms",
        "--idle-timeout",
        "1s",
    ];
    let proxy = Example::start("proxy", &[&options, &STREAMED[..]].concat()).await;
    let mut client = Http2Client::connect(proxy.port(), 65_535).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(client.request("POST", "/up", Some(100_000)).await);
    }
    let mut failed = 0;
    let trickle = async {
        for _ in 0..200 {
            for stream in &streams {
                client.data(*stream, b"x").await;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let port = proxy.port();
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for number in 0..5 {
            let said = exchange(port, last_get(&format!("/{number}"))).await;
            failed += usize::from(!said.starts_with("HTTP/1.1 200"));
        }
    };
    tokio::join!(trickle, others);
    assert_eq!(failed, 0);
}
