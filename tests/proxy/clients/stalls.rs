//! Clients that neither read nor say anything.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http2_client::Http2Client;
use crate::example::{Example, PATIENCE};
use crate::http2_frames::{SETTINGS, frame};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, connect_from, exchange, last_get};

const TIMES: [&str; 4] = ["--client-timeout", "400ms", "--idle-timeout", "400ms"];

async fn proxy(origin: &Origin, options: &[&str]) -> Example {
    let url = origin.url();
    Example::start("proxy", &[&["--upstream", &url], options].concat()).await
}

async fn until_closed(origin: &Origin, count: usize) {
    let begin = Instant::now();
    while origin.closed() < count {
        assert!(begin.elapsed() < PATIENCE, "the upstream is not let go");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client that opens no window pins neither a stored response nor an upstream's connection.
#[tokio::test]
async fn a_client_with_a_closed_window_is_let_go() {
    let hit = "x".repeat(100_000);
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let origin = Origin::start(move |heard| match heard.head.contains("/hot") {
        true => vec![Step::Say(fresh(&hit).into_bytes())],
        false => vec![Step::Say(begin.clone()), Step::Forever(vec![b'x'; 1 << 16])],
    })
    .await;
    let proxy = proxy(&origin, &TIMES).await;
    exchange(proxy.port(), last_get("/hot")).await;
    for path in ["/hot", "/endless"] {
        for window in [0, 1000] {
            let mut client = Http2Client::connect(proxy.port(), window).await;
            client.request("GET", path, None).await;
            assert_eq!(client.wait_for_end().await, window as usize, "{path}");
        }
    }
    until_closed(&origin, 2).await;
}

/// One stream that stalls beside others that go on does not pin its upstream's connection.
#[tokio::test]
async fn a_stream_that_stalls_beside_others_is_let_go() {
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let origin = Origin::start(move |heard| match heard.head.contains("/small") {
        true => vec![Step::Say(ok("", "small").into_bytes())],
        false => vec![Step::Say(begin.clone()), Step::Forever(vec![b'x'; 1 << 16])],
    })
    .await;
    let proxy = proxy(&origin, &TIMES).await;
    let mut client = Http2Client::connect(proxy.port(), 1000).await;
    client.request("GET", "/endless", None).await;
    let begin = Instant::now();
    while origin.closed() == 0 {
        assert!(begin.elapsed() < PATIENCE, "the upstream is not let go");
        client.request("GET", "/small", None).await;
        assert!(
            client.stays_for(Duration::from_millis(50)).await,
            "others go on"
        );
    }
}

/// A client of HTTP/2 that answers pings, and asks for nothing.
#[tokio::test]
async fn an_idle_client_that_answers_pings_is_let_go() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = proxy(&origin, &TIMES).await;
    let idle = Http2Client::connect(proxy.port(), 65_535).await;
    assert_eq!(idle.wait_for_end().await, 0);
    let mut once = Http2Client::connect(proxy.port(), 65_535).await;
    once.request("GET", "/", None).await;
    assert_eq!(once.wait_for_end().await, 5);
}

/// A response that takes long is no idle client, of whatever version.
#[tokio::test]
async fn a_client_that_waits_for_its_response_is_not_idle() {
    let origin = Origin::start(|_| {
        let pause = Step::Pause(Duration::from_millis(1500));
        vec![pause, Step::Say(ok("", "hello").into_bytes())]
    })
    .await;
    let proxy = proxy(&origin, &TIMES).await;
    let mut client = Http2Client::connect(proxy.port(), 65_535).await;
    client.request("GET", "/", None).await;
    let last = exchange(proxy.port(), last_get("/"));
    let (said, received) = tokio::join!(last, client.wait_for_end());
    assert!(said.ends_with("hello"), "{said}");
    assert_eq!(received, 5);
}

const AGREED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const HANDSHAKE: &str =
    "GET /chat HTTP/1.1\r\nhost: test.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_silent_websocket_is_closed_and_one_that_is_used_is_not() {
    let origin = Origin::start(|_| vec![Step::Say(AGREED.into()), Step::Echo]).await;
    let proxy = proxy(&origin, &["--tunnel-timeout", "500ms"]).await;
    let mut silent = Raw::connect(proxy.port()).await;
    silent.say(HANDSHAKE).await;
    silent.hear_until("\r\n\r\n").await;
    let mut used = Raw::connect(proxy.port()).await;
    used.say(HANDSHAKE).await;
    used.hear_until("\r\n\r\n").await;
    for number in 0..20 {
        used.say(format!("{number};")).await;
        used.hear_until(&format!("{number};")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(silent.hear_all().await, "");
    assert_eq!(used.hear_all().await, "");
    until_closed(&origin, 2).await;
}

/// A client that has said all it has to say may still listen.
#[tokio::test]
async fn an_answer_to_a_half_closed_client_arrives() {
    let origin = Origin::start(|_| {
        let pause = Step::Pause(Duration::from_millis(300));
        vec![pause, Step::Say(ok("", "hello").into_bytes())]
    })
    .await;
    let proxy = proxy(&origin, &[]).await;
    for request in [
        "GET /a HTTP/1.1\r\nhost: test.example\r\n\r\n",
        "DELETE /b HTTP/1.1\r\nhost: test.example\r\n\r\n",
        "GET /c HTTP/1.0\r\n\r\n",
    ] {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(request).await;
        raw.stop_saying().await;
        let said = raw.hear_all().await;
        assert!(said.ends_with("hello"), "{request}: {said}");
    }
}

/// The version is recognized by the first bytes of a connection, in however many parts they come.
#[tokio::test]
async fn first_bytes_may_come_in_parts() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = proxy(&origin, &[]).await;
    let pause = || tokio::time::sleep(Duration::from_millis(50));
    for method in ["PUT", "POST", "GET"] {
        let mut raw = Raw::connect(proxy.port()).await;
        for part in [&method[..1], &method[1..], " / HTTP/1.1\r\n", "host: a\r\n"] {
            raw.say(part).await;
            pause().await;
        }
        raw.say("content-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        assert!(raw.hear_all().await.ends_with("hello"), "{method}");
    }
    for parts in [
        &["PRI", " * HTTP/2.0\r\n\r\nSM\r\n\r\n"][..],
        &["PRI * HTTP/2.0\r\n", "\r\nSM\r\n\r\n"],
    ] {
        let mut stream = connect_from("127.0.0.1", proxy.port()).await;
        for part in parts {
            stream.write_all(part.as_bytes()).await.expect("it listens");
            pause().await;
        }
        let settings = frame(SETTINGS, 0, 0, b"");
        stream.write_all(&settings).await.expect("it listens");
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        assert_eq!(head[3], SETTINGS, "{parts:?}");
    }
}

/// The time for the first request runs from the beginning of its connection, however late its first
/// byte is.
#[tokio::test]
async fn a_late_first_byte_gains_no_time() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = proxy(&origin, &["--client-timeout", "3s"]).await;
    let late = async |first: &str| {
        let begin = Instant::now();
        let mut raw = Raw::connect(proxy.port()).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        raw.say(first).await;
        raw.hear_all().await;
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(2900), "{first}: {took:?}");
        assert!(took < Duration::from_millis(5400), "{first}: {took:?}");
    };
    tokio::join!(late("G"), late("P"));
}

/// So does that for a later one, and it runs from the end of the last response: whether nothing
/// comes, or a head that never ends.
#[tokio::test]
async fn a_later_head_has_its_time() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = proxy(&origin, &["--client-timeout", "2s"]).await;
    let run = async |requests: usize, drips: bool| {
        let mut raw = Raw::connect(proxy.port()).await;
        for _ in 0..requests {
            tokio::time::sleep(Duration::from_millis(900)).await;
            raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            raw.hear_until("hello").await;
        }
        let begin = Instant::now();
        if drips {
            while raw.try_say("GET").await && begin.elapsed() < PATIENCE {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        } else {
            raw.hear_all().await;
        }
        let took = begin.elapsed();
        let case = (requests, drips, took);
        assert!(took >= Duration::from_millis(1900), "{case:?}");
        assert!(took < Duration::from_millis(3500), "{case:?}");
    };
    tokio::join!(
        run(1, false),
        run(1, true),
        run(2, false),
        run(4, false),
        run(4, true)
    );
}
