//! No stale read after a write: a response looked up before a write is neither confirmed nor
//! completed after it, however little the origin's validators tell.

mod first_window;
mod second_window;
mod two_steps;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use tokio::task::JoinHandle;
use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::Backend;
use tower_response_cache::{Cache, CacheLayer, ResponseBody};

use crate::support::gate::{Gate, Gated};
use crate::support::origin::{Origin, OriginBody, OriginError, Response, answer};
use crate::support::time::settle;
use crate::support::{Answer, collect, send};

type Line = (&'static str, &'static str);

/// A request that waits for its answer.
type Waiting = JoinHandle<Result<http::Response<ResponseBody<OriginBody>>, OriginError>>;

/// An origin whose page has a new version after each write, and the same validator.
#[derive(Clone)]
struct Page {
    origin: Origin,
    log: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Page {
    /// A page with these fields. Any condition on it is answered as if it had not changed.
    fn new(lines: &'static [Line]) -> Self {
        Self::with_answer(move |request, version| {
            let has = |name| request.headers().contains_key(name);
            match has("if-none-match") || has("if-modified-since") {
                true => answer(304, lines, ""),
                false => answer(200, lines, format!("v{version}")),
            }
        })
    }

    /// A page whose reads are answered by a closure. A write counts the version up;
    /// a POST also names the group of pages.
    fn with_answer(read: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Self {
        let log = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let (asked, current) = (log.clone(), AtomicUsize::new(1));
        let origin = Origin::at_once(move |request| {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                current.fetch_add(1, Ordering::SeqCst);
                let groups = [("cache-group-invalidation", "\"pages\"")];
                let groups = &groups[..usize::from(request.method() == Method::POST)];
                return answer(204, groups, "");
            }
            asked.lock().expect("a log").push(request.headers().clone());
            read(request, current.load(Ordering::SeqCst))
        });
        Self { origin, log }
    }

    fn answer(lines: &[Line], text: String) -> Response {
        answer(200, lines, text)
    }

    /// The header fields of the last read.
    fn last_read(&self) -> HeaderMap {
        let log = self.log.lock().expect("a log");
        log.last().expect("a read").clone()
    }
}

/// A cache before a page, once behind a gate and once not.
struct World<B: Backend> {
    page: Page,
    gate: Gate,
    gated: Cache<Gated<Origin>, B>,
    open: Cache<Origin, B>,
}

impl<B: Backend> World<B> {
    fn new(layer: &CacheLayer<B>, page: Page) -> Self {
        let gate = Gate::default();
        let gated = layer.layer(Gated {
            inner: page.origin.clone(),
            gate: gate.clone(),
        });
        Self {
            gated,
            open: layer.layer(page.origin.clone()),
            page,
            gate,
        }
    }

    /// Begins a request that waits at the gate.
    async fn begin(&self, request: Request<()>) -> Waiting {
        let waiting = tokio::spawn(self.gated.clone().oneshot(request));
        settle().await;
        waiting
    }

    /// Stores a response, and lets it become stale.
    async fn store(&self, request: Request<()>, age: Duration) {
        send(&self.open, request).await;
        settle().await;
        advance(age).await;
    }

    /// Opens the gate and returns the answer to a request that waited there.
    async fn finish(&self, waiting: Waiting) -> Answer {
        self.gate.open();
        let response = waiting.await.expect("no panic");
        collect(response.expect("an answer")).await
    }
}

/// A page of ten digits, of ten letters after a write, with the same fields. Every `If-Range`
/// holds.
fn digits(lines: &'static [Line]) -> Page {
    Page::with_answer(move |request, version| {
        let text = if version == 1 {
            "0123456789"
        } else {
            "abcdefghij"
        };
        let Some(range) = request.headers().get("range") else {
            return answer(200, lines, text);
        };
        let range = range.to_str().expect("text").trim_start_matches("bytes=");
        let (first, last) = range.split_once('-').expect("a range");
        let first: usize = first.parse().expect("a number");
        let last: usize = last.parse().expect("a number");
        let mut part = answer(206, lines, &text[first..=last]);
        let range = format!("bytes {first}-{last}/10").parse().expect("a value");
        part.headers_mut().insert("content-range", range);
        part
    })
}
