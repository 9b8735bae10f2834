//! Requests that are sent again, and those that are not (RFC 9110 §9.2.2, RFC 9113 §8.7).

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower_response_cache::proxy::{ProxyErrorKind, ReverseProxy};

use super::http2_origin::{Http2Origin, goaway, hello, reset};
use crate::call::{call, get};
use crate::example::Example;
use crate::http2_frames::{CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM};
use crate::nginx::Nginx;
use crate::origin::{Heard, Origin, Step, fresh, ok};
use crate::raw::{exchange, last_get};

fn content(method: Method, path: &str, length: usize) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "test.example");
    let content = Bytes::from(vec![b'x'; length]);
    request.body(Full::new(content)).expect("a request")
}

fn requests(heard: &[Heard], path: &str) -> usize {
    let is_for = |heard: &&Heard| heard.request_line().contains(path);
    heard.iter().filter(is_for).count()
}

/// RFC 9110 §9.2.2: the connection had served, and closes before any byte of the response.
#[tokio::test]
async fn an_idempotent_request_is_sent_again_once_when_its_kept_connection_closes() {
    // It closes each connection at its second request, and answers the first one.
    let origin = Origin::start(|heard| match heard.request_line().contains("/first") {
        true => vec![Step::Say(ok("", "").into_bytes())],
        false if heard.field("x-fails").is_empty() => {
            vec![Step::Content, Step::Say(ok("", "again").into_bytes())]
        }
        false => vec![Step::Content, Step::Close],
    })
    .await;
    let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
    for (method, length, times) in [
        (Method::GET, 0, 2),
        (Method::HEAD, 0, 2),
        (Method::OPTIONS, 0, 2),
        (Method::DELETE, 0, 2),
        (Method::PUT, 0, 2),
        (Method::PUT, 1000, 2),
        // Too long to be kept.
        (Method::PUT, 100_000, 1),
        (Method::POST, 0, 1),
        (Method::POST, 10, 1),
        (Method::PATCH, 10, 1),
    ] {
        call(&proxy, get("/first"))
            .await
            .expect("a kept connection");
        let mut request = content(method.clone(), "/once", length);
        request
            .headers_mut()
            .insert("x-fails", "1".parse().expect("a value"));
        let failed = call(&proxy, request).await.expect_err("it was closed");
        assert_eq!(failed.kind(), ProxyErrorKind::Terminated, "{method}");
        let heard = origin.heard();
        assert_eq!(
            requests(&heard, "/once"),
            times,
            "{method} {length}: {heard:?}"
        );
        let contents = heard.iter().filter(|heard| heard.head.contains("/once"));
        assert!(
            contents
                .map(|heard| heard.content.len())
                .all(|sent| sent == length)
        );
    }
    // A connection that never served is no kept one.
    let fresh = ReverseProxy::new(&origin.url()).expect("a URL");
    let mut request = get("/once");
    request
        .headers_mut()
        .insert("x-fails", "1".parse().expect("a value"));
    call(&fresh, request).await.expect_err("it was closed");
    assert_eq!(requests(&origin.heard(), "/once"), 1);
}

/// The origin closes each connection with its second request, as one with a limit does that has
/// just been reached.
#[tokio::test]
async fn clients_notice_nothing_of_kept_connections_that_close() {
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    let origin =
        Origin::start(
            move |heard| match seen.lock().expect("no panic").insert(heard.connection) {
                true => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
                false => vec![Step::Close],
            },
        )
        .await;
    let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
    for number in 0..20 {
        let request = match number % 2 {
            0 => content(Method::GET, "/", 0),
            _ => content(Method::PUT, "/", 5),
        };
        let answer = call(&proxy, request).await.expect("an answer");
        assert_eq!(answer.content.as_deref(), Ok("hello"), "{number}");
    }
}

/// Content in two parts, with a pause between them.
pub fn two_parts(pause: impl Future<Output = ()> + Send + 'static) -> TwoParts {
    TwoParts {
        left: 2,
        pause: Box::pin(pause),
    }
}

pub struct TwoParts {
    left: usize,
    pause: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for TwoParts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if self.left == 1 {
            std::task::ready!(self.pause.as_mut().poll(cx));
        }
        let next = self.left.checked_sub(1).map(|left| {
            self.left = left;
            Ok(http_body::Frame::data(Bytes::from_static(b"part")))
        });
        std::task::Poll::Ready(next)
    }
}

/// What an upstream says before its final response is none: content that follows it begins no
/// request. Not even an idempotent one is sent again then, as the upstream has begun to answer.
#[tokio::test]
async fn content_after_the_beginning_of_a_response_begins_no_other_request() {
    for beginning in ["HTTP/1.1 200 O", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for is_kept in [false, true] {
            let origin =
                Origin::start(move |heard| match heard.request_line().contains("/first") {
                    true => vec![Step::Say(ok("", "").into_bytes())],
                    false => {
                        let begin = Step::Say(beginning.into());
                        vec![begin, Step::Content, Step::Close]
                    }
                })
                .await;
            let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
            if is_kept {
                call(&proxy, get("/first")).await.expect("an answer");
            }
            let request = Request::put("/once").header("host", "test.example");
            let request = request
                .body(two_parts(tokio::time::sleep(
                    std::time::Duration::from_millis(200),
                )))
                .expect("a request");
            call(&proxy, request).await.expect_err("it was closed");
            let sent = requests(&origin.heard(), "/once");
            assert_eq!(sent, 1, "{beginning:?}, kept: {is_kept}");
        }
    }
}

/// A response that has begun is not asked for again.
#[tokio::test]
async fn a_response_that_breaks_off_in_its_head_is_not_asked_for_again() {
    let origin = Origin::start(|heard| match heard.request_line().contains("/first") {
        true => vec![Step::Say(ok("", "").into_bytes())],
        false => vec![Step::Say(b"HTTP/1.1 200 O".to_vec()), Step::Close],
    })
    .await;
    let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
    call(&proxy, get("/first"))
        .await
        .expect("a kept connection");
    call(&proxy, get("/once")).await.expect_err("it broke off");
    assert_eq!(requests(&origin.heard(), "/once"), 1);
}

async fn answered(proxy: &ReverseProxy, method: Method, length: usize) -> bool {
    let answer = call(proxy, content(method, "/", length)).await;
    answer.is_ok_and(|answer| answer.content.as_deref() == Ok("hello"))
}

/// RFC 9113 §6.8, §8.7: streams above the last one of a GOAWAY, and refused ones, were not
/// processed, whatever their method.
#[tokio::test]
async fn a_request_that_an_http2_server_has_not_processed_is_sent_again() {
    type Refusal = fn(u32) -> Vec<u8>;
    let refusals: [(&str, Refusal, bool); 5] = [
        ("goaway", |_| goaway(0, NO_ERROR), true),
        ("goaway, error", |_| goaway(0, ENHANCE_YOUR_CALM), true),
        ("refused", |stream| reset(stream, REFUSED_STREAM), true),
        ("cancel", |stream| reset(stream, CANCEL), false),
        ("calm", |stream| reset(stream, ENHANCE_YOUR_CALM), false),
    ];
    for (name, refusal, is_repeated) in refusals {
        for (method, length) in [(Method::GET, 0), (Method::POST, 0), (Method::POST, 1000)] {
            // The first request that is whole is refused, all others are answered.
            let has_refused = AtomicBool::new(false);
            let origin = Http2Origin::start(move |event| {
                Some(match event.is_end {
                    false => Vec::new(),
                    true if has_refused.swap(true, Ordering::SeqCst) => hello(event.stream),
                    true => refusal(event.stream),
                })
            })
            .await;
            let proxy = ReverseProxy::new(&origin.url())
                .expect("a URL")
                .http2_only(true);
            let is_answered = answered(&proxy, method.clone(), length).await;
            assert_eq!(is_answered, is_repeated, "{name} {method} {length}");
            let times = origin.heads().len();
            assert_eq!(
                times,
                1 + usize::from(is_repeated),
                "{name} {method} {length}"
            );
        }
    }
}

/// A request is sent again once, not for as long as it is refused.
#[tokio::test]
async fn a_server_that_refuses_each_request_is_asked_twice() {
    let origin = Http2Origin::start(|event| Some(reset(event.stream, REFUSED_STREAM))).await;
    let proxy = ReverseProxy::new(&origin.url())
        .expect("a URL")
        .http2_only(true);
    call(&proxy, get("/")).await.expect_err("it refuses");
    assert_eq!(origin.heads().len(), 2);
}

/// nginx closes a connection after a number of requests, whatever else is on its way.
#[tokio::test]
async fn a_graceful_goaway_of_nginx_costs_no_client_its_answer() {
    let nginx = Nginx::start("goaway").await;
    nginx.write("hello", "hello");
    let proxy = ReverseProxy::new(&nginx.http2_url())
        .expect("a URL")
        .http2_only(true);
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let proxy = proxy.clone();
        clients.spawn(async move {
            for number in 0..60 {
                let answer = call(&proxy, get("/hello")).await;
                let answer = answer.unwrap_or_else(|error| panic!("{number}: {error:?}"));
                assert_eq!(answer.content.as_deref(), Ok("hello"));
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("all of its answers");
    }
}

/// The upstream may have acted on the first, whose connection was lost: its 404 or 412 to the second
/// does not mean that nothing has changed.
#[tokio::test]
async fn a_write_that_was_sent_twice_invalidates_even_if_the_second_is_rejected() {
    for (method, lines, second) in [
        (
            "DELETE",
            "",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "PUT",
            "if-match: \"1\"\r\ncontent-length: 3\r\n",
            "HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\n\r\n",
        ),
    ] {
        let writes = AtomicUsize::new(0);
        let origin = Origin::start(move |heard| {
            if heard.head.starts_with("GET") {
                return match writes.load(Ordering::SeqCst) {
                    0 => vec![Step::Say(fresh("old").into_bytes())],
                    _ => vec![Step::Say(fresh("new").into_bytes())],
                };
            }
            match writes.fetch_add(1, Ordering::SeqCst) {
                // It acts on it, and its worker dies before it answers.
                0 => vec![Step::Content, Step::Close],
                _ => vec![Step::Content, Step::Say(second.into())],
            }
        })
        .await;
        let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
        exchange(proxy.port(), last_get("/x")).await;
        let content = if method == "PUT" { "abc" } else { "" };
        exchange(proxy.port(), format!("{method} /x HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n{lines}\r\n{content}")).await;
        let after = exchange(proxy.port(), last_get("/x")).await;
        assert!(after.ends_with("new"), "{method}: STALE: {after}");
    }
}
