//! GraphQL: reads are stored by their content, as POST and as QUERY (RFC 10008); mutations
//! invalidate them.
//!
//! ```text
//! cargo run --example graphql
//!
//! curl -i 127.0.0.1:3000/graphql/read -d '{ price }'    # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/graphql/read -d '{ price }'    # hit; ttl= (60 at most)
//! curl -i 127.0.0.1:3000/graphql/read -d '{ name }'     # fwd=uri-miss; stored (another question)
//! curl -iX QUERY 127.0.0.1:3000/graphql/read -d '{ name }' # fwd=uri-miss; stored (and QUERY is not POST)
//! curl 127.0.0.1:3000/graphql -d 'mutation { raise }'   # raised
//! curl 127.0.0.1:3000/graphql/read -d '{ price }'       # price: 11
//! curl -i 127.0.0.1:3000/graphql/read -d 'mutation { raise }' # 403 Forbidden
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{any, post};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

static PRICE: AtomicU64 = AtomicU64::new(10);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let cache = CacheLayer::new(MemoryBackend::default())
        .ttl(Duration::from_secs(60))
        .cache_queries(64 * 1024)
        // The path decides, and `read` refuses mutations there. To look for the word "mutation" in
        // the content would be too late, and too easy to deceive.
        .read_only_posts(|request| request.uri.path() == "/graphql/read")
        // A mutation is sent to one path, and changes the answers of the other.
        .also_invalidate(|write| (write.uri().path() == "/graphql").then_some("/graphql/read"))
        // The content was read for the key: axum gets it in a new body.
        .request_body(Body::new);
    let app = Router::new()
        // axum has no name for QUERY.
        .route("/graphql/read", any(read))
        .route("/graphql", post(execute))
        .layer(cache);
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// Answers queries, and nothing that changes anything.
async fn read(document: String) -> (StatusCode, String) {
    match document.trim_start().starts_with('{') {
        true => execute(document).await,
        false => (StatusCode::FORBIDDEN, "mutations: /graphql\n".to_owned()),
    }
}

/// Stands for a GraphQL library.
async fn execute(document: String) -> (StatusCode, String) {
    let answer = match document.trim() {
        "{ price }" => format!("price: {}\n", PRICE.load(Ordering::Relaxed)),
        "{ name }" => "name: tea\n".to_owned(),
        "mutation { raise }" => {
            PRICE.fetch_add(1, Ordering::Relaxed);
            "raised\n".to_owned()
        }
        _ => return (StatusCode::BAD_REQUEST, "no such field\n".to_owned()),
    };
    (StatusCode::OK, answer)
}
