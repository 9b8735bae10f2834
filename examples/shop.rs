//! A shop: lifetimes by route, a private page, groups (tags), and a job that invalidates. In one
//! process: several need `Guarded` over `RedisBackend`, or each invalidates its own memory alone.
//!
//! ```text
//! cargo run --example shop
//!
//! curl -i 127.0.0.1:3000/products/7             # fwd=uri-miss; stored (fresh for a minute)
//! curl -i 127.0.0.1:3000/products/7             # hit; ttl=
//! curl -i 127.0.0.1:3000/prices/7               # fwd=uri-miss; stored (fresh for ten seconds)
//! curl -i 127.0.0.1:3000/assets/shop.css        # fwd=uri-miss; stored (fresh for a day)
//! curl -i 127.0.0.1:3000/assets/shop.css        # hit; ttl=86 (86400 at most)
//! curl -i 127.0.0.1:3000/me -H 'x-user: ada'    # fwd=uri-miss; detail=private (each time)
//! curl -i 127.0.0.1:3000/me -H 'x-user: bob'    # basket of bob (never that of another)
//! curl -i 127.0.0.1:3000/products               # 7: chair
//! curl -X PUT 127.0.0.1:3000/products/7 -d lamp # renamed
//! curl -i 127.0.0.1:3000/products/7             # product 7: lamp (a write invalidates its path)
//! curl -i 127.0.0.1:3000/products               # 7: lamp (the response to PUT named its group)
//! curl -i 127.0.0.1:3000/prices/7               # price of 7: 100
//! curl -X POST 127.0.0.1:3000/import            # started (the job raises all prices)
//! curl -i 127.0.0.1:3000/prices/7               # price of 7: 101 (a moment later)
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Result};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::sync::Notify;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, CachePolicy, Invalidator, Rules};

/// What a real shop has in its database.
struct Shop {
    products: Mutex<BTreeMap<u64, String>>,
    price: AtomicU64,
    import: Notify,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let seconds = Duration::from_secs;
    let prices = Rules::new().ttl(seconds(10)).group("prices");
    let cache = CacheLayer::new(MemoryBackend::default())
        // Of a 200 to requests without cookies and credentials, where nothing else is said.
        .ttl(seconds(60))
        .route("/prices/{id}", prices)
        .route("/assets/{*file}", Rules::new().ttl(seconds(86_400)));
    let shop = Arc::new(Shop {
        products: Mutex::new(BTreeMap::from([(7, "chair".to_owned())])),
        price: AtomicU64::new(100),
        import: Notify::new(),
    });
    tokio::spawn(import_prices(shop.clone(), cache.handle().invalidator()));
    let app = Router::new()
        .route("/products", get(list))
        .route("/products/{id}", get(product).put(rename))
        .route("/prices/{id}", get(price))
        .route("/assets/{*file}", get(async || "body { color: black }\n"))
        .route("/me", get(me))
        .route("/import", post(import))
        .with_state(shop)
        .layer(cache);
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// In the group `catalog`, which each handler that changes a product names, as `rename` does.
async fn list(State(shop): State<Arc<Shop>>) -> impl IntoResponse {
    let products = shop.products.lock().unwrap();
    let lines = products.iter().map(|(id, name)| format!("{id}: {name}\n"));
    let tagged = CachePolicy::new().group("catalog");
    (Extension(tagged), lines.collect::<String>())
}

async fn product(Path(id): Path<u64>, State(shop): State<Arc<Shop>>) -> Result<String> {
    let products = shop.products.lock().unwrap();
    let name = products.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("product {id}: {name}\n"))
}

/// Before the client has this, the cache removes `/products/{id}` and all that is in the group.
async fn rename(id: Path<u64>, shop: State<Arc<Shop>>, name: String) -> impl IntoResponse {
    shop.products.lock().unwrap().insert(*id, name);
    ([("cache-group-invalidation", "\"catalog\"")], "renamed\n")
}

async fn price(Path(id): Path<u64>, State(shop): State<Arc<Shop>>) -> String {
    format!("price of {id}: {}\n", shop.price.load(Ordering::Relaxed))
}

/// For one client alone: by `private` alone it is not stored (`private.rs` stores it by client).
async fn me(headers: HeaderMap) -> impl IntoResponse {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok());
    let text = format!("basket of {}\n", user.unwrap_or("nobody"));
    ([("cache-control", "private")], text)
}

async fn import(State(shop): State<Arc<Shop>>) -> &'static str {
    shop.import.notify_one();
    "started\n"
}

/// A background job: it tells the cache what that cannot see, once it is done (`""`: of all hosts).
async fn import_prices(shop: Arc<Shop>, cache: Invalidator) {
    loop {
        shop.import.notified().await;
        shop.price.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = cache.invalidate_group("", "prices").await {
            eprintln!("prices may be outdated until they expire: {error}");
        }
    }
}
