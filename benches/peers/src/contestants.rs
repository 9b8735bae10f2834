//! The contestants, and what each leaves out.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hitbox::Config;
use hitbox::backend::CacheBackend;
use hitbox::concurrency::NoopConcurrencyManager;
use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_http::extractors::path::{Path, PathExtractor};
use hitbox_http::extractors::{Method, NeutralExtractor};
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use http::uri::{Authority, Scheme, Uri};
use http::{Request, Response};
use http_body_util::Full;
use tower::util::MapRequest;
use tower::{Layer, Service};
use tower_http_cache::prelude::InMemoryBackend;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::floor::Floor;
use crate::inner::Inner;

/// A contestant in Rust.
pub struct Contestant {
    /// The name of the crate, and its version.
    pub name: &'static str,
    /// The features that it does not have, for a fair reading of its row.
    pub leaves_out: &'static str,
}

/// All of them; the floor is the first one.
pub const CONTESTANTS: [Contestant; 6] = [
    Contestant {
        name: "floor",
        leaves_out: "a map of paths: no freshness, no directives, no variants, no cap in bytes",
    },
    Contestant {
        name: "tower-response-cache",
        leaves_out: "",
    },
    Contestant {
        name: "axum-response-cache 0.5.0",
        leaves_out: "one mutex; no Cache-Control, Vary, Age, conditions, ranges; no coalescing, no cap",
    },
    Contestant {
        name: "tower-http-cache 0.6.1",
        leaves_out: "no Vary, no conditions, no Age; a cap in entries",
    },
    Contestant {
        name: "hitbox 0.2.4 (moka 0.2.0)",
        leaves_out: "no HTTP semantics; with its format bincode, not JSON, its default",
    },
    Contestant {
        name: "http-cache 1.0.0-alpha.6 (moka)",
        leaves_out: "a client's cache: no coalescing, no ranges; a cap in entries",
    },
];

/// Prints what each contestant leaves out.
pub fn print_what_is_left_out() {
    println!("What the contestants leave out of what tower-response-cache does:\n");
    for Contestant { name, leaves_out } in &CONTESTANTS {
        if !leaves_out.is_empty() {
            println!("- {name}: {leaves_out}");
        }
    }
    println!();
}

/// Work on a service of any type.
pub trait Visit {
    type Output;

    fn visit<S, B>(self, service: S, made: Arc<AtomicUsize>) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Debug + Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

pub type BoxError = Box<dyn Error + Send + Sync>;

/// The responses that those with a cap in entries have room for.
const ROOM: u64 = 1 << 20;

/// Makes the service of a contestant, with room for any number of responses, and shows it to the
/// visitor. `length` is that of bodies.
pub async fn visit<V: Visit>(name: &str, length: usize, visitor: V) -> V::Output {
    let full = Inner::<Full<Bytes>>::new(length);
    let made = full.made();
    match name.split(' ').next() {
        Some("floor") => visitor.visit(Floor::new(ROOM as usize, length).await, made),
        Some("tower-response-cache") => {
            let layer = CacheLayer::new(MemoryBackend::new(1 << 30));
            visitor.visit(layer.layer(full), made)
        }
        Some("axum-response-cache") => {
            let layer = axum_response_cache::CacheLayer::with_lifespan(Duration::from_secs(3600));
            let inner = Inner::<Body>::new(length);
            let made = inner.made();
            visitor.visit(layer.layer(inner), made)
        }
        Some("tower-http-cache") => {
            let layer = tower_http_cache::layer::CacheLayer::builder(InMemoryBackend::new(ROOM));
            let layer = layer.ttl(Duration::from_secs(3600)).build();
            visitor.visit(layer.layer(full), made)
        }
        Some("hitbox") => {
            let backend = hitbox_moka::MokaBackend::builder()
                .max_entries(ROOM)
                .value_format(BincodeFormat)
                .build();
            visitor.visit(hitbox_layer(backend).layer(full), made)
        }
        Some("http-cache") => {
            let manager = http_cache::MokaManager::new(http_cache::MokaCache::new(ROOM));
            let layer = http_cache_tower::HttpCacheLayer::new(manager);
            let service = MapRequest::new(layer.layer(full), with_authority);
            visitor.visit(service, made)
        }
        _ => panic!("unknown contestant {name:?}"),
    }
}

/// http-cache reads nothing but absolute URIs.
fn with_authority(mut request: Request<Body>) -> Request<Body> {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("shop.example:3000"));
    *request.uri_mut() = Uri::from_parts(parts).expect("all parts are there");
    request
}

/// hitbox, with a key of method and path.
pub fn hitbox_layer<B: CacheBackend + Send + Sync + 'static>(
    backend: B,
) -> hitbox_tower::Cache<B, HitboxConfig, NoopConcurrencyManager> {
    let config = Config::builder()
        .request_predicate(NeutralRequestPredicate::new())
        .response_predicate(NeutralResponsePredicate::new())
        .extractor(Method::new().path("/{path}*"))
        .policy(
            PolicyConfig::builder()
                .ttl(Duration::from_secs(3600))
                .build(),
        )
        .build();
    hitbox_tower::Cache::builder()
        .backend(backend)
        .config(config)
        .build()
}

type HitboxConfig = Config<
    NeutralRequestPredicate<Body>,
    NeutralResponsePredicate<Full<Bytes>>,
    Path<Method<NeutralExtractor<Body>>>,
>;
