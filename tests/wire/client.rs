//! One connection to a cache.

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{PATIENCE, Protocol};

const HOST: &str = "test.example";

pub enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Client {
    pub async fn to(port: u16, protocol: Protocol) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let io = TokioIo::new(stream.expect("a connection"));
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let shaken = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = shaken.expect("HTTP/2");
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    /// The next request on this connection.
    pub async fn ask(&mut self, request: Request<Bytes>) -> Answer {
        let exchange = async {
            let answer = match self {
                Self::Http1(sender) => {
                    sender.ready().await.expect("the connection is open");
                    sender.send_request(with_host(request)).await
                }
                Self::Http2(sender) => {
                    sender.ready().await.expect("the connection is open");
                    sender.send_request(with_authority(request)).await
                }
            };
            let (head, body) = answer.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole body");
            Answer {
                status: head.status,
                headers: head.headers,
                trailers: body.trailers().cloned(),
                body: body.to_bytes(),
            }
        };
        timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
    }
}

fn with_host(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let mut request = request.map(Full::new);
    let host = HeaderValue::from_static(HOST);
    request.headers_mut().entry(header::HOST).or_insert(host);
    request
}

fn with_authority(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let mut request = request.map(Full::new);
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static(HOST));
    *request.uri_mut() = Uri::from_parts(parts).expect("a target");
    request
}
