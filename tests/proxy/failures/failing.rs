//! What becomes of origins and clients that fail.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::net::{TcpSocket, TcpStream};
use tower::ServiceExt;
use tower_response_cache::proxy::{ProxyErrorKind, ReverseProxy};

use crate::call::{Endless, call, get};
use crate::example::PATIENCE;
use crate::origin::{Nobody, Origin, Step, ok};

const SOON: Duration = Duration::from_millis(50);
/// For what must not be late on a busy machine.
const SECOND: Duration = Duration::from_secs(1);

fn proxy(origin: &Origin) -> ReverseProxy {
    ReverseProxy::new(&origin.url()).expect("a URL")
}

async fn kind_of(proxy: &ReverseProxy) -> ProxyErrorKind {
    let failed = call(proxy, get("/")).await;
    failed.expect_err("it cannot answer").kind()
}

#[tokio::test]
async fn an_origin_that_is_not_there() {
    let nobody = Nobody::new();
    let proxy = ReverseProxy::new(&nobody.url()).expect("a URL");
    assert_eq!(kind_of(&proxy).await, ProxyErrorKind::Connect);
    // No name has so long a label: no resolver is asked.
    let proxy = ReverseProxy::new(&format!("http://{}/", "a".repeat(64))).expect("a URL");
    assert_eq!(kind_of(&proxy).await, ProxyErrorKind::Dns);
}

/// A listener whose queue is full accepts no connection, and says nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connecting_takes_a_bounded_time() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("an address");
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SOON, TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let proxy = ReverseProxy::new(&format!("http://{address}")).expect("a URL");
    let proxy = proxy.connect_timeout(SOON);
    let kind = tokio::time::timeout(PATIENCE, kind_of(&proxy)).await;
    assert_eq!(kind, Ok(ProxyErrorKind::ConnectTimeout));
    drop(listener);
}

#[tokio::test]
async fn an_answer_that_does_not_come() {
    let hang = |_: &_| vec![Step::Content, Step::Hang];
    let begin = |_: &_| {
        vec![
            Step::Say(b"HTTP/1.1 200 OK\r\nx: 1\r\n".to_vec()),
            Step::Hang,
        ]
    };
    for origin in [Origin::start(hang).await, Origin::start(begin).await] {
        let proxy = proxy(&origin).head_timeout(SOON);
        assert_eq!(kind_of(&proxy).await, ProxyErrorKind::HeadTimeout);
    }
}

/// An answer that drips in is as late as one that does not come: the time is that of the whole
/// head.
#[tokio::test]
async fn a_head_that_drips() {
    let drip = |_: &_| {
        let mut steps = vec![Step::Say(b"HTTP/1.1 200 OK\r\n".to_vec())];
        for _ in 0..1000 {
            steps.extend([Step::Say(b"x: 1\r\n".to_vec()), Step::Pause(SOON / 10)]);
        }
        steps
    };
    let origin = Origin::start(drip).await;
    let proxy = proxy(&origin).head_timeout(SOON * 2);
    assert_eq!(kind_of(&proxy).await, ProxyErrorKind::HeadTimeout);
}

#[tokio::test]
async fn content_that_does_not_end_well_is_an_error_of_the_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (said, then) in [
        (head.to_owned(), Step::Close),
        (head.to_owned(), Step::Hang),
        (chunked.to_owned(), Step::Close),
        (chunked.to_owned(), Step::Hang),
        (format!("{chunked}zz\r\n"), Step::Hang),
    ] {
        let steps = [Step::Say(said.clone().into_bytes()), then];
        let origin = Origin::start(move |_| steps.to_vec()).await;
        let proxy = proxy(&origin).idle_timeout(SOON);
        let answer = call(&proxy, get("/")).await.expect("an answer's head");
        assert!(answer.content.is_err(), "{said}: {answer:?}");
    }
}

/// It may take as long as it likes, as long as something comes.
#[tokio::test]
async fn slow_content_is_no_failure() {
    const PAUSE: Duration = Duration::from_secs(3);
    let mut steps = vec![Step::Say(
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n".to_vec(),
    )];
    for piece in ["a", "b", "c", "d"] {
        steps.extend([Step::Pause(PAUSE), Step::Say(piece.into())]);
    }
    let origin = Origin::start(move |_| steps.clone()).await;
    let proxy = proxy(&origin).idle_timeout(PAUSE * 3);
    let answer = call(&proxy, get("/")).await.expect("an answer");
    assert_eq!(answer.content.as_deref(), Ok("abcd"));
}

/// A client that does not read delays no other.
#[tokio::test]
async fn time_counts_only_while_a_request_waits() {
    let steps = [
        Step::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na".to_vec()),
        Step::Pause(SECOND * 3),
        Step::Say(b"b".to_vec()),
    ];
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let proxy = proxy(&origin).idle_timeout(SECOND * 2);
    let answer = proxy.oneshot(get("/")).await.expect("an answer");
    let mut body = answer.into_body();
    let first = body.frame().await.expect("a frame").expect("data");
    assert_eq!(first.into_data().expect("data"), "a");
    tokio::time::sleep(SECOND * 4).await;
    let rest = body.collect().await.expect("it came while nobody waited");
    assert_eq!(rest.to_bytes(), "b");
}

#[tokio::test]
async fn answers_that_are_none() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for said in [
        "garbage\r\n\r\n",
        "\0\u{1}\u{2}\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        &large,
        &many,
    ] {
        let origin = Origin::saying(said).await;
        let failed = call(&proxy(&origin), get("/")).await;
        let kind = failed.expect_err(said).kind();
        assert_eq!(kind, ProxyErrorKind::Protocol, "{said}");
    }
}

/// Bytes behind an answer belong to no request: the next request takes another connection.
#[tokio::test]
async fn leftover_bytes_are_no_answer() {
    let said = format!("{}{}", ok("", "first"), ok("", "smuggled"));
    let origin = Origin::saying(said).await;
    let proxy = proxy(&origin);
    for _ in 0..3 {
        let answer = call(&proxy, get("/")).await;
        // It may be found while the next request takes the connection: then that fails, and gets no
        // other request's bytes.
        if let Ok(answer) = answer {
            assert_eq!(answer.content.as_deref(), Ok("first"));
        }
    }
}

/// A kept connection that the origin has closed is no error of the next request.
#[tokio::test]
async fn a_closed_connection_is_left_behind() {
    let origin =
        Origin::start(|_| vec![Step::Say(ok("", "hello").into_bytes()), Step::Close]).await;
    let proxy = proxy(&origin);
    for connection in 0..5 {
        let answer = call(&proxy, get("/")).await.expect("an answer");
        assert_eq!(answer.content.as_deref(), Ok("hello"));
        assert_eq!(origin.heard_one().connection, connection);
        // Until its end has been seen.
        tokio::time::sleep(SOON * 4).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_or_fails() {
    struct Never;
    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
    let origin = Origin::saying(ok("", "")).await;
    let request = Request::post("/")
        .header("host", "a")
        .body(Never)
        .expect("a request");
    // The origin is not late while the client is waited for.
    let proxy = proxy(&origin).idle_timeout(SECOND * 2).head_timeout(SECOND);
    let answer = call(&proxy, request).await.expect("an answer");
    assert_eq!(answer.status, 408);
    struct Breaks(bool);
    impl http_body::Body for Breaks {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            let said = std::mem::replace(&mut self.0, true);
            std::task::Poll::Ready(Some(match said {
                false => Ok(http_body::Frame::data(Bytes::from("x"))),
                true => Err(std::io::Error::other("it broke")),
            }))
        }
    }
    let failing = Breaks(false);
    let request = Request::post("/")
        .header("host", "a")
        .body(failing)
        .expect("a request");
    let answer = call(&proxy, request).await.expect("an answer");
    assert_eq!(answer.status, 400);
}

/// Unread bytes are not requested: neither an upload nor a download piles up.
#[tokio::test]
async fn the_reader_sets_the_pace() {
    /// More than what sockets on both sides hold.
    const MOST: usize = 32 * 1024 * 1024;
    let origin = Origin::start(|_| vec![Step::Some, Step::Hang]).await;
    let endless = Endless::default();
    let request = Request::post("/").header("host", "a").body(endless.clone());
    let sending = tokio::spawn({
        let proxy = proxy(&origin).head_timeout(Duration::from_secs(20));
        async move { call(&proxy, request.expect("a request")).await.map(drop) }
    });
    let mut taken = 0;
    loop {
        tokio::time::sleep(SOON * 4).await;
        if endless.taken() == taken && taken > 0 {
            break;
        }
        taken = endless.taken();
        assert!(taken < MOST, "it takes all");
    }
    sending.abort();
    drop(origin);

    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let steps = [Step::Say(begin), Step::Forever(vec![b'x'; 1 << 20])];
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let answer = proxy(&origin).oneshot(get("/")).await.expect("an answer");
    let mut body = answer.into_body();
    tokio::time::sleep(SOON * 4).await;
    let mut read = 0;
    // It goes on when it is read.
    while read < MOST {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let frame = frame.expect("more").expect("no end").expect("no error");
        read += frame.into_data().map_or(0, |data| data.len());
    }
}

/// An upload that an origin does not want is given up with the answer to it.
#[tokio::test]
async fn an_answer_before_the_content() {
    let early = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n";
    let origin =
        Origin::start(move |_| vec![Step::Some, Step::Say(early.into()), Step::Hang]).await;
    let request = Request::post("/")
        .header("host", "a")
        .body(Endless::default());
    let answer = call(&proxy(&origin), request.expect("a request")).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 413);
    assert_eq!(answer.content.as_deref(), Ok("no\n"));
}
