//! HTTP/2 clients that open no window, behind a hyper server.

use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::duplex;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::backend::MemoryBackend;

use super::KIB;
use crate::support::origin::{Origin, cacheable};
use crate::support::time::{in_virtual_time, settled};
use crate::support::{get, send};

/// The server has taken the stored bytes, and holds them as long as the client opens no window:
/// they are counted when they are removed, and released with the connection.
#[tokio::test(start_paused = true)]
async fn bytes_that_a_server_holds_for_clients_without_a_window_are_counted() {
    const SIZE: usize = 100 * KIB;
    const STREAMS: usize = 40;
    let origin = Origin::at_once(|_| cacheable(vec![7; SIZE]));
    let layer = in_virtual_time(MemoryBackend::default());
    let (service, handle) = (layer.layer(origin), layer.handle());
    for number in 0..STREAMS {
        send(&service, get(&format!("/{number}"))).await;
    }
    let (server_end, client_end) = duplex(64 * KIB);
    let served = service_fn(move |request: Request<hyper::body::Incoming>| {
        let service = service.clone();
        let request = request.map(|_| ());
        async move { Ok::<_, Infallible>(service.oneshot(request).await.expect("an answer")) }
    });
    let served = hyper_util::service::TowerToHyperService::new(served);
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(server_end), served);
    let server = tokio::spawn(server);
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(100)
        .handshake(TokioIo::new(client_end))
        .await
        .expect("a handshake");
    let connection = tokio::spawn(connection);
    let mut stalled = Vec::new();
    for number in 0..STREAMS {
        let uri = format!("http://test.example/{number}");
        let request = Request::get(uri).body(Empty::<Bytes>::new());
        let response = client.send_request(request.expect("a request")).await;
        stalled.push(response.expect("a head"));
    }
    settled().await;
    handle.clear().await.expect("cleared");
    let in_flight = handle.stats().in_flight;
    assert_eq!(
        in_flight.lingering_bytes as usize,
        STREAMS * SIZE,
        "{in_flight:?}"
    );
    let one = stalled.pop().expect("a response");
    let whole = one.into_body().collect().await.expect("a whole body");
    assert_eq!(whole.to_bytes().len(), SIZE);
    settled().await;
    let left = handle.stats().in_flight.lingering_bytes as usize;
    assert_eq!(left, (STREAMS - 1) * SIZE);
    drop((stalled, client));
    connection.abort();
    let _ = server.await;
    settled().await;
    assert_eq!(handle.stats().in_flight, Default::default());
}
