//! An HTTP response cache as one tower layer.
//!
//! [`CacheLayer`] wraps any `Service<Request<_>, Response = Response<_>>`: hyper, axum, anything tower. The service inside
//! stays plain and knows nothing of caching. GET responses are stored in a [`Backend`](backend::Backend), in memory by
//! default; every write to a resource invalidates it before the write's answer is seen.
//!
//! # What it promises
//!
//! * **No stale read after a write.** Once the head of a successful unsafe response (POST, PUT, PATCH, DELETE, an unknown
//!   method) has been yielded, no request for that resource that starts later is answered with data older than that write,
//!   fills in flight included. In one process this holds without exception for writes whose answer was yielded; a write
//!   that was cancelled, panicked or answered 5xx invalidates when it ends. Instances that share a Redis keep it among each
//!   other as long as Redis acknowledges invalidations; what happens when it does not is said with
//!   [`Guarded`](backend::Guarded) and `RedisBackend`.
//! * **One fill per key.** Concurrent misses are one call; its followers read the bytes as they arrive, and no client can
//!   cancel or slow down what others wait for. What may not be stored is never shared, and makes no queue.
//! * **Stale only where that is allowed.** [`stale-while-revalidate`](CacheLayer::stale_while_revalidate) answers at once
//!   while one refresh runs, [`stale-if-error`](CacheLayer::stale_if_error) stands in for errors, and what is stored stands
//!   in for an inner service that [fails](CacheLayer::stale_if_unreachable); what forbids it always wins. What a write
//!   invalidated is gone, not stale.
//! * **A broken cache is a slow cache, never a broken answer.** What the backend cannot do becomes a miss; it is counted
//!   and logged, not returned. [`Guarded`](backend::Guarded) bounds what that costs, and remembers what the backend could
//!   not be told. Concurrent misses are still shared, but only calls that have not begun: two at most.
//! * **RFC 9111's rules for storing and reusing, as a shared cache,** with defaults that are safer than its letter: nothing
//!   with `Set-Cookie`, nothing asked for with `Authorization` unless the response says `public`, `s-maxage` or
//!   `must-revalidate`, nothing asked for with `Cookie` unless the response states its own lifetime.
//! * **RFC 9110's conditions and ranges.** Stale and `no-cache` responses are validated by `If-None-Match` and
//!   `If-Modified-Since`, and a 304 freshens what is stored; a client's own conditions and ranges are answered from it, 304,
//!   206 and 416. Parts that an origin sends are stored as parts, put together, and completed with a range request. A
//!   client's conditions never reach an inner service whose answer others share.
//! * **A good tower citizen.** Its error is the inner service's, hits take no permit of it, request bodies need be no more
//!   than `Send + 'static`, and streams stay streams.
//! * **It explains itself.** Every answer carries [`Cache-Status`](CacheLayer::cache_status) (RFC 9211), every decision is
//!   one `tracing` event and one [counter](CacheHandle::stats), with the same reason.
//!
//! # Strategies
//!
//! *Cache-aside* is the way it works: look up, else ask the inner service and store. *Invalidation on write* is always
//! on; [`also_invalidate`](CacheLayer::also_invalidate) names what else a write concerns.
//! *[Write-through](CacheLayer::write_through)* stores what a write answers, so that the first GET after it is a hit.
//!
//! *Groups* (RFC 9875) invalidate together what an origin names in `Cache-Groups`: by `Cache-Group-Invalidation` on the
//! answer to a write, or by [`CacheHandle::invalidate_group`].
//!
//! # Backends
//!
//! [`MemoryBackend`](backend::MemoryBackend) is for one process. `RedisBackend` (feature `redis`; `redis-tls` for
//! `rediss://`) is for many that share what they store, inside of a [`Guarded`](backend::Guarded).
//! [`Either`](backend::Either) and `Option` choose when the program runs, and [`Backend`](backend::Backend) is the contract
//! for those you write.
//!
//! # On hyper and axum
//!
//! It is a tower layer like any other, and its services work on hyper (by `TowerToHyperService`) and on an axum `Router`
//! unadapted:
//!
//! ```
//! # use std::time::Duration;
//! # use axum::{Router, routing::get};
//! # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello").put(async || "changed"))
//!     .layer(CacheLayer::new(MemoryBackend::default()).ttl(Duration::from_secs(60)));
//! ```
//!
//! ```no_run
//! use hyper_util::{rt::{TokioExecutor, TokioIo}, server::conn::auto::Builder, service::TowerToHyperService};
//! use std::convert::Infallible;
//! use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//!
//! async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
//!     let hello = tower::service_fn(|_| async { Ok::<_, Infallible>(http::Response::new("hello".to_owned())) });
//!     let cached = tower::Layer::layer(&CacheLayer::new(MemoryBackend::default()), hello);
//!     loop {
//!         let (stream, cached) = (TokioIo::new(listener.accept().await?.0), TowerToHyperService::new(cached.clone()));
//!         tokio::spawn(async move { Builder::new(TokioExecutor::new()).serve_connection(stream, cached).await });
//!     }
//! }
//! ```
//!
//! Mount it outside of `nest`: a nested router sees the path without its prefix, and two of them under one layer would
//! take each other's paths for their own. Where it must be inside, give each mount a [`scope`](CacheLayer::scope), or the
//! whole path back with [`key_by`](CacheLayer::key_by):
//!
//! ```
//! # use axum::extract::OriginalUri;
//! # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//! let layer = CacheLayer::new(MemoryBackend::default()).key_by(|request, key| {
//!     match request.extensions.get::<OriginalUri>() {
//!         Some(OriginalUri(whole)) => Some(key.with_path(whole.path())),
//!         None => Some(key),
//!     }
//! });
//! ```
//!
//! # Before an origin
//!
//! `proxy` (feature `proxy`; `proxy-tls` for `https://`) has `ReverseProxy`, a plain tower service that forwards what it is
//! asked, and `ErrorResponder`, which makes its errors 502 and 504 once the cache has seen them. With a server around them they
//! are a caching reverse proxy: `examples/proxy` is one.
//!
//! # Where it belongs in a stack
//!
//! It is always ready, so that hits are served while the inner service is saturated; pressure shows inside its futures.
//! `LoadShed`, `ConcurrencyLimit`, `RateLimit` and a `Timeout` for fills belong *inside* of it; compression, too, unless
//! every hit is to be compressed anew. What changes a response for one client alone belongs outside; if it changes its
//! bytes, it must take `Range` off the request, because parts are of what is stored. To the cache a write that was shed is
//! one of unknown outcome, which invalidates: where that matters, shed writes outside of it.
//!
//! It runs on tokio, with time enabled, as `#[tokio::main]` and `#[tokio::test]` do it; without time, nothing that should
//! end a wait does. Outside of a runtime it serves and invalidates, but nothing goes on in the background: misses are not
//! coalesced, what is stale is waited for, a dropped write is not run to its end.
//!
//! A call to the inner service is polled by the request it is for, with whatever that has around it (task-locals, spans),
//! until others wait for it, too: then it goes on in a task of the cache's. Bodies that are being stored are read in such a
//! task always. [`CacheHandle::shutdown`] ends these tasks.
//!
//! # What it does not do
//!
//! Requests for parts of what is not stored are not shared: each goes to the inner service, and only what it brings is
//! stored. A variant that was negotiated for one request serves those that ask for the same, not those
//! that would take it, too: only the origin knows what it prefers.
//!
//! A resource is a path as it was received, byte for byte: a handler that takes `/a%62` and `/ab` for the same thing must
//! redirect or refuse all spellings but one, or name the others by [`also_invalidate`](CacheLayer::also_invalidate).
//!
//! A host is what `Host` or the target says, without the default port where the scheme is known: where clients come by
//! several names, or over HTTP/1.1 with `:443`, make it one site by [`Authority::fixed`](key::Authority::fixed). A write
//! without a valid host, or for which the key hook declines, names no resource: it invalidates nothing and is logged.
//!
//! It does not see what a handler reads besides the URI. A response that depends on a request field must say so by `Vary`
//! (a reflected `Origin` too), or the field must be part of the [key](CacheLayer::key); the same goes for
//! `X-Forwarded-Host`, `X-Original-URL` and their like, unless they are stripped before. What is stored is replayed whole:
//! `Alt-Svc`, `Clear-Site-Data` and `Strict-Transport-Security` included. A GET's content is unknown to it where HTTP/2
//! lets it come unannounced. Nobody can clear it over HTTP: mount a route that calls [`CacheHandle`] if you want that.

pub mod backend;
mod body;
pub mod clock;
mod config;
mod error;
mod flight;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod key;
mod layer;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod random;
mod semantics;
mod service;
mod state;
pub mod stats;
mod sync;
mod wait;
mod write_info;

pub use body::response::ResponseBody;
pub use error::BoxError;
pub use handle::{CacheHandle, InvalidationError};
pub use layer::{CacheLayer, InvalidOption};
pub use semantics::cache_control::RequestDirective;
pub use semantics::freshness::Ttl;
pub use service::{Cache, ResponseFuture};
pub use state::background::ShutdownReport;
pub use write_info::WriteInfo;

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
