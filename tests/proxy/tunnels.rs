//! WebSockets, and streams that are read as they come.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: test.example\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async fn before(origin: &Origin) -> Example {
    Example::start("proxy", &["--upstream", &origin.url()]).await
}

#[tokio::test]
async fn a_websocket_echoes() {
    let origin = Origin::start(|_| vec![Step::Say(AGREED.into()), Step::Echo]).await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    // The first of it comes with the request.
    raw.say(format!("{HANDSHAKE}early;")).await;
    let said = raw.hear_until("\r\n\r\n").await.to_lowercase();
    assert!(said.starts_with("http/1.1 101 "), "{said}");
    for line in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "cache-status: tower-response-cache; fwd=bypass; detail=upgrade\r\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(raw.hear_until("early;").await, "early;");
    for size in [1, 10, 100_000] {
        let message = format!("{}!", "m".repeat(size));
        raw.say(&message).await;
        assert_eq!(raw.hear_until("!").await, message);
    }
    let heard = origin.heard_one();
    assert_eq!(heard.field("connection"), "upgrade");
    assert_eq!(heard.field("upgrade"), "websocket");
    assert_eq!(heard.field("sec-websocket-version"), "13");
}

/// P8: each log line about a tunnel says which request it is of.
#[tokio::test]
async fn a_websocket_is_logged_with_its_request() {
    let origin = Origin::start(|_| vec![Step::Say(AGREED.into()), Step::Some, Step::Close]).await;
    let mut command = example("proxy", &["--upstream", &origin.url()]);
    let command = command.env("RUST_LOG", "tower_response_cache=debug");
    let mut proxy = Example::run(command.stderr(Stdio::piped())).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(HANDSHAKE).await;
    raw.hear_until("\r\n\r\n").await;
    raw.say("bye").await;
    raw.hear_all().await;
    let logged = async {
        loop {
            let line = lines.next_line().await.expect("a pipe").expect("a line");
            if line.contains("websocket closed") || line.contains("websocket failed") {
                return line;
            }
        }
    };
    let line = timeout(PATIENCE, logged).await.expect("it is logged");
    for part in ["method=GET", "path=\"/chat\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// Either side's end is the other's.
#[tokio::test]
async fn a_websocket_ends() {
    let origin = Origin::start(|_| vec![Step::Say(AGREED.into()), Step::Some, Step::Close]).await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(HANDSHAKE).await;
    raw.hear_until("\r\n\r\n").await;
    raw.say("bye").await;
    assert_eq!(raw.hear_all().await, "");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_or_not_known() {
    let origin = Origin::start(|heard| match heard.field("upgrade").as_str() {
        "websocket" => {
            let no = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
            vec![Step::Say(no.into())]
        }
        _ => vec![Step::Content, Step::Say(ok("", "plain").into_bytes())],
    })
    .await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(HANDSHAKE).await;
    let said = raw.hear_until("\r\n\r\nno").await;
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
    // The connection is still one of HTTP. What would let a client speak past the proxy is not
    // passed on.
    for protocol in ["h2c", "TLS/1.0", "websocket, h2c"] {
        raw.say(HANDSHAKE.replace("websocket\r\n", &format!("{protocol}\r\n")))
            .await;
        let said = raw.hear_until("\r\n\r\nplain").await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    let heard = origin.heard();
    let upgrades: Vec<_> = heard.iter().map(|heard| heard.field("upgrade")).collect();
    assert_eq!(upgrades, ["websocket", "", "", ""]);
}

/// Each event is there when it was sent, and nothing of it is stored.
#[tokio::test]
async fn events_come_one_by_one() {
    let next = Arc::new(Notify::new());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: max-age=60\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let steps = {
        let event = |number| {
            let event = format!("data: {number}\n\n");
            Step::Say(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes())
        };
        let wait = || Step::Wait(next.clone());
        let end = Step::Say(b"0\r\n\r\n".to_vec());
        [
            Step::Say(head.into()),
            event(1),
            wait(),
            event(2),
            wait(),
            event(3),
            end,
        ]
    };
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let proxy = before(&origin).await;
    for _ in 0..2 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(last_get("/events")).await;
        let said = raw.hear_until("data: 1\n\n").await;
        assert!(
            said.contains("cache-status: tower-response-cache; fwd="),
            "{said}"
        );
        next.notify_one();
        raw.hear_until("data: 2\n\n").await;
        next.notify_one();
        assert!(raw.hear_all().await.ends_with("data: 3\n\n\r\n0\r\n\r\n"));
    }
    assert_eq!(origin.heard().len(), 2, "nothing was stored");
}

/// A client that leaves in the middle of an event stream frees the origin.
#[tokio::test]
async fn a_client_that_leaves_a_stream_is_noticed() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    struct Tell(Arc<Notify>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _tell = Tell(told);
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.expect("a request");
        assert!(read > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(head.as_bytes()).await.expect("it listens");
        // Until the proxy has closed it.
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
    });
    let proxy = Example::start("proxy", &["--upstream", &url]).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(last_get("/events")).await;
    raw.hear_until("data: 1\n\n").await;
    drop(raw);
    let noticed = tokio::time::timeout(crate::example::PATIENCE, gone.notified()).await;
    noticed.expect("the origin is let go");
}

/// A hit needs no origin, whatever the connection was used for before.
#[tokio::test]
async fn a_hit_on_a_kept_connection() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    for _ in 0..3 {
        raw.say("GET / HTTP/1.1\r\nhost: test.example\r\n\r\n")
            .await;
        raw.hear_until("\r\n\r\nhello").await;
    }
    assert_eq!(origin.heard().len(), 1);
    assert!(
        exchange(proxy.port(), last_get("/"))
            .await
            .contains("; hit")
    );
}
