//! A client for HTTP/1.1, one connection for each request.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::example::Example;

/// A response, collected.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// Sends a request to `http://HOST:PORT`.
pub async fn send(
    base: &str,
    method: &str,
    path: &str,
    lines: &[(&str, &str)],
    content: impl Into<Bytes>,
) -> Response {
    let address = base.strip_prefix("http://").expect("a base");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if lines.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", address);
    }
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(content.into())).expect("a request");
    let response = sender.send_request(request).await.expect("a response");
    let (head, body) = response.into_parts();
    let content = body.collect().await.expect("its content").to_bytes();
    Response {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8(content.into()).expect("UTF-8"),
    }
}

pub async fn get(base: &str, path: &str) -> Response {
    send(base, "GET", path, &[], "").await
}

/// Makes a product, and returns its path.
pub async fn make_product(server: &Example, name: &str) -> String {
    let content = format!(r#"{{"name":"{name}","price":39.5}}"#);
    let json = [("content-type", "application/json")];
    let made = send(server.base(), "POST", "/products", &json, content).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.header("location").to_owned()
}
