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
#[path = "../common/admin.rs"]
mod admin;
#[path = "../common/banner.rs"]
mod banner;
mod cache_options;
mod client_limits;
mod client_stream;
mod config_file;
mod connection;
mod file_limit;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/log.rs"]
mod log;
mod operators;
#[path = "../common/operators_server.rs"]
mod operators_server;
mod options;
#[path = "../common/quantity.rs"]
mod quantity;
mod reload;
mod server;
#[path = "../common/shutdown_signal.rs"]
mod shutdown_signal;
#[path = "../common/store.rs"]
mod store;
mod tls;
#[path = "../common/watch.rs"]
mod watch;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceBuilder;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::{Authority, Sites};
use tower_response_cache::proxy::{
    CanonicalRequest, ErrorResponder, ErrorResponderLayer, ForwardedScheme, ReverseProxy,
};
use tower_response_cache::{Cache, CacheLayer};

use access_log::TimeUpstream;
use client_limits::ClientLimits;
use operators::Operators;
use options::Options;
use reload::{Running, Stack, start_health_checks};
use server::{Generations, OnOutside, SHUTDOWN_TIMEOUT, Server};
use shutdown_signal::ShutdownSignal;
use watch::Watch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::from_arguments() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let access = if options.access_log { "info" } else { "off" };
    let _log = log::log_to_stderr(options.log, &format!("info,access={access}"));
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    if options.check {
        return check(&options).await;
    }
    let tls = options.client_tls()?;
    let store = store::open(&options.store, &options.owner()).await?;
    let listener = listen(&options.listen).await?;
    let admin = options.admin.listen().await?;
    // Before the address is printed: a caller may send a signal as soon as it has read it.
    let mut signal = ShutdownSignal::new()?;
    let plain = match options.redirect_address() {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let layer = CacheLayer::new(store);
    let cache = layer.handle();
    let first = stack(&options, &layer)?;
    let limits = options.client_limits();
    let generations = Generations::new(options.settings(), first.service);
    let (admin, operators) = match admin {
        Some((listener, access)) => {
            let operators = Operators::new(access, &first.cache, &first.proxy)?;
            (Some(listener), Some(operators))
        }
        None => (None, None),
    };
    let running = Running {
        health: start_health_checks(&options, &first.proxy)?,
        generations: generations.clone(),
        proxy: first.proxy,
        tls: tls.clone(),
        operators: operators.clone(),
        options: options.clone(),
    };
    let hang_up = signal.take_hang_up(options.reloads());
    let reload = running.reload(hang_up, move |options: &Options, earlier: &ReverseProxy| {
        stack_with(options, &layer, |proxy| proxy.succeeding(earlier))
    });
    let counted = cache.clone();
    let on_outside: OnOutside = Arc::new(move |status| counted.count_outside(status));
    log_options(&options);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on {scheme}://{address}")?;
    let operators = match (admin, operators) {
        (Some(listener), Some(operators)) => {
            writeln!(io::stdout(), "admin on http://{}", listener.local_addr()?)?;
            Some(operators.serve(listener, signal.another()?))
        }
        _ => None,
    };
    let redirecting = match plain {
        Some(plain) => {
            let (port, signal) = (address.port(), signal.another()?);
            let limits = limits.clone();
            Some(redirect(
                &options,
                limits,
                plain,
                port,
                signal,
                on_outside.clone(),
            )?)
        }
        None => None,
    };
    banner::print(&[format!(
        "curl -i {scheme}://{address}/     # twice: a miss, then a hit"
    )])?;
    let watched = cache.clone();
    let server = Server {
        generations,
        tls,
        limits,
        watch: Watch::start(options.watch, move || watched.stats()),
        log_query: options.log_query,
        on_outside,
    };
    tokio::select! {
        () = server.run(listener, signal) => {}
        () = reload => {}
    }
    cache.shutdown(SHUTDOWN_TIMEOUT).await;
    drop(redirecting);
    // Last: until now operators could see how it went.
    drop(operators);
    tracing::info!("stopped");
    Ok(())
}

/// Logs the main options in one line.
fn log_options(options: &Options) {
    let store = &options.store;
    let upstreams: Vec<_> = options.upstream.iter().map(ToString::to_string).collect();
    tracing::info!(
        listen = options.listen,
        admin = options.admin.admin,
        upstream = upstreams.join(", "),
        host = quantity::show_name(&options.host),
        backend = quantity::show_name(&store.backend),
        capacity = quantity::show_size(store.capacity),
        max_body = quantity::show_size(store.max_body),
        ttl = options.cache.ttl.map(quantity::show_duration),
        concurrency = options.concurrency,
        max_connections = options.max_connections,
        "ready"
    );
}

/// Checks the options, and the files that they name.
async fn check(options: &Options) -> Result<(), Box<dyn Error>> {
    options.client_tls()?;
    stack(options, &CacheLayer::new(MemoryBackend::default()))?;
    options.health_check()?;
    options.admin.check()?;
    store::check(&options.store, &options.owner())?;
    let address = tokio::net::lookup_host(&options.listen).await;
    let listen = &options.listen;
    address
        .map(drop)
        .map_err(|error| format!("--listen {listen}: {error}"))?;
    writeln!(io::stdout(), "the options are valid")?;
    Ok(())
}

/// What serves requests. Cache keys are made from the requests that upstreams get.
type CachingProxy<B> = ErrorResponder<CanonicalRequest<Cache<TimeUpstream<ReverseProxy>, B>>>;

/// The service, as the options say, with the cache of a layer.
fn stack<B: Backend>(
    options: &Options,
    cache: &CacheLayer<B>,
) -> Result<Stack<CachingProxy<B>, B>, String> {
    stack_with(options, cache, |proxy| proxy)
}

/// The service with a proxy that is changed before anything is made of it.
fn stack_with<B: Backend>(
    options: &Options,
    cache: &CacheLayer<B>,
    change: impl FnOnce(ReverseProxy) -> ReverseProxy,
) -> Result<Stack<CachingProxy<B>, B>, String> {
    let proxy = change(options.reverse_proxy()?);
    let layer = cache_layer(options, cache)?.origin_monitor(proxy.clone());
    let cache = layer.handle();
    let counted = cache.clone();
    let requests = proxy.request_layer();
    let service = ServiceBuilder::new()
        .layer(ErrorResponderLayer::new())
        .layer(requests.on_rejected(move |status| counted.count_outside(status)))
        .layer(layer)
        .service(TimeUpstream(proxy.clone()));
    Ok(Stack {
        service,
        cache,
        proxy,
    })
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    let listener = listen::listen(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Redirects the clients of a listener to `https://` on a port.
fn redirect(
    options: &Options,
    limits: ClientLimits,
    listener: TcpListener,
    port: u16,
    signal: ShutdownSignal,
    on_outside: OnOutside,
) -> io::Result<AbortOnDropHandle<()>> {
    let address = listener.local_addr()?;
    tracing::info!(%address, port, "redirecting to https");
    let count = on_outside.clone();
    let redirect = tower::service_fn(move |request: Request<Incoming>| {
        let response = redirect_to_https(&request, port);
        count(response.status());
        async move { Ok::<_, Infallible>(response) }
    });
    let server = Server {
        generations: Generations::new(options.settings(), redirect),
        tls: None,
        limits,
        watch: None,
        log_query: options.log_query,
        on_outside,
    };
    Ok(AbortOnDropHandle::new(tokio::spawn(
        server.run(listener, signal),
    )))
}

fn redirect_to_https(request: &Request<Incoming>, port: u16) -> Response<Empty<Bytes>> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().cloned();
    let authority = authority.or_else(|| host?.parse::<http::uri::Authority>().ok());
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let location = authority.map(|authority| match (authority.host(), port) {
        (host, 443) => format!("https://{host}{path}"),
        (host, port) => format!("https://{host}:{port}{path}"),
    });
    let mut response = Response::new(Empty::new());
    match location.map(HeaderValue::try_from) {
        Some(Ok(location)) if path.starts_with('/') => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
        }
        _ => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn cache_layer<B: Backend>(
    options: &Options,
    cache: &CacheLayer<B>,
) -> Result<CacheLayer<B>, String> {
    let mut cache = options.cache.layer(cache, options.store.max_body)?;
    if options.log_query {
        cache = cache.log_query(true);
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
