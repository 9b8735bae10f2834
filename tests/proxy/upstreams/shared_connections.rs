//! Connections to upstreams that many requests share: none of them takes what the others need.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_response_cache::proxy::ReverseProxy;

use crate::call::{Endless, call, get, to};
use crate::example::PATIENCE;
use crate::origin::{Heard, Origin, Step, ok};

/// Content of which this part comes, and then nothing.
struct Stalled(Option<Bytes>);

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
            None => Poll::Pending,
        }
    }
}

/// An HTTP/2 server that lets a connection have 100 streams. Below `/big` it never stops, and content
/// is read before it is answered.
async fn http2_origin() -> (ReverseProxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(100);
            let connection = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
            connections.spawn(async move {
                let _ = connection.await;
            });
        }
    });
    let proxy = ReverseProxy::new(&url).expect("a URL").http2_only(true);
    (proxy, serving)
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let is_big = request.uri().path().starts_with("/big");
    let _ = request.into_body().collect().await;
    Ok(Response::new(match is_big {
        true => Endless::default().boxed(),
        false => Full::new(Bytes::from_static(b"hello")).boxed(),
    }))
}

async fn assert_others_are_answered(proxy: &ReverseProxy) {
    for request in [get("/"), to(Method::POST, "/", &[("host", "a")])] {
        let answer = timeout(PATIENCE, call(proxy, request)).await;
        let answer = answer.expect("it waits for others").expect("a head");
        assert_eq!(answer.content.expect("whole"), "hello");
    }
}

/// Nobody reads them: four fill a window, 150 are more than a connection has streams.
#[tokio::test]
async fn responses_that_are_not_read_hold_up_no_other_request() {
    for count in [4, 150] {
        let (proxy, _serving) = http2_origin().await;
        let mut unread = Vec::new();
        for number in 0..count {
            let request = get(&format!("/big/{number}"));
            let head = timeout(PATIENCE, proxy.clone().oneshot(request)).await;
            unread.push(head.expect("it waits for others").expect("a head"));
        }
        assert_others_are_answered(&proxy).await;
    }
}

#[tokio::test]
async fn uploads_that_stall_hold_up_no_other_request() {
    let (proxy, _serving) = http2_origin().await;
    let mut stalled = JoinSet::new();
    for number in 0..150 {
        let body = Stalled(Some(Bytes::from_static(&[b'x'; 16 * 1024])));
        let request = Request::post(format!("/{number}")).header("host", "a");
        let request = request.body(body).expect("a request");
        let proxy = proxy.clone();
        stalled.spawn(async move { proxy.oneshot(request).await.map(drop) });
    }
    // Until they are with the upstream, as far as they get.
    while proxy.load_stats().given_back < 100 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_others_are_answered(&proxy).await;
}

/// A server that does not read content may take it for the next request of its connection, which
/// would be that of another client.
#[tokio::test]
async fn content_that_is_not_read_is_nobodys_request() {
    for (method, status, is_kept) in [
        (Method::GET, StatusCode::OK, false),
        (Method::HEAD, StatusCode::OK, false),
        (Method::POST, StatusCode::NOT_FOUND, false),
        (Method::PUT, StatusCode::INTERNAL_SERVER_ERROR, false),
        (Method::POST, StatusCode::OK, true),
        (Method::PUT, StatusCode::SEE_OTHER, true),
    ] {
        let origin = Origin::start(move |heard: &Heard| {
            let said = ok("", "hello").replacen("200 OK", &format!("{} -", status.as_u16()), 1);
            let is_head = heard.head.starts_with("HEAD ");
            let end = if is_head { said.len() - 5 } else { said.len() };
            vec![Step::Content, Step::Say(said.as_bytes()[..end].to_vec())]
        })
        .await;
        let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
        let request = Request::builder()
            .method(&method)
            .uri("/")
            .header("host", "a");
        let content = Full::new(Bytes::from_static(b"GET /of-a-stranger HTTP/1.1\r\n\r\n"));
        let answer = call(&proxy, request.body(content).expect("a request")).await;
        assert_eq!(answer.expect("a head").status, status);
        call(&proxy, get("/")).await.expect("a head");
        let connections: Vec<_> = origin
            .heard()
            .iter()
            .map(|heard| heard.connection)
            .collect();
        assert_eq!(connections == [0, 0], is_kept, "{method} {status}");
    }
}
