//! Measures how many requests a memory backend of a given size answers.
//!
//! Each trace is a sequence of requests that is equal on every run. The same cache answers all of
//! them, over a service that answers at once. Responses do not expire: a miss is a first request,
//! or its response was evicted.
//!
//! `cargo bench --bench hit_ratio` prints the share of requests and of bytes that were hits. With
//! `--traces FOLDER` it also writes the traces as files for libCacheSim, each response with the
//! bytes that it takes in the store: `benches/hit_ratio/compare` holds other policies against
//! the same requests. With `--quick`, or run by `cargo test`, the program only shows that it works.

#[path = "../support/mod.rs"]
mod support;
mod traces;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{unconstrained, yield_now};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use traces::{Asked, BODY, Scale, TRACES, Trace};

const WHOLE: Scale = Scale {
    entries: 10_000,
    requests: 1_000_000,
};
const QUICK: Scale = Scale {
    entries: 100,
    requests: 2_000,
};
const MIXED_CAPACITY: u64 = 64 * 1024 * 1024;

fn main() {
    let scale = if support::is_measuring() {
        WHOLE
    } else {
        QUICK
    };
    let folder = traces_folder();
    let weight = weight_of(BODY) as u64;
    println!(
        "{} requests, room for {} responses of {weight} bytes, or {MIXED_CAPACITY} bytes\n",
        scale.requests, scale.entries
    );
    println!("| trace | hits, % | bytes, % |\n|---|---|---|");
    for trace in &TRACES {
        let (requests, capacity) = (trace.requests(scale), capacity(trace, scale, weight));
        let ratio = replay(&requests, capacity, Form::Http1);
        println!(
            "| {} | {:.1} | {:.1} |",
            trace.name, ratio.hits, ratio.bytes
        );
        if let Some(folder) = &folder {
            let file = format!(
                "{}\t{capacity}\t{}\t{}",
                trace.name, ratio.hits, ratio.bytes
            );
            write_trace(folder, trace, &requests, &file).expect("a trace is written");
        }
    }
    println!("\n| Zipf 0.99, responses | hits, % |\n|---|---|");
    let (popular, capacity) = (TRACES[1].requests(scale), scale.entries * weight);
    for (name, form) in [
        ("asked for over HTTP/1.1", Form::Http1),
        ("asked for over HTTP/2", Form::Http2),
        ("with a query", Form::Query),
        ("with `Vary`, one variant each", Form::Vary),
    ] {
        let ratio = replay(&popular, capacity, form);
        println!("| {name} | {:.1} |", ratio.hits);
    }
}

fn traces_folder() -> Option<PathBuf> {
    let mut args = std::env::args().skip_while(|arg| arg != "--traces");
    args.nth(1).map(PathBuf::from)
}

fn capacity(trace: &Trace, scale: Scale, weight: u64) -> u64 {
    match trace.is_mixed {
        true => MIXED_CAPACITY,
        false => scale.entries * weight,
    }
}

/// How responses are asked for.
#[derive(Clone, Copy)]
enum Form {
    Http1,
    Http2,
    Query,
    Vary,
}

fn request((number, length): Asked, form: Form) -> Request<()> {
    let path = format!("/products/{number:016}/{length:08}");
    let uri = match form {
        Form::Http1 | Form::Vary => path,
        Form::Http2 => format!("http://shop.example{path}"),
        Form::Query => format!("{path}?page=1"),
    };
    let mut request = Request::builder().uri(uri);
    request = match form {
        Form::Http2 => request.version(Version::HTTP_2),
        _ => request.header("host", "shop.example"),
    };
    let request = request.header("accept-encoding", "gzip");
    request.body(()).expect("a request")
}

/// Answers with as many bytes as the path says.
#[derive(Clone)]
struct Inner {
    bytes: Bytes,
    varies: bool,
}

impl Service<Request<()>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let length = request.uri().path().rsplit('/').next();
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        let mut response = Response::builder()
            .header("content-type", "application/json")
            .header("cache-control", "max-age=86400");
        if self.varies {
            response = response.header("vary", "accept-encoding");
        }
        let body = Full::new(self.bytes.slice(..length));
        ready(Ok(response.body(body).expect("a response")))
    }
}

/// The share of requests, and of bytes, that were hits.
struct Ratio {
    hits: f64,
    bytes: f64,
}

fn replay(requests: &[Asked], capacity: u64, form: Form) -> Ratio {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let layer = CacheLayer::new(MemoryBackend::new(capacity));
    let service = layer.layer(Inner {
        bytes: vec![b'x'; 1_000_000].into(),
        varies: matches!(form, Form::Vary),
    });
    let (mut hits, mut hit_bytes, mut bytes) = (0, 0, 0);
    for asked in requests {
        let is_hit = is_hit(&runtime, service.clone(), request(*asked, form));
        bytes += asked.1;
        hits += usize::from(is_hit);
        hit_bytes += if is_hit { asked.1 } else { 0 };
    }
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    Ratio {
        hits: percent(hits, requests.len()),
        bytes: percent(hit_bytes, bytes),
    }
}

fn is_hit<S, B>(runtime: &Runtime, service: S, request: Request<()>) -> bool
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    runtime.block_on(unconstrained(async {
        let Ok(response) = service.oneshot(request).await;
        let status = response.headers().get("cache-status").cloned();
        assert!(response.into_body().collect().await.is_ok(), "a whole body");
        while runtime.metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
        status.is_some_and(|status| status.to_str().is_ok_and(|text| text.contains("; hit")))
    }))
}

/// The bytes that a response with a body of this length takes in the store.
fn weight_of(length: usize) -> usize {
    let runtime = Builder::new_current_thread().enable_time().build();
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(Inner {
        bytes: vec![b'x'; length].into(),
        varies: false,
    });
    let asked = request((0, length), Form::Http1);
    is_hit(&runtime.expect("a runtime"), service, asked);
    let usage = layer.handle().stats().usage.expect("a usage");
    usage.bytes as usize
}

/// Writes a trace in libCacheSim's format `oracleGeneral`: for each request 24 bytes with time,
/// number, size, and when the response is asked for next. A line in `ours.tsv` says what the file
/// holds and how the backend did.
fn write_trace(
    folder: &Path,
    trace: &Trace,
    requests: &[Asked],
    line: &str,
) -> std::io::Result<()> {
    let head = weight_of(0) as u32;
    let mut next = HashMap::new();
    let mut records = Vec::with_capacity(requests.len());
    for (time, (number, length)) in requests.iter().enumerate().rev() {
        let time = time as u32;
        let asked_again = next.insert(number, time).map_or(-1, i64::from);
        let mut record = [0; 24];
        record[..4].copy_from_slice(&time.to_le_bytes());
        record[4..12].copy_from_slice(&(number + 1).to_le_bytes());
        record[12..16].copy_from_slice(&(head + *length as u32).to_le_bytes());
        record[16..].copy_from_slice(&asked_again.to_le_bytes());
        records.push(record);
    }
    records.reverse();
    let name: String = trace
        .name
        .chars()
        .filter(|sign| sign.is_alphanumeric())
        .collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.bin")), records.concat())?;
    let index = folder.join("ours.tsv");
    let mut lines = std::fs::read_to_string(&index).unwrap_or_default();
    lines.push_str(&format!("{name}.bin\t{line}\n"));
    std::fs::write(index, lines)
}
