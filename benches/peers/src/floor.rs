//! The floor: a map from the path to ready fields and a ready body.
//!
//! Its responses have the fields of ours, made by the cache itself; the values of `Age` and
//! `Cache-Status` are replaced on each hit. It knows no key but the path, no time, no freshness, no
//! request directives, no variants, no capacity in bytes and no counters.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::{AGE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::inner::{Inner, request};
use crate::workload::uri;

#[derive(Clone)]
pub struct Floor {
    stored: Arc<quick_cache::sync::Cache<String, Arc<Stored>>>,
    model: Arc<Stored>,
    age: HeaderValue,
    status: HeaderValue,
}

struct Stored {
    headers: HeaderMap,
    body: Bytes,
}

impl Floor {
    pub async fn new(entries: usize, length: usize) -> Self {
        let layer = CacheLayer::new(MemoryBackend::default());
        let cache = layer.layer(Inner::<Full<Bytes>>::new(length));
        let (mut headers, mut body) = (HeaderMap::new(), Bytes::new());
        // The second one is a hit.
        for _ in 0..2 {
            let Ok(response) = cache.clone().oneshot(request(&uri(0))).await;
            let (head, rest) = response.into_parts();
            headers = head.headers;
            body = rest.collect().await.expect("a whole body").to_bytes();
        }
        Self {
            stored: Arc::new(quick_cache::sync::Cache::new(entries * 2)),
            age: headers[AGE].clone(),
            status: headers["cache-status"].clone(),
            model: Arc::new(Stored { headers, body }),
        }
    }

    fn look_up(&self, path: &str) -> Arc<Stored> {
        self.stored.get(path).unwrap_or_else(|| {
            // Nothing is shared between entries, as between responses of a handler.
            let model = &self.model;
            let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes());
            let fields = model.headers.iter().map(|(name, value)| {
                let value = own(value).expect("the value of a field");
                (name.clone(), value)
            });
            let stored = Arc::new(Stored {
                headers: fields.collect(),
                body: Bytes::from(model.body.to_vec()),
            });
            self.stored.insert(path.to_owned(), stored.clone());
            stored
        })
    }
}

impl Service<Request<Body>> for Floor {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stored = self.look_up(request.uri().path());
        let mut headers = stored.headers.clone();
        for (name, value) in [("age", &self.age), ("cache-status", &self.status)] {
            if let Some(slot) = headers.get_mut(name) {
                *slot = value.clone();
            }
        }
        let mut response = Response::new(Full::new(stored.body.clone()));
        *response.headers_mut() = headers;
        ready(Ok(response))
    }
}
