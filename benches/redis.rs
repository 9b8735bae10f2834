//! Measures a hit from Redis, next to a bare `GET` of the same bytes by the same client crate.
//!
//! The contestants run interleaved in short rounds, with 64 requests at a time over two connections
//! each, on a runtime with a thread per core, and then on a single-threaded one; ratios are medians
//! of the ratios within a round. Time is that of the wall clock, since the server works meanwhile:
//! the program starts one on this machine.
//!
//! * *bare GET*: reads the entry of a hit and drops it;
//! * *bare GET, memory hit*: the same, then a request that the cache answers from memory: what a hit
//!   costs without the work that Redis makes (tokens, checksums, decoding, batches, deadlines);
//! * *cache hit*: a request through a `CacheLayer` over a `Guarded` `RedisBackend`, with its body.
//!
//! Each once with a single key, and once with a thousand keys in turn.
//!
//! `cargo bench --features redis --bench redis` measures. With `--quick`, or run by `cargo test`,
//! the program only shows that it works.

mod support;

#[path = "../tests/support/redis/mod.rs"]
mod on_this_machine;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use on_this_machine::RedisServer;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Guarded, MemoryBackend};

use support::median;

const BODY: usize = 1024;
const AT_ONCE: usize = 64;
/// The requests of each task in a round.
const REQUESTS: usize = 200;
const CONNECTIONS: usize = 2;
const KEYS: usize = 1000;

fn main() {
    let rounds = if support::is_measuring() { 100 } else { 2 };
    let threads = tokio::runtime::Runtime::new().expect("a runtime");
    measure("a thread per core", &threads, rounds);
    let mut single = tokio::runtime::Builder::new_current_thread();
    let single = single.enable_all().build().expect("a runtime");
    measure("single-threaded", &single, rounds);
}

fn measure(name: &str, runtime: &tokio::runtime::Runtime, rounds: usize) {
    runtime.block_on(async {
        let server = RedisServer::start().await;
        let uris: Arc<[Uri]> = uris().into();
        let hits = Hits::new(&server, &uris).await;
        let bare = Bare::new(&server, None).await;
        let floor = Bare::new(&server, Some(Memory::new(&uris).await)).await;
        let mut rows = Vec::new();
        for _ in 0..rounds {
            let mut row = Vec::new();
            for keys in [1, KEYS] {
                row.push(bare.round(&uris, keys).await);
                row.push(floor.round(&uris, keys).await);
                row.push(hits.round(&uris, keys).await);
            }
            rows.push(row);
        }
        report(name, &rows);
    });
}

fn uris() -> Vec<Uri> {
    let uri = |number| format!("/{number}").parse().expect("a path");
    (0..KEYS).map(uri).collect()
}

fn report(name: &str, rows: &[Vec<f64>]) {
    let names = [
        "bare GET, 1 key",
        "bare GET, memory hit, 1",
        "cache hit, 1 key",
        "bare GET, 1,000 keys",
        "bare GET, memory hit",
        "cache hit, 1,000 keys",
    ];
    println!("{name:24}  per second  x bare GET");
    for (column, name) in names.into_iter().enumerate() {
        let base = column / 3 * 3;
        let rate = median(rows.iter().map(|row| row[column]));
        let ratio = median(rows.iter().map(|row| row[column] / row[base]));
        println!("{name:24} {rate:>11.0} {ratio:>11.2}");
    }
}

/// The requests per second of `AT_ONCE` tasks that `each` makes, with `REQUESTS` requests each.
async fn rate<F, Fut>(each: F) -> f64
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        tasks.spawn(each(task * REQUESTS));
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no failure");
    }
    (AT_ONCE * REQUESTS) as f64 / began.elapsed().as_secs_f64()
}

/// Calls `ask` for the requests of one task, with the numbers of their keys.
async fn often<Fut: Future<Output = ()>>(first: usize, keys: usize, ask: impl Fn(usize) -> Fut) {
    for number in first..first + REQUESTS {
        ask(number % keys).await;
    }
}

/// The bare client: connections of the crate `redis`, and the names of the entries.
struct Bare {
    connections: Vec<MultiplexedConnection>,
    entries: Arc<[String]>,
    next: AtomicUsize,
    /// Answers a request after each reply.
    memory: Option<Memory>,
}

impl Bare {
    async fn new(server: &RedisServer, memory: Option<Memory>) -> Self {
        let info = redis::IntoConnectionInfo::into_connection_info(server.url()).expect("a URL");
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(tcp)).expect("a URL");
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024);
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            connections.push(connection.await.expect("a connection"));
        }
        let found = server.command(&["KEYS", "trc:e:*"]).await;
        let entries: Vec<String> = found.array().iter().map(|name| name.text()).collect();
        assert_eq!(entries.len(), KEYS, "all are stored");
        Self {
            connections,
            entries: entries.into(),
            next: AtomicUsize::new(0),
            memory,
        }
    }

    async fn round(&self, uris: &Arc<[Uri]>, keys: usize) -> f64 {
        rate(|first| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let connection = self.connections[next % CONNECTIONS].clone();
            let (entries, uris, memory) = (self.entries.clone(), uris.clone(), self.memory.clone());
            often(first, keys, move |number| {
                let (mut connection, entries) = (connection.clone(), entries.clone());
                let answer = memory
                    .clone()
                    .map(|memory| ask(memory.0, uris[number].clone()));
                async move {
                    let mut get = redis::cmd("GET");
                    get.arg(&entries[number]);
                    match connection.send_packed_command(&get).await {
                        Ok(Value::BulkString(entry)) => assert!(entry.len() > BODY),
                        other => panic!("{other:?}"),
                    }
                    if let Some(answer) = answer {
                        assert!(answer.await, "a hit");
                    }
                }
            })
        })
        .await
    }
}

type Inner =
    tower::util::ServiceFn<fn(Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>>>;

/// The cache in memory, with all keys.
#[derive(Clone)]
struct Memory(tower_response_cache::Cache<Inner, MemoryBackend>);

impl Memory {
    async fn new(uris: &[Uri]) -> Self {
        let layer = CacheLayer::new(MemoryBackend::default());
        let memory = Self(layer.layer(service_fn(origin as _)));
        for uri in uris {
            while !ask(memory.0.clone(), uri.clone()).await {}
        }
        memory
    }
}

/// The cache, over an origin that it calls once for each key.
struct Hits {
    service:
        tower_response_cache::Cache<Inner, Guarded<tower_response_cache::backend::RedisBackend>>,
}

impl Hits {
    async fn new(server: &RedisServer, uris: &[Uri]) -> Self {
        let redis = RedisOptions::new(&server.url()).expect("a URL");
        let redis = redis.max_connections(CONNECTIONS).build();
        redis.connect().await.expect("a connection");
        // On a busy machine a lookup may take longer than the default deadline.
        let redis = Guarded::new(redis).lookup_deadline(Duration::from_secs(1));
        let layer = CacheLayer::new(redis);
        let hits = Self {
            service: layer.layer(service_fn(origin as _)),
        };
        for uri in uris {
            while !hits.clone_ask(uri).await {}
        }
        hits
    }

    async fn clone_ask(&self, uri: &Uri) -> bool {
        ask(self.service.clone(), uri.clone()).await
    }

    async fn round(&self, uris: &Arc<[Uri]>, keys: usize) -> f64 {
        rate(|first| {
            let (service, uris) = (self.service.clone(), uris.clone());
            often(first, keys, move |number| {
                let (service, uri) = (service.clone(), uris[number].clone());
                async move { assert!(ask(service, uri).await, "a hit") }
            })
        })
        .await
    }
}

fn origin(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let response = Response::builder()
        .header("cache-control", "max-age=3600")
        .header("content-type", "application/json")
        .header("etag", "\"0123456789abcdef\"")
        .header("x-request-id", "0123456789abcdef")
        .body(Full::new(Bytes::from(vec![b'x'; BODY])));
    ready(Ok(response.expect("a response")))
}

/// Sends a request and reads the body. Returns whether it was a hit.
async fn ask<S, B>(service: S, uri: Uri) -> bool
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let host = http::HeaderValue::from_static("bench.test");
    request.headers_mut().insert(http::header::HOST, host);
    let response = service.oneshot(request).await.expect("an answer");
    let status = response.headers()["cache-status"].as_bytes();
    let is_hit = status.starts_with(b"tower-response-cache; hit");
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes().len(), BODY);
    is_hit
}
