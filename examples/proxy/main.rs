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

mod accept_queue;
mod access_log;
mod activity;
#[path = "../common/admin.rs"]
mod admin;
mod arrival;
#[path = "../common/banner.rs"]
mod banner;
mod cache_options;
mod client_limits;
mod client_stream;
mod config_file;
mod connection;
mod file_limit;
mod head_limit;
mod head_timer;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/log.rs"]
mod log;
mod monitor;
mod operators;
#[path = "../common/operators_server.rs"]
mod operators_server;
mod options;
#[path = "../common/public_text.rs"]
mod public_text;
#[path = "../common/quantity.rs"]
mod quantity;
mod reached;
mod reload;
mod request_memory;
mod server;
#[path = "../common/shutdown_signal.rs"]
mod shutdown_signal;
mod slow_readers;
#[path = "../common/store.rs"]
mod store;
mod stream_timeout;
mod tls;
mod unread;
#[path = "../common/watch.rs"]
mod watch;
mod when_woken;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceBuilder;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::{Authority, Sites};
use tower_response_cache::proxy::{
    CanonicalRequest, ErrorResponder, ErrorResponderLayer, ForwardedClaims, Peer, ReverseProxy,
};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use access_log::TimeUpstream;
use admin::AdminAccess;
use client_limits::ClientLimits;
use head_limit::HeadLimit;
use monitor::Monitor;
use operators::Operators;
use options::Options;
use public_text::fail;
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
        Err(error) => return fail(error),
    };
    let access = if options.access_log { "info" } else { "off" };
    let _log = log::log_to_stderr(options.log, &format!("info,access={access}"));
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    if options.check {
        return check(&options).await;
    }
    let tls = options.client_tls()?;
    let store = store::open(&options.store, &options.owner()).await?;
    let listeners = Listeners::open(&options).await?;
    // Before the address is printed: a caller may send a signal as soon as it has read it.
    let mut signal = ShutdownSignal::new()?;
    let layer = CacheLayer::new(store);
    let cache = layer.handle();
    let limits = options.client_limits();
    let first = stack(&options, &layer, &limits)?;
    let generations = Generations::new(options.settings(), first.service);
    let addresses = listeners.addresses()?;
    let (admin, operators) = match listeners.admin {
        Some((listener, access)) => {
            let operators = Operators::new(access, tls.is_some(), &first.cache, &first.proxy)?;
            (Some(listener), Some(operators))
        }
        None => (None, None),
    };
    let running = Running {
        health: start_health_checks(&options, &first.proxy)?,
        slow_readers: first.slow_readers,
        generations: generations.clone(),
        proxy: first.proxy,
        tls: tls.clone(),
        operators: operators.clone(),
        options: options.clone(),
    };
    let hang_up = signal.take_hang_up(options.reloads());
    let connections = limits.clone();
    let reload = running.reload(hang_up, move |options: &Options, earlier: &ReverseProxy| {
        stack_with(options, &layer, &connections, |proxy| {
            proxy.succeeding(earlier)
        })
    });
    let on_outside = count_outside(&cache);
    addresses.announce(&options, &limits, tls.is_some())?;
    let operators = match (admin, operators) {
        (Some(listener), Some(operators)) => Some(operators.serve(listener, signal.another()?)),
        _ => None,
    };
    let port = addresses.clients.port();
    let redirecting = match listeners.plain {
        Some(plain) => {
            let (limits, on_outside) = (limits.clone(), on_outside.clone());
            let signal = signal.another()?;
            Some(redirect(&options, limits, plain, port, signal, on_outside)?)
        }
        None => None,
    };
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
        () = server.run(listeners.clients, signal) => {}
        () = reload => {}
    }
    cache.shutdown(SHUTDOWN_TIMEOUT).await;
    drop(redirecting);
    // Last: until now operators could see how it went.
    drop(operators);
    tracing::info!("stopped");
    Ok(())
}

/// The sockets of the program.
struct Listeners {
    clients: TcpListener,
    admin: Option<(TcpListener, AdminAccess)>,
    /// For clients that are redirected to `https://`.
    plain: Option<TcpListener>,
}

impl Listeners {
    async fn open(options: &Options) -> Result<Self, String> {
        Ok(Self {
            clients: listen(&options.listen).await?,
            admin: options.admin.listen().await?,
            plain: match options.redirect_address() {
                Some(address) => Some(listen(address).await?),
                None => None,
            },
        })
    }

    fn addresses(&self) -> io::Result<Addresses> {
        let admin = self.admin.as_ref();
        Ok(Addresses {
            clients: self.clients.local_addr()?,
            admin: admin
                .map(|(listener, _)| listener.local_addr())
                .transpose()?,
        })
    }
}

/// The addresses that the program has, also where it was told to pick a port.
struct Addresses {
    clients: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Addresses {
    /// Says where the program listens: in the log, and on stdout.
    fn announce(&self, options: &Options, limits: &ClientLimits, has_tls: bool) -> io::Result<()> {
        log_options(options, limits, self);
        let scheme = if has_tls { "https" } else { "http" };
        let address = self.clients;
        writeln!(io::stdout(), "listening on {scheme}://{address}")?;
        if let Some(admin) = self.admin {
            writeln!(io::stdout(), "admin on http://{admin}")?;
        }
        banner::print(&[format!(
            "curl -i {scheme}://{address}/     # twice: a miss, then a hit"
        )])
    }
}

/// Logs the main options in one line, with the limits that are in force.
fn log_options(options: &Options, limits: &ClientLimits, addresses: &Addresses) {
    let (max_connections, max_of_one) = limits.max_connections();
    let store = &options.store;
    let upstreams: Vec<_> = options.upstream.iter().map(ToString::to_string).collect();
    tracing::info!(
        listen = %addresses.clients,
        admin = addresses.admin.map(tracing::field::display),
        upstream = upstreams.join(", "),
        host = quantity::show_name(&options.host),
        backend = quantity::show_name(&store.backend),
        capacity = quantity::show_size(store.capacity),
        max_body = quantity::show_size(store.max_body),
        ttl = options.cache.ttl.map(quantity::show_duration),
        concurrency = options.concurrency,
        max_connections,
        max_connections_per_client = max_of_one.unwrap_or(0),
        "ready"
    );
}

/// Checks the options, and the files that they name.
async fn check(options: &Options) -> Result<(), Box<dyn Error>> {
    options.client_tls()?;
    let layer = CacheLayer::new(MemoryBackend::default());
    stack(options, &layer, &options.client_limits())?;
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
type CachingProxy<B> =
    HeadLimit<ErrorResponder<CanonicalRequest<Cache<TimeUpstream<ReverseProxy>, B>>>>;

/// The service, as the options say, with the cache of a layer.
fn stack<B: Backend>(
    options: &Options,
    cache: &CacheLayer<B>,
    limits: &ClientLimits,
) -> Result<Stack<CachingProxy<B>, B>, String> {
    stack_with(options, cache, limits, |proxy| proxy)
}

/// The service with a proxy that is changed before anything is made of it.
fn stack_with<B: Backend>(
    options: &Options,
    cache: &CacheLayer<B>,
    limits: &ClientLimits,
    change: impl FnOnce(ReverseProxy) -> ReverseProxy,
) -> Result<Stack<CachingProxy<B>, B>, String> {
    let proxy = change(options.reverse_proxy()?);
    let monitor = Monitor {
        proxy: proxy.clone(),
        limits: limits.clone(),
    };
    let layer = cache_layer(options, cache)?.origin_monitor(monitor);
    let cache = layer.handle();
    let requests = proxy.request_layer();
    let on_outside = count_outside(&cache);
    let on_rejected = on_outside.clone();
    let (memory, max_buffered) = (limits.memory().clone(), options.max_buffered_upload);
    let memory = (memory, max_buffered);
    let service = ServiceBuilder::new()
        .layer_fn(move |inner| HeadLimit::new(inner, memory.clone(), on_outside.clone()))
        .layer(ErrorResponderLayer::new())
        .layer(requests.on_rejected(move |status| on_rejected(status)))
        .layer(layer)
        .service(TimeUpstream(proxy.clone()));
    // Otherwise all clients look like one, and any of them could be ended for another.
    let tells_clients_apart = !options.trust_forwarded;
    let slow_readers = tells_clients_apart
        .then(|| slow_readers::end_while_bytes_linger(limits.clone(), cache.clone()));
    Ok(Stack {
        service,
        slow_readers,
        cache,
        proxy,
    })
}

/// Counts requests that the cache never gets.
fn count_outside<B: Backend>(cache: &CacheHandle<B>) -> OnOutside {
    let counted = cache.clone();
    Arc::new(move |status| counted.count_outside(status))
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
    let memory = (limits.memory().clone(), options.max_buffered_upload);
    let redirect = HeadLimit::new(redirect, memory, on_outside.clone());
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

fn redirect_to_https(request: &Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    // Two are no request (RFC 9112 §3.2).
    let is_invalid = hosts.next().is_some();
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
    let mut response = Response::new(Full::default());
    match location.map(HeaderValue::try_from) {
        Some(Ok(location)) if path.starts_with('/') && !is_invalid => {
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
    if options.tells_claims() {
        // A redirect from http to https is a response to http alone, and to the host in it.
        cache = cache.key(ForwardedClaims);
    }
    if !options.trust_forwarded {
        // Otherwise all requests come from the proxy in front.
        cache = cache.client_by(|request| request.extensions.get::<Peer>().map(Peer::network));
    }
    Ok(if options.is_one_site() {
        cache.authority(Authority::fixed("upstream"))
    } else {
        // The upstream gets the client's host, and may be a different site under each.
        cache.sites(Sites::ByAuthority)
    })
}
