//! Memory: each contestant in a process of its own.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::body::Body;
use bytes::Bytes;
use hitbox_backend::format::BincodeFormat;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::Effort;
use crate::contestants::{BoxError, CONTESTANTS, Visit, hitbox_layer, visit};
use crate::inner::{Inner, request};
use crate::processes::{output_of_self, resident};
use crate::workload::uri;

/// The length of bodies.
const LENGTH: usize = 150;
/// Requests that are sent before the first reading, so that one-time allocations do not count.
const WARM_UP: usize = 1000;
const CAP: u64 = 64 << 20;
/// More entries than any contestant holds within the cap.
const ENOUGH: usize = 400_000;

/// Measures all contestants, and prints a table.
pub fn report(effort: Effort) {
    println!("## Memory\n");
    println!(
        "Growth of the resident set by {} entries of {LENGTH} B with six fields.\n",
        effort.entries
    );
    println!("| | bytes per entry | entries in a cap of 64 MiB |");
    println!("|---|---|---|");
    for contestant in &CONTESTANTS {
        let entries = effort.entries.to_string();
        let bytes = output_of_self(&["fill", contestant.name, &entries]);
        let within = output_of_self(&["within", contestant.name]);
        println!(
            "| {} | {} | {} |",
            contestant.name,
            bytes.trim(),
            within.trim()
        );
    }
    println!();
}

/// Fills a contestant, and prints its bytes per entry.
pub fn fill(name: &str, entries: &str) {
    let entries: usize = entries.parse().expect("a number of entries");
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { visit(name, LENGTH, Filling { entries }).await.await });
}

/// Prints the number of entries that a contestant holds within 64 MiB.
pub fn within_cap(name: &str) {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let inner = Inner::<Full<Bytes>>::new(LENGTH);
    runtime.block_on(async {
        match name.split(' ').next() {
            Some("tower-response-cache") => {
                let layer = CacheLayer::new(MemoryBackend::new(CAP));
                ask(&layer.layer(inner), 0..ENOUGH).await;
                let usage = layer.handle().stats().usage.expect("the backend counts");
                println!("{}", usage.entries);
            }
            Some("hitbox") => {
                let backend = hitbox_moka::MokaBackend::builder()
                    .max_bytes(CAP)
                    .value_format(BincodeFormat)
                    .build();
                ask(&hitbox_layer(backend.clone()).layer(inner), 0..ENOUGH).await;
                backend.cache().run_pending_tasks().await;
                println!("{}", backend.entry_count());
            }
            _ => println!("no cap in bytes"),
        }
    });
}

struct Filling {
    entries: usize,
}

impl Visit for Filling {
    type Output = Pin<Box<dyn Future<Output = ()>>>;

    fn visit<S, B>(self, service: S, _: Arc<AtomicUsize>) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Debug + Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Box::pin(async move {
            ask(&service, 0..WARM_UP).await;
            let before = resident();
            ask(&service, WARM_UP..WARM_UP + self.entries).await;
            println!("{}", (resident() - before) / self.entries as u64);
        })
    }
}

/// Requests each of the keys once.
async fn ask<S, B>(service: &S, keys: Range<usize>)
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug> + Clone,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    for key in keys {
        let response = service.clone().oneshot(request(&uri(key))).await;
        let body = response.expect("no service fails").into_body();
        body.collect()
            .await
            .map_err(Into::into)
            .expect("no body fails");
        if key % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
}
