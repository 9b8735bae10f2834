//! Coded forms of stored responses: which request gets which, and that each is made once and goes
//! with its identity.

mod forms;
mod lives;
mod meetings;
mod options;
mod races;
#[path = "../support/mod.rs"]
mod support;
mod validators;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, Lookup, MemoryBackend, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;
use tower_response_cache::{Cache, CacheLayer, Coding};

use crate::support::origin::Origin;
use crate::support::{get, with};

type Fence = <MemoryBackend as Backend>::Fence;

/// The codings in the order that these tests offer them in.
const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// A page of some KiB, which no other name has.
fn page(name: &str) -> String {
    format!(
        "{name}: {}",
        "the quick brown fox jumps over it. ".repeat(100)
    )
}

/// An answer, decoded.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    /// The length of the content as it was sent, in bytes.
    sent: usize,
    /// The content, decoded.
    text: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .map(|value| value.to_str().expect("ASCII"));
        value.unwrap_or_default()
    }

    /// `Content-Encoding`; `identity` without one.
    fn coding(&self) -> &str {
        match self.header("content-encoding") {
            "" => "identity",
            coding => coding,
        }
    }

    fn is_hit(&self) -> bool {
        self.header("cache-status").contains("; hit")
    }

    /// Asserts that the head is that of the content, in this form.
    fn assert_form(&self, coding: &str, text: &str) {
        assert_eq!(self.coding(), coding, "{self:?}");
        assert_eq!(self.text, text, "{coding}");
        // The origin of these tests sends none.
        let is_miss = coding == "identity" && !self.is_hit();
        let length = if is_miss {
            String::new()
        } else {
            self.sent.to_string()
        };
        assert_eq!(self.header("content-length"), length, "{coding}");
        assert_eq!(self.header("vary"), "accept-encoding", "{coding}");
        assert_eq!(coding == "identity", self.sent == text.len(), "{coding}");
    }
}

/// Sends a request, and decodes the answer.
async fn fetch<B: Backend>(service: &Cache<Origin, B>, request: Request<()>) -> Got {
    let answer = service.clone().oneshot(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let coding = head.headers.get("content-encoding");
    let coding = coding.map_or("", |coding| coding.to_str().expect("ASCII"));
    Got {
        status: head.status,
        sent: body.len(),
        text: decoded(coding, &body).await,
        headers: head.headers,
    }
}

/// Content without its coding. That of a HEAD or a 304 is none.
async fn decoded(coding: &str, content: &Bytes) -> String {
    let mut text = String::new();
    let decoded = match coding {
        _ if content.is_empty() => Ok(0),
        "zstd" => {
            ZstdDecoder::new(&content[..])
                .read_to_string(&mut text)
                .await
        }
        "br" => {
            BrotliDecoder::new(&content[..])
                .read_to_string(&mut text)
                .await
        }
        "gzip" => {
            GzipDecoder::new(&content[..])
                .read_to_string(&mut text)
                .await
        }
        _ => (&content[..]).read_to_string(&mut text).await,
    };
    decoded.expect("content in its coding");
    text
}

/// A GET that accepts these codings.
fn accepting(path: &str, codings: &str) -> Request<()> {
    with(get(path), "accept-encoding", codings)
}

/// A backend in memory that counts the stores of forms, and whose lookups may wait for permits.
#[derive(Clone, Debug)]
struct Watched {
    backend: MemoryBackend,
    /// Stores of coded forms, which have been made then.
    forms: Arc<AtomicUsize>,
    /// A lookup takes one; `None` lets all of them be answered at once.
    lookups: Option<Arc<Semaphore>>,
    /// A store of a form takes one.
    stores: Arc<Semaphore>,
}

impl Watched {
    fn new(backend: MemoryBackend) -> Self {
        Self {
            backend,
            forms: Arc::default(),
            lookups: None,
            stores: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// How many forms were made.
    fn forms(&self) -> usize {
        self.forms.load(Ordering::SeqCst)
    }
}

impl ForwardBackend for Watched {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.backend
    }

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Fence>> {
        match self.lookups {
            None => self.backend.get_now(key),
            Some(_) => None,
        }
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Fence>, BackendError> {
        if let Some(lookups) = &self.lookups {
            lookups.acquire().await.expect("a permit").forget();
        }
        self.backend.get(key, now).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        if response.headers().contains_key("content-encoding") {
            self.forms.fetch_add(1, Ordering::SeqCst);
            self.stores.acquire().await.expect("a permit").forget();
        }
        self.backend.put(key, fence, response, now).await
    }
}

/// A cache over a backend that is watched.
fn watched() -> (CacheLayer<Watched>, Watched) {
    let backend = Watched::new(MemoryBackend::default());
    let layer = CacheLayer::new(backend.clone()).compress(CODINGS);
    (layer, backend)
}
