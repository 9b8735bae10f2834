//! Pages of single clients beside pages for all: each client has a partition of its own.
//!
//! ```text
//! cargo run --example private
//!
//! curl -i 127.0.0.1:3000/me -b session=17        # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/me -b session=17        # hit; ttl= (60 at most)
//! curl 127.0.0.1:3000/me -b session=17           # the page of alice, version 1
//! curl 127.0.0.1:3000/me -b session=42           # the page of bob, version 2
//! curl -i 127.0.0.1:3000/me                      # 401 Unauthorized
//! curl -i 127.0.0.1:3000/news                    # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/news -b session=42      # hit; ttl= (for all)
//! curl -X PUT 127.0.0.1:3000/me -b session=17    # renamed
//! curl -i 127.0.0.1:3000/me -b session=17        # fwd=uri-miss; stored (a write clears /me of all clients)
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, CachePolicy};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let cache = CacheLayer::new(MemoryBackend::default())
        // The id has to be verified: whoever has it gets what is stored for it.
        .private_by(|request| user(&request.headers))
        // At most so many pages of one client; the default.
        .max_private_entries(64);
    let app = Router::new()
        .route("/me", get(me).put("renamed\n"))
        .route("/news", get(news))
        .layer(cache);
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// The user of a session; `None` if there is none. An application would look it up in its sessions.
fn user(headers: &HeaderMap) -> Option<&'static str> {
    match headers.get(header::COOKIE)?.to_str().ok()? {
        "session=17" => Some("alice"),
        "session=42" => Some("bob"),
        _ => None,
    }
}

/// `private`: for its client alone, in this cache and in that of the browser.
async fn me(headers: HeaderMap) -> Result<impl IntoResponse, StatusCode> {
    static VERSION: AtomicU64 = AtomicU64::new(1);
    let user = user(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let version = VERSION.fetch_add(1, Ordering::Relaxed);
    let control = [(header::CACHE_CONTROL, "private, max-age=60")];
    Ok((control, format!("the page of {user}, version {version}\n")))
}

/// For all, with a session or without.
async fn news() -> impl IntoResponse {
    (Extension(CachePolicy::new().ttl(MINUTE)), "the news\n")
}
