//! A response cache around a service for hyper, without a framework.
//!
//! ```text
//! cargo run --example hyper
//!
//! curl -i 127.0.0.1:3000/a        # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/a        # hit; ttl= (60 at most)
//! curl -i 127.0.0.1:3000/b        # fwd=uri-miss; stored (another resource)
//! ```

use std::convert::Infallible;

use http::header::CACHE_CONTROL;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let service = ServiceBuilder::new()
        .layer(CacheLayer::new(MemoryBackend::default()))
        .service(service_fn(answer));
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // Clones share the stored responses.
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}

/// The service states the lifetime of its responses, so that the cache needs no option.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    println!("{} {}: not from the cache", request.method(), request.uri());
    let response = Response::builder()
        .header(CACHE_CONTROL, "max-age=60")
        .body(format!("hello from {}\n", request.uri().path()));
    Ok(response.expect("the field is valid"))
}
