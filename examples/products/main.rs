//! A products API over SQLite whose GETs are answered from the cache. The service itself has no
//! code for caching.
//!
//! ```text
//! cargo run --release --example products
//!
//! curl 127.0.0.1:3000/                           # the endpoints
//! curl -i 127.0.0.1:3000/products --json '{"name":"Lamp","price":39.5}'
//!                                                # 201, with Location: /products/{id}
//! curl 127.0.0.1:3000/products/{id}              # "source":"database"
//! curl 127.0.0.1:3000/products/{id}              # "source":"cache"
//! curl -X PUT 127.0.0.1:3000/products/{id} --json '{"name":"Lamp","price":35}'
//! curl 127.0.0.1:3000/products/{id}              # the new price, "source":"database"
//! curl 127.0.0.1:3000/products                   # the list; every write invalidates it, too
//! curl -X DELETE 127.0.0.1:3000/products/{id}    # 204
//! curl 127.0.0.1:3000/stats                      # counters of the cache and the database
//! ```
//!
//! With `--admin 127.0.0.1:9090`, operators have a page there, and Prometheus has metrics.
//!
//! With `--write write-through`, the first GET after a POST or PUT is already a hit. With
//! `--backend none`, nothing is cached. With `--features redis`, `--backend redis` and one
//! `--database` file, several instances share their cache. `--help` lists all options.
//!
//! Start reading at `build_app`, which puts the service, the cache and the middleware together.

#[path = "../common/admin.rs"]
mod admin;
mod api;
#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/banner.rs"]
mod banner;
mod database;
mod envelope;
mod failure;
mod index;
mod input;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/log.rs"]
mod log;
#[path = "../common/operators_server.rs"]
mod operators_server;
mod options;
mod product;
#[path = "../common/public_text.rs"]
mod public_text;
#[path = "../common/quantity.rs"]
mod quantity;
#[path = "../common/shutdown_signal.rs"]
mod shutdown_signal;
mod source;
mod stats;
#[path = "../common/store.rs"]
mod store;
#[path = "../common/watch.rs"]
mod watch;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::Authority;

use database::Database;
use operators_server::OperatorsServer;
use options::{Options, WriteStrategy};
use public_text::fail;
use shutdown_signal::ShutdownSignal;
use watch::Watch;

/// The longest time that requests in flight can delay the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = arguments::parse();
    let _log = log::log_to_stderr(options.log, "info");
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let path = &options.database;
    let database = Database::open(path, options.database_delay)
        .map_err(|error| format!("cannot open the database {path}: {error}"))?;
    let store = store::open(&options.store, &owner(path)).await?;
    let listen = &options.listen;
    let listener = listen::listen(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let admin = options.admin.listen().await?;
    let cache = cache_layer(options, store);
    let handle = cache.handle();
    let admin = match admin {
        Some((listener, access)) => Some((listener, access.service(handle.clone())?)),
        None => None,
    };
    // Before the address is printed: a caller may send a signal as soon as it has read it.
    let signal = ShutdownSignal::new()?;
    let address = listener.local_addr()?;
    let admin_address = match &admin {
        Some((listener, _)) => Some(listener.local_addr()?),
        None => None,
    };
    log_options(options, address, admin_address);
    writeln!(io::stdout(), "listening on http://{address}")?;
    if let Some(address) = admin_address {
        writeln!(io::stdout(), "admin on http://{address}")?;
    }
    let operators = match admin {
        Some((listener, admin)) => {
            Some(OperatorsServer::new(admin).serve(listener, signal.another()?))
        }
        None => None,
    };
    banner::print(&things_to_try(&address.to_string()))?;
    let watched = handle.clone();
    let watch = Watch::start(options.watch, move || watched.stats());
    serve(listener, build_app(cache, database, watch), signal).await?;
    handle.shutdown(SHUTDOWN_TIMEOUT).await;
    // Until now they could see how it went.
    drop(operators);
    tracing::info!("stopped");
    Ok(())
}

/// Logs the main options in one line.
fn log_options(options: &Options, listen: SocketAddr, admin: Option<SocketAddr>) {
    let store = &options.store;
    tracing::info!(
        %listen,
        admin = admin.map(tracing::field::display),
        backend = quantity::show_name(&store.backend),
        capacity = quantity::show_size(store.capacity),
        max_body = quantity::show_size(store.max_body),
        ttl = options::show_ttl(options.ttl),
        write = quantity::show_name(&options.write),
        database = options.database,
        "ready"
    );
}

/// Commands for a person at the terminal.
fn things_to_try(address: &str) -> Vec<String> {
    vec![
        format!("curl -i {address}/products --json '{{\"name\":\"Lamp\",\"price\":39.5}}'"),
        format!("curl {address}/products       # \"source\":\"database\", then \"cache\""),
        format!("curl {address}/stats          # counters of the cache and the database"),
    ]
}

/// Instances share their stored responses if they share a database.
fn owner(database: &str) -> store::Owner {
    let site = match std::fs::canonicalize(database) {
        Ok(file) => format!("database {}", file.display()),
        Err(_) => format!("database in memory {}", uuid::Uuid::new_v4()),
    };
    store::Owner {
        program: "products",
        site,
        keys: "authority products".to_owned(),
    }
}

fn build_app(
    cache: CacheLayer<impl Backend>,
    database: Database,
    watch: Option<Arc<Watch>>,
) -> Router {
    let stats = stats::routes(cache.handle(), database.clone());
    api::routes(database)
        .layer(cache)
        .layer(middleware::from_fn(source::add_source))
        .merge(stats)
        .merge(index::routes())
        .layer(middleware::from_fn_with_state(watch, log_response))
}

fn cache_layer<B: Backend>(options: &Options, backend: B) -> CacheLayer<B> {
    CacheLayer::new(backend)
        .ttl(options.ttl)
        .max_body(options.store.max_body)
        .empty_request_body(axum::body::Body::empty)
        .write_through(options.write == WriteStrategy::WriteThrough)
        // One site with several names: a PUT to `localhost` changes what `127.0.0.1` returns.
        .authority(Authority::fixed("products"))
        .also_invalidate(|_| [api::PRODUCTS])
}

async fn log_response(
    State(watch): State<Option<Arc<Watch>>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // Without the query, which may hold secrets.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if let Some(watch) = watch {
        watch.record(started);
    }
    let status = response.status().as_u16();
    let cache = response.headers().get("cache-status");
    tracing::debug!(%method, path, status, ?cache, elapsed = ?started.elapsed(), "response sent");
    response
}

/// Serves until the first signal, then finishes the requests in flight. A second signal, or
/// `SHUTDOWN_TIMEOUT`, ends them.
async fn serve(listener: TcpListener, app: Router, mut signal: ShutdownSignal) -> io::Result<()> {
    let (close, closing) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = closing.await;
    });
    let aborted = async {
        signal.wait().await;
        tracing::info!("stopping; finishing the requests in flight");
        drop(close);
        tokio::select! {
            () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
            () = signal.wait() => {}
        }
    };
    tokio::select! {
        served = server => served,
        () = aborted => {
            tracing::warn!("stopped with requests in flight");
            Ok(())
        }
    }
}
