//! A caching reverse proxy: `CacheLayer` over `ReverseProxy`, for what nginx `proxy_cache` or Varnish would be put before.
//!
//! ```text
//! cargo run --release --example proxy --features proxy -- --upstream http://127.0.0.1:8000
//!
//! curl -i 127.0.0.1:8080/            # Cache-Status: tower-response-cache; fwd=uri-miss; ..
//! curl -i 127.0.0.1:8080/            # Cache-Status: tower-response-cache; hit; ..
//! ```
//!
//! With `--features proxy,redis`, `--backend redis` shares what is cached with others; with `proxy-tls` upstreams may be
//! `https://`. `--help` tells the rest.

mod access;
mod counted;
#[path = "../common/log.rs"]
mod log;
mod options;
#[path = "../common/quantity.rs"]
mod quantity;
mod server;
#[path = "../common/stop.rs"]
mod stop;
#[path = "../common/store.rs"]
mod store;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::Authority;
use tower_response_cache::proxy::ErrorResponderLayer;

use options::Options;
use server::{LAST_ANSWERS, Server};
use stop::Stop;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let access = if options.access_log { "info" } else { "off" };
    log::to_stderr(&format!("info,access={access}"));
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let origin = options.origin()?;
    let store = store::open(&options.store, "proxy").await?;
    let listen = &options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    // Before anybody can know that this runs: from then on a signal must not just kill it.
    let stop = Stop::new()?;
    let cache = cache(options, store);
    let ends = cache.handle();
    let service = ServiceBuilder::new()
        .layer(ErrorResponderLayer::new())
        .layer(cache)
        .concurrency_limit(options.concurrency)
        .service(origin);
    tracing::info!(upstream = ?options.upstream, backend = ?options.store.backend, "ready");
    writeln!(
        io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    let server = Server {
        service,
        client_timeout: options.client_timeout,
        idle_timeout: options.idle_timeout,
        max_connections: options.max_connections,
    };
    server.run(listener, stop).await;
    ends.shutdown(LAST_ANSWERS).await;
    tracing::info!("stopped");
    Ok(())
}

fn cache<B: Backend>(options: &Options, backend: B) -> CacheLayer<B> {
    let mut cache = CacheLayer::new(backend)
        .stale_while_revalidate(options.stale_while_revalidate)
        .stale_if_error(options.stale_if_error)
        .stale_if_unreachable(options.stale_if_unreachable)
        // Targets of HTTP/2 say a scheme that nobody is told: it makes no difference.
        .key_by(|_, key| Some(key.without_scheme()))
        .max_body(options.store.max_body);
    if let Some(ttl) = options.ttl() {
        cache = cache.ttl(ttl);
    }
    if options.is_one_site() {
        cache = cache.authority(Authority::fixed("upstream"));
    }
    cache
}
