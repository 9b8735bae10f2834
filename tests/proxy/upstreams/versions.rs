//! Upstreams of another version of HTTP.

use http::Method;
use tower_response_cache::proxy::ReverseProxy;

use super::http2_origin::{Http2Origin, head, hello, reset};
use crate::call::{Http2, call, get, to};
use crate::example::Example;
use crate::http2_frames::{CANCEL, DATA, NO_ERROR, frame};
use crate::origin::{Origin, Step, ok};
use crate::raw::{Raw, exchange, last_get};

/// RFC 9112 §2.3: the version of a message is that of its connection.
#[tokio::test]
async fn an_http_1_0_origin_does_not_close_the_connections_of_clients() {
    for (said, is_closed, end) in [
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            true,
            "hello",
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
            false,
            "hello",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", true, "0\r\n\r\n"),
    ] {
        let origin = Origin::start(move |_| match is_closed {
            true => vec![Step::Say(said.into()), Step::Close],
            false => vec![Step::Say(said.into())],
        })
        .await;
        let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
        let mut raw = Raw::connect(proxy.port()).await;
        for _ in 0..3 {
            raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let head = raw.hear_until("\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(!head.contains("connection:"), "{head}");
            raw.hear_until(end).await;
        }
        // A client of HTTP/1.0 gets no chunks.
        let old = exchange(proxy.port(), "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
        assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
        assert!(old.ends_with("\r\n\r\nhello"), "{old}");
    }
}

const OLD: &str = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\n\
    cache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello";

/// N53: nothing of an HTTP/1.0 connection reaches clients of HTTP/2, for which its fields are errors
/// (RFC 9113 §8.2.2); a stored response is as one that was just received.
#[tokio::test]
async fn clients_of_http2_notice_nothing_of_an_http_1_0_origin() {
    let origin = Origin::saying(OLD).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    let mut client = Http2::connect(proxy.port()).await;
    for (path, is_hit) in [("/a", false), ("/a", true), ("/b", false)] {
        let answer = client.get(path, &[]).await;
        assert_eq!(answer.content.as_deref(), Ok("hello"), "{path}");
        assert_eq!(answer.field("cache-status").contains("; hit"), is_hit);
        for field in ["connection", "keep-alive", "transfer-encoding"] {
            assert_eq!(answer.field(field), "", "{field}");
        }
    }
    assert_eq!(origin.heard().len(), 2);
    // What such a client has brought in keeps connections of HTTP/1.1 open.
    let mut raw = Raw::connect(proxy.port()).await;
    for _ in 0..2 {
        raw.say("GET /a HTTP/1.1\r\nhost: test.example\r\n\r\n")
            .await;
        let head = raw.hear_until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("; hit"));
        raw.hear_until("hello").await;
    }
}

/// N53: upstreams are asked in the proxy's version, whatever that of the client is, and their
/// connections are kept; a client of HTTP/1.0 keeps its own if it asks for that.
#[tokio::test]
async fn clients_of_http_1_0_do_not_decide_about_connections_of_upstreams() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    for (keep, requests) in [("connection: keep-alive\r\n", 3), ("", 1)] {
        let mut raw = Raw::connect(proxy.port()).await;
        for _ in 0..requests {
            raw.say(format!("GET / HTTP/1.0\r\nhost: a\r\n{keep}\r\n"))
                .await;
            let head = raw.hear_until("\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            raw.hear_until("hello").await;
        }
        if keep.is_empty() {
            assert_eq!(raw.hear_all().await, "");
        }
    }
    let heard = origin.heard();
    assert_eq!(heard.len(), 4);
    for request in &heard {
        assert!(request.request_line().ends_with(" HTTP/1.1"), "{request:?}");
        assert_eq!(
            (request.connection, request.field("connection").as_str()),
            (0, "")
        );
    }
}

/// hyper takes these resets for the end of the body.
#[tokio::test]
async fn a_reset_stream_is_no_end_of_a_response() {
    for reason in [NO_ERROR, CANCEL] {
        let origin = Http2Origin::start(move |event| {
            let mut said = head(event.stream, &[("cache-control", "max-age=60")]);
            said.extend(frame(DATA, 0, event.stream, b"hel"));
            said.extend(reset(event.stream, reason));
            Some(said)
        })
        .await;
        let proxy = ReverseProxy::new(&origin.url())
            .expect("a URL")
            .http2_only(true);
        for request in [get("/"), to(Method::DELETE, "/", &[("host", "a")])] {
            let answer = call(&proxy, request).await.expect("a head");
            answer.content.expect_err("it is cut off");
        }
        // It is neither stored nor told as whole.
        let options = ["--upstream", &origin.url(), "--http2-upstream"];
        let proxy = Example::start("proxy", &options).await;
        for _ in 0..2 {
            let said = exchange(proxy.port(), last_get("/")).await;
            assert!(!said.ends_with("0\r\n\r\n"), "{said}");
            assert!(!said.contains("; hit"), "{said}");
        }
    }
}

/// RFC 9113 §8.1: a server may reset a stream after its response to end the request's content.
#[tokio::test]
async fn a_whole_response_may_be_followed_by_a_reset() {
    let origin = Http2Origin::start(|event| {
        let mut said = Vec::new();
        if event.is_head {
            said = hello(event.stream);
            said.extend(reset(event.stream, NO_ERROR));
        }
        Some(said)
    })
    .await;
    let proxy = ReverseProxy::new(&origin.url())
        .expect("a URL")
        .http2_only(true);
    let answer = call(&proxy, get("/")).await.expect("an answer");
    assert_eq!(answer.content.as_deref(), Ok("hello"));
    let endless = http::Request::post("/").header("host", "a");
    let endless = endless
        .body(crate::call::Endless::default())
        .expect("a request");
    let answer = call(&proxy, endless).await.expect("an answer");
    assert_eq!(answer.content.as_deref(), Ok("hello"));
}
