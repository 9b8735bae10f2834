//! Calls a `ReverseProxy` without any server before it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower_response_cache::BoxError;
use tower_response_cache::proxy::{ProxyError, ReverseProxy};

pub fn to(method: Method, uri: &str, lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).expect("a request")
}

pub fn get(path: &str) -> Request<Empty<Bytes>> {
    to(Method::GET, path, &[("host", "test.example")])
}

/// An answer, collected.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub content: Result<String, String>,
}

impl Answer {
    pub fn field(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().expect("ASCII")).collect();
        lines.join(" | ")
    }
}

pub async fn call<B>(proxy: &ReverseProxy, request: Request<B>) -> Result<Answer, ProxyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = proxy.clone().oneshot(request).await?.into_parts();
    let (trailers, content) = match body.collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().cloned();
            let content = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
            (trailers, Ok(content))
        }
        Err(error) => (None, Err(error.to_string())),
    };
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        trailers,
        content,
    })
}

/// A connection of a client of HTTP/2 to the program.
pub struct Http2(http2::SendRequest<Empty<Bytes>>);

impl Http2 {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = TokioIo::new(stream.expect("it listens"));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        Self(sender)
    }

    /// Gets a path, with these lines of the head.
    pub async fn get(&mut self, path: &str, lines: &[(&str, &str)]) -> Answer {
        let uri = format!("http://test.example{path}");
        let response = self.0.send_request(to(Method::GET, &uri, lines)).await;
        let (head, body) = response.expect("an answer").into_parts();
        assert_eq!(head.version, Version::HTTP_2);
        let whole = body.collect().await.expect("a whole body");
        Answer {
            status: head.status,
            headers: head.headers,
            trailers: whole.trailers().cloned(),
            content: Ok(String::from_utf8_lossy(&whole.to_bytes()).into_owned()),
        }
    }
}

/// Content of an unknown length.
pub struct Frames(pub VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// Content without an end, and how much of it was taken.
#[derive(Clone, Default)]
pub struct Endless(pub Arc<AtomicUsize>);

impl Endless {
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 16 * 1024];
        self.0.fetch_add(PIECE.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }
}
