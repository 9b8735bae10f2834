//! Content that a client breaks off: no upstream has a whole request, so no write has happened, and
//! no stranger can flush a page by hanging up.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower_response_cache::BoxError;

use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, STREAMED, exchange, last_get};

pub(super) const SOON: Duration = Duration::from_millis(50);

/// Within the time that the page is looked at, no answer comes any more.
const SHORT: [&str; 2] = ["--broken-upload-timeout", "100ms"];

/// An origin that stores nothing without a password, and a page of it that is a hit.
pub(super) async fn before_a_hit(options: &[&str]) -> (Origin, Example) {
    before_a_hit_of(options, |_| ok("", "")).await
}

/// As above; an answer to a whole write.
async fn before_a_hit_of(options: &[&str], to_write: fn(&str) -> String) -> (Origin, Example) {
    let origin = Origin::start(move |heard| {
        if heard.head.starts_with("GET") {
            return vec![Step::Say(fresh("page").into_bytes())];
        }
        let answer = to_write(heard.request_line());
        vec![Step::Content, Step::Say(answer.into_bytes())]
    })
    .await;
    let proxy = with_a_hit(&origin, options).await;
    (origin, proxy)
}

/// A proxy that passes content on as it comes.
async fn with_streams(origin: &Origin) -> Example {
    let url = origin.url();
    Example::start("proxy", &[&["--upstream", &url], &STREAMED[..]].concat()).await
}

/// A proxy before an origin, one page of which is a hit.
pub(super) async fn with_a_hit(origin: &Origin, options: &[&str]) -> Example {
    let url = origin.url();
    let options = [&["--upstream", &url], &STREAMED[..], options].concat();
    let proxy = Example::start("proxy", &options).await;
    exchange(proxy.port(), last_get("/hot")).await;
    assert!(is_hit(&proxy).await, "it is stored");
    proxy
}

pub(super) async fn is_hit(proxy: &Example) -> bool {
    exchange(proxy.port(), last_get("/hot"))
        .await
        .contains("; hit")
}

/// Whether the page stays a hit, also after whatever the proxy does in the background.
pub(super) async fn stays_a_hit(proxy: &Example) -> bool {
    for _ in 0..5 {
        sleep(SOON).await;
        if !is_hit(proxy).await {
            return false;
        }
    }
    true
}

pub(super) fn put(framing: &str, content: &str) -> String {
    format!("PUT /hot HTTP/1.1\r\nhost: test.example\r\n{framing}\r\n\r\n{content}")
}

/// What clients say before they stop.
fn broken() -> Vec<String> {
    vec![
        put("content-length: 10", "abc"),
        put("content-length: 10", ""),
        put("transfer-encoding: chunked", "3\r\nabc\r\n"),
        put("transfer-encoding: chunked", "3\r\nab"),
        put("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n"),
    ]
}

#[tokio::test]
async fn a_client_that_closes_within_its_content_writes_nothing() {
    let (_origin, proxy) = before_a_hit(&SHORT).await;
    for said in broken() {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(&said).await;
        sleep(SOON).await;
        drop(raw);
        assert!(stays_a_hit(&proxy).await, "{said}");
    }
}

#[tokio::test]
async fn a_client_that_closes_one_half_gets_400() {
    let (_origin, proxy) = before_a_hit(&SHORT).await;
    for said in broken() {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(&said).await;
        raw.stop_saying().await;
        let heard = raw.hear_all().await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{said}: {heard}");
        assert!(heard.contains("detail=rejected"), "{said}: {heard}");
        assert!(stays_a_hit(&proxy).await, "{said}");
    }
}

#[tokio::test]
async fn chunks_that_are_none_write_nothing() {
    let (_origin, proxy) = before_a_hit(&SHORT).await;
    for chunk in [
        "zz\r\n",
        "3\r\nabcdef\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let said = put(
            "transfer-encoding: chunked",
            &format!("3\r\nabc\r\n{chunk}"),
        );
        let heard = exchange(proxy.port(), &said).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{chunk}: {heard}");
        assert!(stays_a_hit(&proxy).await, "{chunk}");
    }
}

#[tokio::test]
async fn a_client_that_pauses_for_too_long_writes_nothing() {
    let (_origin, proxy) = before_a_hit(&["--idle-timeout", "200ms", SHORT[0], SHORT[1]]).await;
    for said in broken() {
        let heard = exchange(proxy.port(), &said).await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{said}: {heard}");
        assert!(heard.contains("detail=rejected"), "{said}: {heard}");
        assert!(stays_a_hit(&proxy).await, "{said}");
    }
}

pub(super) type Piece = Result<Frame<Bytes>, BoxError>;

/// A step of a client's body.
pub(super) enum Part {
    Frame(Piece),
    Pause,
    Wait(Arc<Notify>),
}

/// A body of these parts.
pub(super) struct Parts(
    VecDeque<Part>,
    Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
);

impl Parts {
    pub(super) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self(parts.into_iter().collect(), None)
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            if let Some(pause) = &mut self.1 {
                ready!(pause.as_mut().poll(cx));
                self.1 = None;
            }
            match self.0.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Frame(piece)) => return Poll::Ready(Some(piece)),
                Some(Part::Pause) => self.1 = Some(Box::pin(sleep(SOON))),
                Some(Part::Wait(signal)) => {
                    self.1 = Some(Box::pin(async move { signal.notified().await }));
                }
            }
        }
    }
}

/// Sends this over HTTP/2; an error resets the stream.
pub(super) async fn send_parts(proxy: &Example, length: Option<&str>, parts: Vec<Part>) {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await;
    let stream = TokioIo::new(stream.expect("it listens"));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let body = Parts::new(parts);
    let mut request = Request::put("http://test.example/hot");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    let request = request.body(body).expect("a request");
    let _ = sender.send_request(request).await;
}

pub(super) fn data(bytes: &'static str) -> Part {
    Part::Frame(Ok(Frame::data(Bytes::from_static(bytes.as_bytes()))))
}

pub(super) fn reset() -> Part {
    Part::Frame(Err("on purpose".into()))
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_writes_nothing() {
    let (_origin, proxy) = before_a_hit(&SHORT).await;
    for (length, parts) in [
        (None, vec![data("abc"), Part::Pause, reset()]),
        (None, vec![Part::Pause, reset()]),
        (Some("10"), vec![data("abc"), Part::Pause, reset()]),
        // Longer than promised, and shorter.
        (Some("5"), vec![data("abc"), Part::Pause, data("abc")]),
        (Some("5"), vec![data("abc")]),
    ] {
        send_parts(&proxy, length, parts).await;
        assert!(stays_a_hit(&proxy).await, "{length:?}");
    }
}

/// The upstream has all that was announced: its answer counts.
#[tokio::test]
async fn whole_content_counts_although_its_stream_is_reset() {
    let (told, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (told.clone(), go.clone());
    let origin = Origin::start(move |heard| match heard.head.starts_with("GET") {
        true => vec![Step::Say(fresh("page").into_bytes())],
        false => vec![
            Step::Content,
            Step::Tell(tell.clone()),
            Step::Wait(wait.clone()),
            Step::Say(ok("", "").into_bytes()),
        ],
    })
    .await;
    let proxy = with_streams(&origin).await;
    exchange(proxy.port(), last_get("/hot")).await;
    send_parts(
        &proxy,
        Some("3"),
        vec![data("abc"), Part::Wait(told), reset()],
    )
    .await;
    assert!(stays_a_hit(&proxy).await, "nothing is known yet");
    go.notify_one();
    let written = async {
        while is_hit(&proxy).await {
            sleep(SOON).await;
        }
    };
    let written = timeout(PATIENCE, written).await;
    written.expect("it is invalidated");
}

/// A write that an upstream has answered before the client broke off is what that says.
#[tokio::test]
async fn an_answer_that_is_there_counts() {
    for (status, is_written) in [("204 No Content", true), ("401 Unauthorized", false)] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let answer = answer.replace(
            "content-length: 0\r\n",
            match is_written {
                true => "",
                false => "content-length: 0\r\n",
            },
        );
        let origin = Origin::start(move |heard| match heard.head.starts_with("GET") {
            true => vec![Step::Say(fresh("page").into_bytes())],
            false => vec![Step::Say(answer.clone().into_bytes()), Step::Hang],
        })
        .await;
        let proxy = with_streams(&origin).await;
        exchange(proxy.port(), last_get("/hot")).await;
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put("content-length: 10", "abc")).await;
        raw.hear_until(status).await;
        drop(raw);
        sleep(SOON).await;
        assert_eq!(is_hit(&proxy).await, !is_written, "{status}");
    }
}

/// An upstream that fails with a whole request, or before the client does, may have carried it out.
#[tokio::test]
async fn failures_of_the_upstream_stay_unknown() {
    let whole = put("content-length: 3\r\nconnection: close", "abc");
    let half = put("content-length: 10\r\nconnection: close", "abc");
    for (steps, said, status, head_timeout) in [
        (vec![Step::Content, Step::Close], &whole, "502", "1h"),
        // The page must come in that time, too.
        (vec![Step::Content, Step::Hang], &whole, "504", "3s"),
        (vec![Step::Close], &half, "502", "1h"),
    ] {
        let origin = Origin::start(move |heard| match heard.head.starts_with("GET") {
            true => vec![Step::Say(fresh("page").into_bytes())],
            false => steps.clone(),
        })
        .await;
        let url = origin.url();
        let options = ["--upstream", &url, "--head-timeout", head_timeout];
        let proxy = Example::start("proxy", &[&options, &STREAMED[..]].concat()).await;
        exchange(proxy.port(), last_get("/hot")).await;
        assert!(is_hit(&proxy).await);
        let heard = exchange(proxy.port(), said).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
        assert!(!is_hit(&proxy).await, "{status}");
    }
}
