//! A caching reverse proxy like nginx `proxy_cache` or Varnish: `CacheLayer` around
//! `ReverseProxy`.
//!
//! ```text
//! cargo run --release --example proxy --features proxy -- --upstream http://127.0.0.1:8000
//!
//! curl -i 127.0.0.1:8080/            # Cache-Status: tower-response-cache; fwd=uri-miss; ..
//! curl -i 127.0.0.1:8080/            # Cache-Status: tower-response-cache; hit; ..
//! ```
//!
//! With `--features proxy,redis`, `--backend redis` shares the cache with other instances. With
//! `--features proxy-tls`, upstreams can be `https://`. `--help` lists all options.
//!
//! Start reading at `run`, which puts the proxy, the cache and the server together.

mod access_log;
mod client_limits;
mod client_stream;
mod connection;
mod file_limit;
#[path = "../common/log.rs"]
mod log;
mod options;
#[path = "../common/quantity.rs"]
mod quantity;
mod server;
#[path = "../common/shutdown_signal.rs"]
mod shutdown_signal;
#[path = "../common/store.rs"]
mod store;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::{Authority, Sites};
use tower_response_cache::proxy::{ErrorResponderLayer, ForwardedScheme};
use tower_response_cache::{CacheLayer, DEFAULT_CREDENTIAL_FIELDS};

use connection::ConnectionTimeouts;
use options::Options;
use server::{SHUTDOWN_TIMEOUT, Server};
use shutdown_signal::ShutdownSignal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let access = if options.access_log { "info" } else { "off" };
    let _log = log::log_to_stderr(&format!("info,access={access}"));
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let proxy = options.reverse_proxy()?;
    let store = store::open(&options.store, &options.owner()).await?;
    let listen = &options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    // Before the address is printed: a caller may send a signal as soon as it has read it.
    let signal = ShutdownSignal::new()?;
    let cache = cache_layer(options, store)?;
    let handle = cache.handle();
    let service = ServiceBuilder::new()
        .layer(ErrorResponderLayer::new())
        // Keys are made from the requests that upstreams get.
        .layer(proxy.request_layer())
        .layer(cache)
        .service(proxy);
    tracing::info!(upstream = ?options.upstream, backend = ?options.store.backend, "ready");
    writeln!(
        io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    let server = Server {
        service,
        timeouts: ConnectionTimeouts {
            client: options.client_timeout,
            idle: options.idle_timeout,
        },
        limits: options.client_limits(),
        max_streams: options.max_streams,
    };
    server.run(listener, signal).await;
    handle.shutdown(SHUTDOWN_TIMEOUT).await;
    tracing::info!("stopped");
    Ok(())
}

fn cache_layer<B: Backend>(options: &Options, backend: B) -> Result<CacheLayer<B>, String> {
    let credentials = options.credential_fields.iter().map(String::as_str);
    let ignored = options.ignore_cookies.iter().map(String::as_str);
    let mut cache = CacheLayer::new(backend)
        .stale_while_revalidate(options.stale_while_revalidate)
        .stale_despite_s_maxage(options.stale_despite_s_maxage)
        .stale_if_error(options.stale_if_error)
        .stale_if_unreachable(options.stale_if_unreachable)
        .max_body(options.store.max_body)
        .try_credential_fields(DEFAULT_CREDENTIAL_FIELDS.into_iter().chain(credentials))
        .map_err(|error| format!("--credential-fields: {error}"))?
        .try_ignore_request_cookies(ignored)
        .map_err(|error| format!("--ignore-cookies: {error}"))?;
    if let Some(ttl) = options.ttl() {
        cache = cache.ttl(ttl);
    }
    if let Some(max_ttl) = options.max_ttl {
        cache = cache.max_ttl(max_ttl);
    }
    if options.tells_scheme() {
        // Redirects from http to https are responses to http alone.
        cache = cache.key(ForwardedScheme);
    }
    Ok(if options.is_one_site() {
        cache.authority(Authority::fixed("upstream"))
    } else {
        // The upstream gets the client's host, and may be a different site under each.
        cache.sites(Sites::ByAuthority)
    })
}
