//! A products API over SQLite whose GETs come from the cache, and whose service knows nothing of it.
//!
//! ```text
//! cargo run --release --example products
//!
//! curl -i 127.0.0.1:3000/products --json '{"name":"Lamp","price":39.5}'    # 201, and Location: /products/{id}
//! curl 127.0.0.1:3000/products/{id}                                        # "source":"database"
//! curl 127.0.0.1:3000/products/{id}                                        # "source":"cache"
//! curl -X PUT 127.0.0.1:3000/products/{id} --json '{"name":"Lamp","price":35}'
//! curl 127.0.0.1:3000/products/{id}                                        # the new price, "source":"database"
//! curl 127.0.0.1:3000/products                                             # the list, which falls with any product
//! curl -X DELETE 127.0.0.1:3000/products/{id}                              # 204
//! curl 127.0.0.1:3000/stats                                                # what the cache did
//! ```
//!
//! With `--write write-through` the first GET after a POST or PUT says `cache` already; `--backend none` is the same
//! service without a cache. With `--features redis`, `--backend redis` and one `--database` file, several instances share
//! what they cache. `--help` tells the rest.

mod api;
mod database;
mod envelope;
mod failure;
mod input;
#[path = "../common/log.rs"]
mod log;
mod options;
mod product;
#[path = "../common/quantity.rs"]
mod quantity;
mod source;
mod stats;
#[path = "../common/stop.rs"]
mod stop;
#[path = "../common/store.rs"]
mod store;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::Authority;

use database::Database;
use options::{Options, WriteStrategy};
use stop::Stop;

/// For how long requests in flight may hold up the end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log::to_stderr("info");
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let store = store::open(&options.store, "products").await?;
    let path = &options.database;
    let database = Database::open(path, options.database_delay)
        .map_err(|error| format!("cannot open the database {path}: {error}"))?;
    let listen = &options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    // Before anybody can know that this runs: from then on a signal must not just kill it.
    let stop = Stop::new()?;
    let (backend, ttl, write) = (options.store.backend, options.ttl, options.write);
    tracing::info!(?backend, ?ttl, ?write, database = path, "ready");
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    let cache = cache(options, store);
    let ends = cache.handle();
    serve(listener, app(cache, database), stop).await?;
    ends.shutdown(LAST_ANSWERS).await;
    tracing::info!("stopped");
    Ok(())
}

fn app(cache: CacheLayer<impl Backend>, database: Database) -> Router {
    let stats = stats::routes(cache.handle(), database.clone());
    api::routes(database)
        .layer(cache)
        .layer(middleware::from_fn(source::stamp))
        .merge(stats)
        .layer(middleware::from_fn(log_answer))
}

fn cache<B: Backend>(options: &Options, backend: B) -> CacheLayer<B> {
    let cache = CacheLayer::new(backend)
        .ttl(options.ttl)
        .max_body(options.store.max_body)
        // One site under many names: a PUT by `localhost` is a write to what `127.0.0.1` reads.
        .authority(Authority::fixed("products"))
        .also_invalidate(|_| [api::PRODUCTS]);
    match options.write {
        WriteStrategy::Invalidate => cache,
        WriteStrategy::WriteThrough => cache.write_through(true),
    }
}

async fn log_answer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::debug!(%method, %uri, status, elapsed = ?started.elapsed(), "answered");
    response
}

async fn serve(listener: TcpListener, app: Router, mut stop: Stop) -> io::Result<()> {
    let (close, closing) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = closing.await;
    });
    let enough = async {
        stop.asked().await;
        tracing::info!("stopping: finishing what is in flight");
        drop(close);
        tokio::select! {
            () = tokio::time::sleep(LAST_ANSWERS) => {}
            () = stop.asked() => {}
        }
    };
    tokio::select! {
        served = server => served,
        () = enough => {
            tracing::warn!("stopped before everything in flight was finished");
            Ok(())
        }
    }
}
