//! The proxy's layers, served as any tower service is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};
use tower_response_cache::stats::CallEnd;
use tower_response_cache::{BoxError, CacheLayer};

use crate::example::PATIENCE;
use crate::origin::{Origin, Step, ok};

/// In a spawned task, as servers run it.
#[tokio::test]
async fn the_reverse_proxy_and_its_layers_are_served_by_hyper() {
    let (client, server) = tokio::io::duplex(1024);
    drop(client);
    let served = tokio::spawn(async move {
        let proxy = ReverseProxy::new("http://127.0.0.1:1").expect("a URL");
        let service = ServiceBuilder::new()
            .layer(ErrorResponderLayer::new())
            .layer(proxy.request_layer())
            .layer(CacheLayer::new(MemoryBackend::default()))
            .service(proxy);
        let service = TowerToHyperService::new(service);
        let connection = http1::Builder::new();
        connection
            .serve_connection(TokioIo::new(server), service)
            .await
    });
    served.await.expect("no panic").expect("no request");
}

/// Content that breaks off after this part of it, if that is not empty.
struct Broken(&'static str);

impl Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(match std::mem::take(&mut self.0) {
            "" => Err("reset".into()),
            part => Ok(Frame::data(part.into())),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(10)
    }
}

fn broken(method: Method, path: &str, begin: &'static str) -> Request<Broken> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "test.example");
    let request = request.header("content-length", "10");
    request.body(Broken(begin)).expect("a request")
}

/// Such a call says nothing of the upstream, whether the cache is told of the proxy's queue or not:
/// it is neither an answer nor an impatient client. One that the upstream answers is an answer, and
/// one of whose content nothing came has not reached it.
#[tokio::test]
async fn a_broken_upload_counts_as_one_with_a_monitor_and_without() {
    let origin = Origin::start(|heard| match heard.request_line().contains("/answers") {
        true => vec![Step::Say(ok("", "x").into_bytes())],
        false => vec![Step::Hang],
    })
    .await;
    let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
    let proxy = proxy.max_buffered_upload(0);
    let impatient = proxy.clone();
    let impatient = impatient.broken_upload_timeout(Duration::from_millis(100));
    let patient = proxy.broken_upload_timeout(PATIENCE);
    for has_monitor in [false, true] {
        let layer = CacheLayer::new(MemoryBackend::default());
        let layer = match has_monitor {
            true => layer.origin_monitor(impatient.clone()),
            false => layer,
        };
        for (method, path, begin, expected) in [
            (Method::PUT, "/", "abc", Some(CallEnd::BrokenUpload)),
            (Method::POST, "/", "abc", Some(CallEnd::BrokenUpload)),
            (Method::OPTIONS, "/", "abc", Some(CallEnd::BrokenUpload)),
            (Method::PUT, "/answers", "abc", Some(CallEnd::Success)),
            (Method::PUT, "/", "", None),
        ] {
            let named = format!("{method} {path} {begin:?}, {has_monitor}");
            let before = layer.handle().stats().origin_calls;
            let proxy = if path == "/answers" {
                &patient
            } else {
                &impatient
            };
            let service = layer.layer(proxy.clone());
            let answer = service.oneshot(broken(method, path, begin)).await;
            assert!(answer.is_ok(), "{named}: {answer:?}");
            let after = layer.handle().stats().origin_calls;
            let ended = after.iter().find(|(end, count)| *count > before.get(*end));
            assert_eq!(ended.map(|(end, _)| end), expected, "{named}");
            assert_eq!(after.total() - before.total(), u64::from(ended.is_some()));
        }
    }
}
