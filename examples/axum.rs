//! A response cache on an axum router: handlers stay as they are.
//!
//! ```text
//! cargo run --example axum
//!
//! curl -i 127.0.0.1:3000/greeting            # fwd=uri-miss; stored (after 1 s)
//! curl -i 127.0.0.1:3000/greeting            # hit; ttl= (at once)
//! curl -X PUT 127.0.0.1:3000/greeting -d hi  # changed (a write invalidates the stored response)
//! curl -i 127.0.0.1:3000/greeting            # hi (after 1 s, and never the old greeting)
//! ```

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

type Greeting = Arc<Mutex<String>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let cache = CacheLayer::new(MemoryBackend::default())
        .ttl(Duration::from_secs(60))
        // Lets the cache repeat a request if a handler's response to its conditions is of no use.
        .empty_request_body(Body::empty);
    let app = Router::new()
        .route("/greeting", get(read).put(write))
        .layer(cache)
        .with_state(Greeting::default());
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// A slow handler, which the cache spares most requests.
async fn read(State(greeting): State<Greeting>) -> String {
    tokio::time::sleep(Duration::from_secs(1)).await;
    format!("{}\n", greeting.lock().unwrap())
}

async fn write(State(greeting): State<Greeting>, body: String) -> &'static str {
    *greeting.lock().unwrap() = body;
    "changed\n"
}
