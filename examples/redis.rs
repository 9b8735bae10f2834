//! A response cache in Redis, shared by several instances. It works with Redis down, too.
//!
//! ```text
//! redis-server --port 6379 &
//! cargo run --features redis --example redis -- 127.0.0.1:3000 &
//! cargo run --features redis --example redis -- 127.0.0.1:3001 &
//!
//! curl -i 127.0.0.1:3000/           # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3001/           # hit; ttl= (by the other instance)
//! curl -X PUT 127.0.0.1:3001/       # changed (invalidates for both)
//! curl -i 127.0.0.1:3000/           # fwd=uri-miss; stored
//! ```

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Guarded;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::key::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let redis = arguments.next();
    let redis = RedisOptions::new(redis.as_deref().unwrap_or("redis://127.0.0.1:6379/"))?
        .namespace("example")
        .build();
    if let Err(error) = redis.connect().await {
        eprintln!("redis cannot be used; serving uncached until it can: {error}");
    }
    // `Guarded` limits what a failing Redis costs, and delivers its invalidations later.
    let cache = CacheLayer::new(Guarded::new(redis))
        .ttl(Duration::from_secs(60))
        // Both instances are one site, whatever host and port the client asks for.
        .authority(Authority::fixed("example"));
    let handle = cache.handle();
    let name = address.clone();
    let hello = async move || format!("hello from {name}\n");
    let app = Router::new()
        .route("/", get(hello).put(async || "changed\n"))
        .layer(cache);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    // Delivers the invalidations that Redis has not acknowledged yet.
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
