//! Rules for routes: an application whose handlers say nothing, and where each path is cached in its
//! own way.
//!
//! ```text
//! cargo run --example rules
//!
//! curl -i 127.0.0.1:3000/assets/app.js             # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/assets/app.js             # hit; ttl=8 (86400 at most)
//! curl -i '127.0.0.1:3000/search?q=a&utm_source=x' # fwd=uri-miss; stored
//! curl -i '127.0.0.1:3000/search?utm_id=y&q=a'     # the answer for /search?q=a (the same search)
//! curl -i 127.0.0.1:3000/account/orders            # fwd=bypass; detail=skipped
//! curl -i 127.0.0.1:3000/about                     # fwd=uri-miss; stored (for 60 s)
//! ```

use std::time::Duration;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::Uri;
use axum::routing::get;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::QueryRules;
use tower_response_cache::{CacheLayer, Rules};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let assets = Rules::new()
        .ttl(Duration::from_secs(86_400))
        .group("assets");
    let search = Rules::new()
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(30))
        .query(QueryRules::only(["q", "page"]).sorted());
    let cache = CacheLayer::new(MemoryBackend::default())
        .ttl(Duration::from_secs(60))
        .route("/assets/{*file}", assets)
        .route("/search", search)
        .route("/account/{*page}", Rules::new().bypass())
        // axum keeps a copy of the target, which the query rules have to change, too.
        .on_rewritten_target(|extensions, rewrite| {
            if let Some(OriginalUri(target)) = extensions.get_mut() {
                rewrite(target);
            }
        });
    let app = Router::new().fallback(get(answer)).layer(cache);
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

async fn answer(target: Uri) -> String {
    format!("the answer for {target}\n")
}
