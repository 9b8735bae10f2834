//! An HTTP client with a cache: the layer over hyper-util's client.
//!
//! ```text
//! cargo run --example hyper
//!
//! cargo run --example client -- http://127.0.0.1:3000/a   # 200 OK: tower-response-cache; hit; ttl=
//! ```
//!
//! What differs from a cache before one's own service:
//!
//! * It is a *shared* cache all the same: what is `private`, or was fetched with `Authorization`
//!   or `Cookie` without permission, is not stored. Its clients are the callers in the program.
//! * It is in front of many origins. The authority is that of the URI, and belongs to the key by
//!   itself; `Sites::ByAuthority` keeps a write to one host from invalidating another's responses.
//! * The scheme belongs to the key, too. Without it, targets would reach the client in origin form,
//!   which it cannot connect by.
//! * Writes of others are not seen: a response is fresh for as long as its origin says. There is no
//!   `.ttl(..)` for responses that state no lifetime.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::Sites;
use tower_response_cache::{BoxError, CacheLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cache = CacheLayer::new(MemoryBackend::default())
        .sites(Sites::ByAuthority)
        .key_by(|request, key| Some(key.with_scheme(request.uri.scheme_str()?)));
    // Clones of the service share the stored responses.
    let client = ServiceBuilder::new()
        .layer(cache)
        .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
    for url in std::env::args().skip(1) {
        for _ in 0..2 {
            let request = Request::get(&url).body(Empty::new())?;
            let response = client.clone().oneshot(request).await?;
            let status = response.headers().get("cache-status");
            let status = status.map_or("", |status| HeaderValue::to_str(status).unwrap_or(""));
            println!("{}: {status}", response.status());
            let content = response.into_body().collect().await?.to_bytes();
            print!("{}", String::from_utf8_lossy(&content));
        }
    }
    Ok(())
}
