//! Handlers that say how their responses are cached, tags, and a background job that invalidates.
//!
//! ```text
//! cargo run --example policy
//!
//! curl -i 127.0.0.1:3000/products/7     # fwd=uri-miss; stored (and no Cache-Control)
//! curl -i 127.0.0.1:3000/products/7     # hit; ttl= (60 at most)
//! curl -i 127.0.0.1:3000/me             # fwd=uri-miss; detail=no-store (each time)
//! curl -X POST 127.0.0.1:3000/import    # started (a job, which makes all products stale)
//! curl -i 127.0.0.1:3000/products/7     # product 7, version 1 (it is refreshed meanwhile)
//! curl -i 127.0.0.1:3000/products/7     # product 7, version 2 (a moment later)
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, CachePolicy, Invalidator};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let cache = CacheLayer::new(MemoryBackend::default()).ttl(MINUTE * 5);
    let app = Router::new()
        .route("/", get("the layer's lifetime: five minutes\n"))
        .route("/products/{id}", get(product))
        .route("/me", get(me))
        .route("/import", post(import))
        .with_state(cache.handle().invalidator())
        .layer(cache);
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// Fresh for a minute; then served for ten more while a new one is fetched. In two groups.
async fn product(Path(id): Path<u64>) -> impl IntoResponse {
    static VERSION: AtomicU64 = AtomicU64::new(1);
    let policy = CachePolicy::new()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE * 10)
        .groups(["products".to_owned(), format!("product-{id}")]);
    let version = VERSION.fetch_add(1, Ordering::Relaxed);
    (
        Extension(policy),
        format!("product {id}, version {version}\n"),
    )
}

/// For one client alone.
async fn me() -> impl IntoResponse {
    (Extension(CachePolicy::new().no_store()), "your own page\n")
}

/// Starts a job that tells the cache when it has changed the products.
async fn import(State(cache): State<Invalidator>) -> &'static str {
    tokio::spawn(async move {
        // ... the import itself ...
        if let Err(error) = cache.expire_group("", "products").await {
            eprintln!("products may be outdated for a minute: {error}");
        }
    });
    "started\n"
}
