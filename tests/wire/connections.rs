//! Connections: unread content, `Expect`, requests that share an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_response_cache::CacheLayer;

use crate::client::Client;
use crate::dialogue::{case, get, hold, minute, reply, send};
use crate::server::{PATIENCE, Protocol, Server, backends};

/// Says all of it, and hears all that comes until the server closes.
async fn exchange(port: u16, said: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    stream.write_all(said.as_bytes()).await.expect("it listens");
    let mut heard = Vec::new();
    let all = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    all.expect("it closes").expect("it ends well");
    String::from_utf8_lossy(&heard).into_owned()
}

fn answers(heard: &str) -> usize {
    heard.matches("HTTP/1.1 ").count()
}

/// Content of a request is not taken for the next request, on hits and on misses.
#[tokio::test]
async fn content_before_a_hit_is_no_request() {
    for backend in backends().await {
        let server = Server::start(CacheLayer::new(backend.new_one())).await;
        server.script(Some(minute("one")));
        Client::to(server.port, Protocol::Http1)
            .await
            .ask(get("/a").request())
            .await;
        server
            .until("it is stored", |stats| stats.stores == 1)
            .await;
        let smuggled = "GET /b HTTP/1.1\r\nhost: test.example\r\n\r\n";
        let length = smuggled.len();
        for said in [
            format!(
                "GET /a HTTP/1.1\r\nhost: test.example\r\ncontent-length: {length}\r\n\r\n{smuggled}"
            ),
            format!(
                "GET /a HTTP/1.1\r\nhost: test.example\r\ntransfer-encoding: chunked\r\n\r\n\
                 {length:x}\r\n{smuggled}\r\n0\r\n\r\n"
            ),
        ] {
            server.asked();
            server.script(Some(minute("two")));
            let last = "GET /a HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n";
            let heard = exchange(server.port, &format!("{said}{last}")).await;
            assert_eq!(answers(&heard), 2, "{heard}");
            assert!(heard.contains("detail=request-content"), "{heard}");
            assert!(heard.ends_with("one"), "the second is the hit: {heard}");
        }
        // Both lengths at once: refused, or the connection ends behind it.
        let both = "GET /a HTTP/1.1\r\nhost: test.example\r\ncontent-length: 4\r\n\
                    transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        server.script(Some(minute("two")));
        let close = "GET /a HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n";
        let heard = exchange(server.port, &format!("{both}{close}")).await;
        assert!(answers(&heard) <= 2 && !heard.contains("/b"), "{heard}");
    }
}

#[tokio::test]
async fn expect_100_continue_on_a_hit() {
    hold([case(
        "9110 §10.1.1",
        [
            get("/a").origin(minute("one")).sees(200, "one"),
            get("/a")
                .with("expect", "100-continue")
                .sees(200, "one")
                .told("hit; ttl=60"),
            send("PUT", "/a")
                .with("expect", "100-continue")
                .body("new")
                .origin(minute("ok"))
                .sees(200, "ok"),
        ],
    )])
    .await;
}

/// Without a proxy the inner service itself meets the end of the content. A 2xx says that it has
/// acted on the part that it got, a 4xx that it has not.
#[tokio::test]
async fn content_that_breaks_off_is_judged_by_the_answer() {
    for backend in backends().await {
        for (answer, detail, page) in [
            (reply(200, "ok"), "invalidated", "two"),
            (reply(400, "no"), "rejected", "one"),
            (reply(500, "?"), "outcome-unknown", "two"),
        ] {
            let server = Server::start(CacheLayer::new(backend.new_one())).await;
            server.script(Some(minute("one")));
            let mut client = Client::to(server.port, Protocol::Http1).await;
            client.ask(get("/a").request()).await;
            server
                .until("it is stored", |stats| stats.stores == 1)
                .await;
            server.script([answer, minute("two")]);
            let mut stream = TcpStream::connect(("127.0.0.1", server.port))
                .await
                .expect("a connection");
            let said = "PUT /a HTTP/1.1\r\nhost: test.example\r\ncontent-length: 10\r\n\r\nabc";
            stream.write_all(said.as_bytes()).await.expect("it listens");
            stream.shutdown().await.expect("it listens");
            let mut heard = String::new();
            let all = timeout(PATIENCE, stream.read_to_string(&mut heard)).await;
            all.expect("it closes").expect("it ends well");
            let detail = format!("fwd=method; detail={detail}\r\n");
            assert!(heard.contains(&detail), "{heard}");
            let after = client.ask(get("/a").request()).await;
            assert_eq!(after.body, page.as_bytes(), "{heard}");
        }
    }
}

/// Over two connections: `Cache-Status` of one says that it fetched, of the other that it shared.
#[tokio::test]
async fn two_connections_share_one_call() {
    for backend in backends().await {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let server = Server::start(CacheLayer::new(backend.new_one())).await;
            server.script(Some(minute("one")));
            let gate = server.holds();
            let mut clients = [
                Client::to(server.port, protocol).await,
                Client::to(server.port, protocol).await,
            ];
            let [one, other] = &mut clients;
            let both = async {
                tokio::join!(one.ask(get("/a").request()), other.ask(get("/a").request()))
            };
            let go = async {
                server
                    .until("one follows", |stats| stats.fetches.total() == 1)
                    .await;
                gate.notify_one();
            };
            let ((one, other), ()) = tokio::join!(both, go);
            assert_eq!((&one.body[..], &other.body[..]), (&b"one"[..], &b"one"[..]));
            assert_eq!(server.asked().len(), 1);
        }
    }
}
