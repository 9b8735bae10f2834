//! Measures the memory that stored responses take: as the operating system sees it, and as the
//! backend counts it.
//!
//! * *held*: 200,000 responses of 150 bytes with six header fields, in a backend with room for all;
//! * *soak*: two million distinct URLs, in a backend of 64 MiB.
//!
//! `cargo bench --bench memory` measures. With `--quick`, or run by `cargo test`, the program only
//! shows that it works. Resident memory is read from `/proc`, and is 0 where that is missing.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::process::Command;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{unconstrained, yield_now};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

const MIB: u64 = 1024 * 1024;

/// A row of the table: its name, the capacity of the backend, and the number of URLs.
type Row = (&'static str, u64, usize);

fn rows() -> [Row; 3] {
    let (held, soaked) = match support::is_measuring() {
        true => (200_000, 2_000_000),
        false => (200, 400),
    };
    [
        ("held", 4096 * MIB, held),
        ("soak, a fifth of the URLs", 64 * MIB, soaked / 5),
        ("soak, at its end", 64 * MIB, soaked),
    ]
}

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--row");
    if let Some(row) = args.nth(1).and_then(|row| row.parse::<usize>().ok()) {
        return store(rows()[row]);
    }
    println!("| | entries | counted, bytes | resident, bytes | resident per entry | of counted |");
    println!("|---|---|---|---|---|---|");
    // A process of its own for each: memory that was freed may stay resident.
    let program = std::env::current_exe().expect("the path of this program");
    for row in 0..rows().len() {
        let mut command = Command::new(&program);
        command.args(std::env::args().skip(1));
        let status = command.args(["--row", &row.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "row {row}");
    }
}

/// Stores responses under this number of URLs, and prints the memory that they take.
fn store((name, capacity, urls): Row) {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let layer = CacheLayer::new(MemoryBackend::new(capacity));
    let service = layer.layer(Inner);
    // What the first requests bring is not the entries'.
    for warm in 0..100 {
        ask(&runtime, service.clone(), &format!("/warm/{warm}"));
    }
    let before = (resident(), layer.handle().stats().usage.expect("a usage"));
    for url in 0..urls {
        ask(
            &runtime,
            service.clone(),
            &format!("/products/{url:08}-4c1b-9d70"),
        );
    }
    let usage = layer.handle().stats().usage.expect("a usage");
    let resident = resident().saturating_sub(before.0);
    let counted = usage.bytes - before.1.bytes;
    let entries = usage.entries - before.1.entries;
    println!(
        "| {name} | {entries} | {counted} | {resident} | {} | {:.2} |",
        resident / entries.max(1),
        resident as f64 / counted as f64
    );
}

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|text| text.parse().ok());
    pages.map_or(0, |pages: u64| pages * 4096)
}

fn ask<S, B>(runtime: &Runtime, service: S, path: &str)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let request = Request::builder().uri(path).header("host", "shop.example");
    let request = request.body(()).expect("a request");
    runtime.block_on(unconstrained(async {
        let Ok(response) = service.oneshot(request).await;
        assert!(response.into_body().collect().await.is_ok(), "a whole body");
        while runtime.metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
    }));
}

#[derive(Clone)]
struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("cache-control", "max-age=3600")
            .header("content-length", "150")
            .header("etag", "W/\"8f14e45fceea167a\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("x-request-id", "6ba7b810");
        let body = Full::from(vec![b'x'; 150]);
        ready(Ok(response.body(body).expect("a response")))
    }
}
