//! Bodies and what frames them: what may be stored of them, and how they come again.

mod framing;
mod heads;
mod hits;
mod size;
mod whole;

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::clock::{Clock, Moment};
use tower_response_cache::stats::Reason;
use tower_response_cache::{Cache, CacheLayer, ResponseBody};

use crate::support::both::{AnyBackend, both_backends};
use crate::support::get;
use crate::support::origin::{BodyStep, Origin, OriginBody, answer, scripted};

type Script = UnboundedSender<BodyStep>;

/// Caches over a backend that answers at once, and over one that waits. In virtual time: a future
/// that waits for ever has waited a day at once.
async fn on_both_backends(scenario: impl AsyncFn(CacheLayer<AnyBackend>)) {
    for backend in both_backends() {
        let layer = CacheLayer::new(backend).clock(clock());
        let day = Duration::from_secs(24 * 60 * 60);
        let in_time = tokio::time::timeout(day, scenario(layer)).await;
        in_time.expect("nobody waits for ever");
    }
}

fn memory() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default()).clock(clock())
}

/// Virtual time on both clocks.
fn clock() -> impl Clock {
    let start = Instant::now();
    move || {
        let passed = start.elapsed();
        Moment::new(
            passed,
            UNIX_EPOCH + Duration::from_secs(784_111_777) + passed,
        )
    }
}

/// A fill may go on without its client, but no longer than this.
const LONGEST_FILL: Duration = Duration::from_secs(31);

/// An origin whose bodies are scripted by the test: the scripts come out in the order of its calls.
fn directed(lines: &'static [(&'static str, &str)]) -> (Origin, impl Fn() -> Script + Send + Sync) {
    let scripts = Arc::new(Mutex::new(Vec::new()));
    let made = scripts.clone();
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        made.lock().expect("no panic").push(script);
        answer(200, lines, "").map(|_| body)
    });
    (origin, move || {
        let mut scripts = scripts.lock().expect("no panic");
        assert!(!scripts.is_empty(), "the origin was not called");
        scripts.remove(0)
    })
}

const CACHEABLE: &[(&str, &str)] = &[("cache-control", "max-age=3600")];

type Stream = ResponseBody<OriginBody>;

async fn open<B: Backend>(service: &Cache<Origin, B>, path: &str) -> Response<Stream> {
    let response = service.clone().oneshot(get(path)).await;
    response.expect("an answer")
}

/// Does not wait for a body.
async fn is_hit<B: Backend>(service: &Cache<Origin, B>, path: &str) -> bool {
    open(service, path).await.headers().contains_key("age")
}

async fn next_data(stream: &mut Stream) -> Bytes {
    let frame = stream.frame().await.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}

fn tell(script: &Script, step: BodyStep) {
    script.send(step).expect("a reader");
}

fn refusals<B: Backend>(layer: &CacheLayer<B>) -> Vec<(&'static str, u64)> {
    let refusals = layer.handle().stats().refusals;
    let applied = refusals.iter().filter(|(_, count)| *count > 0);
    applied.map(|(why, count)| (why.as_str(), count)).collect()
}

/// One HTTP/1.1 connection to a service.
fn connect<B: Backend>(service: Cache<Origin, B>) -> DuplexStream {
    let (client, server) = tokio::io::duplex(16 * 1024);
    let service = ServiceBuilder::new()
        .map_request(|request: Request<Incoming>| request.map(|_| ()))
        .service(service);
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    tokio::spawn(connection);
    client
}

/// The bytes received until the other side pauses or closes.
async fn ask(stream: &mut DuplexStream, text: &str) -> String {
    // A closed connection is an answer, too.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    let silence = Duration::from_secs(1);
    while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read_buf(&mut heard)).await {}
    String::from_utf8(heard).expect("UTF-8")
}

const SLOW: Duration = Duration::from_secs(1);
