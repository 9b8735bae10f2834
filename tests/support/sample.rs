//! Keys and responses as the cache makes them, to be given to a backend directly.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Request;
use tokio::task::yield_now;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{
    Backend, BackendError, InvalidationTarget, Lookup, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, DigestSeed, Resource};

use super::origin::{Origin, Response, answer, cacheable};
use super::{get, send, with};

/// A moment on a clock that began with 1970.
pub fn at(seconds: u64) -> Moment {
    let passed = Duration::from_secs(seconds);
    Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
}

/// What a fill would store.
#[derive(Clone)]
pub struct Sample {
    pub key: CacheKey,
    pub response: Arc<StoredResponse>,
}

impl Sample {
    /// For a path, on a backend; received at the moment 0, fresh for an hour.
    pub async fn of(backend: &impl Backend, path: &str, body: &'static str) -> Self {
        let origin = Origin::at_once(move |_| cacheable(body));
        Self::filled(backend.seed(), get(path), origin).await
    }

    /// For a path in groups, as `Cache-Groups` names them.
    pub async fn in_groups(
        backend: &impl Backend,
        path: &str,
        groups: &'static str,
        body: &'static str,
    ) -> Self {
        let origin = Origin::at_once(move |_| {
            let lines = [("cache-control", "max-age=3600"), ("cache-groups", groups)];
            answer(200, &lines, body)
        });
        Self::filled(backend.seed(), get(path), origin).await
    }

    /// For one language of several.
    pub async fn in_language(backend: &impl Backend, path: &str, language: &'static str) -> Self {
        Self::of_variant(backend, path, language, language).await
    }

    /// For one language of several, with any body.
    pub async fn of_variant(
        backend: &impl Backend,
        path: &str,
        language: &str,
        body: &'static str,
    ) -> Self {
        let origin = Origin::at_once(move |_| varying(body));
        let request = with(get(path), "accept-language", language);
        Self::filled(backend.seed(), request, origin).await
    }

    async fn filled(seed: DigestSeed, request: Request<()>, origin: Origin) -> Self {
        let recorder = Recorder {
            seed,
            put: Arc::default(),
        };
        let layer = CacheLayer::new(recorder.clone()).clock(|| at(0));
        send(&layer.layer(origin), request).await;
        // Stored in the background, without waiting for anything.
        loop {
            if let Some(sample) = recorder.put.lock().expect("no panic").clone() {
                return sample;
            }
            yield_now().await;
        }
    }

    pub async fn fence<B: Backend>(&self, backend: &B) -> B::Fence {
        let lookup = backend.get(&self.key, at(0)).await;
        let fence = lookup.expect("a lookup").into_fence();
        fence.expect("a fence")
    }

    pub async fn put<B: Backend>(&self, backend: &B, fence: &B::Fence) -> PutOutcome {
        let put = backend.put(&self.key, fence.clone(), self.response.clone(), at(0));
        put.await.expect("a put")
    }

    pub async fn replace<B: Backend>(&self, backend: &B, fence: &B::Fence) -> PutOutcome {
        let replace = backend.replace(&self.key, fence.clone(), self.response.clone(), at(0));
        replace.await.expect("a replace")
    }

    /// Looks up and stores, as an undisturbed fill does.
    pub async fn store<B: Backend>(&self, backend: &B) {
        let fence = self.fence(backend).await;
        assert_eq!(self.put(backend, &fence).await, PutOutcome::Stored);
    }

    /// The body stored under its key.
    pub async fn body(&self, backend: &impl Backend) -> Option<String> {
        match backend.get(&self.key, at(0)).await.expect("a lookup") {
            Lookup::Found(response, _) => {
                Some(String::from_utf8_lossy(response.body_bytes()).into())
            }
            _ => None,
        }
    }

    pub async fn invalidate(&self, backend: &impl Backend) {
        let target = InvalidationTarget::Resource(*self.key.resource());
        backend.invalidate(&target).await.expect("acknowledged");
    }
}

fn varying(body: &'static str) -> Response {
    let mut response = cacheable(body);
    let headers = response.headers_mut();
    headers.insert("vary", "accept-language".parse().expect("a field value"));
    response
}

/// Keeps only the last response given to it.
#[derive(Clone)]
struct Recorder {
    seed: DigestSeed,
    put: Arc<Mutex<Option<Sample>>>,
}

impl Backend for Recorder {
    type Fence = ();

    async fn get(&self, _: &CacheKey, _: Moment) -> Result<Lookup<()>, BackendError> {
        Ok(Lookup::Miss(()))
    }

    async fn fence(&self, _: Option<&Resource>) -> Result<Option<()>, BackendError> {
        Ok(None)
    }

    async fn put(
        &self,
        key: &CacheKey,
        (): (),
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let sample = Sample {
            key: *key,
            response,
        };
        *self.put.lock().expect("no panic") = Some(sample);
        Ok(PutOutcome::Stored)
    }

    async fn remove(&self, _: &CacheKey, (): ()) -> Result<bool, BackendError> {
        Ok(true)
    }

    async fn invalidate(&self, _: &InvalidationTarget) -> Result<(), BackendError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn seed(&self) -> DigestSeed {
        self.seed
    }
}
