//! HTTP/2 on the upstream's side, and `https://`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower_response_cache::proxy::ReverseProxy;

use crate::call::call;

type Seen = Arc<Mutex<Vec<(Version, String, HeaderMap, Bytes)>>>;

async fn answer(
    request: Request<Incoming>,
    seen: Seen,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let content = body.collect().await.expect("content").to_bytes();
    let met = (head.version, head.uri.to_string(), head.headers, content);
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(met);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("5"));
    let body = Full::new(Bytes::from("hello")).with_trailers(async { Some(Ok(trailers)) });
    Ok(Response::builder()
        .header("trailer", "x-sum")
        .body(body)
        .expect("an answer"))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Seen) {
    let service = service_fn(move |request| answer(request, seen.clone()));
    let builder = Builder::new(TokioExecutor::new());
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn post() -> Request<Full<Bytes>> {
    let request = Request::post("/up?x")
        .header("host", "client.example")
        .header("te", "trailers");
    request
        .body(Full::new(Bytes::from("content")))
        .expect("a request")
}

#[tokio::test]
async fn by_prior_knowledge() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Seen::default();
    tokio::spawn({
        let seen = seen.clone();
        async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, seen.clone()));
            }
        }
    });
    let proxy = ReverseProxy::new(&format!("http://{address}")).expect("a URL");
    let answer = call(&proxy.http2_only(true), post())
        .await
        .expect("an answer");
    assert_eq!(answer.content.as_deref(), Ok("hello"));
    assert_eq!(answer.trailers.as_ref().expect("trailers")["x-sum"], "5");
    assert_eq!(answer.field("via"), "2.0 tower-response-cache");
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let [(version, uri, headers, content)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(*version, Version::HTTP_2);
    assert_eq!(*uri, format!("http://{address}/up?x"));
    assert_eq!(headers.get("host"), None);
    assert_eq!(headers["te"], "trailers");
    assert_eq!(content, "content");
}

#[cfg(feature = "proxy-tls")]
mod tls {
    use super::*;

    use tokio_rustls::TlsAcceptor;
    use tower_response_cache::proxy::{HostPolicy, ProxyErrorKind};

    use crate::certificate::{presenting, self_signed, trusting};

    /// The protocols an upstream offers, the host it is addressed by, and the protocol chosen.
    #[tokio::test]
    async fn by_tls() {
        let made = self_signed(&["localhost"]);
        let client = trusting(&made);
        for (offered, policy, expected) in [
            (
                &[&b"h2"[..], b"http/1.1"][..],
                HostPolicy::Preserve,
                Version::HTTP_11,
            ),
            (&[b"h2", b"http/1.1"], HostPolicy::Upstream, Version::HTTP_2),
            (&[b"http/1.1"], HostPolicy::Upstream, Version::HTTP_11),
        ] {
            let mut config = presenting(&made);
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let seen = Seen::default();
            tokio::spawn({
                let seen = seen.clone();
                async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            tokio::spawn(serve(stream, seen.clone()));
                        }
                    }
                }
            });
            let proxy = ReverseProxy::new(&format!("https://localhost:{port}")).expect("a URL");
            let trusting = proxy.clone().host(policy).tls(client.clone());
            // Its certificate is for the name in its URL.
            let trusting = trusting.tls_by_host(false);
            let answer = call(&trusting, post()).await.expect("an answer");
            assert_eq!(answer.content.as_deref(), Ok("hello"));
            let (version, uri, headers, _) =
                seen.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
            assert_eq!(version, expected, "{offered:?} {policy:?}");
            // RFC 9113 §8.3.1: HTTP/2 has `:authority`, and nginx takes no `Host` beside it.
            let own = format!("localhost:{port}");
            let host = match (policy, version) {
                (HostPolicy::Preserve, _) => Some("client.example"),
                (_, Version::HTTP_2) => None,
                _ => Some(own.as_str()),
            };
            let told = headers
                .get("host")
                .map(|host| host.to_str().expect("ASCII"));
            assert_eq!(told, host, "{offered:?} {policy:?}");
            let is_absolute = uri == format!("https://{own}/up?x");
            assert_eq!(is_absolute, version == Version::HTTP_2, "{uri}");
            // The system does not trust it.
            let failed = call(&proxy, post()).await.expect_err("nobody signed it");
            assert_eq!(failed.kind(), ProxyErrorKind::Tls);
        }
    }
}
