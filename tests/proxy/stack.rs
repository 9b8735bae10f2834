//! The proxy's layers, served as any tower service is.

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::ServiceBuilder;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};

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
