//! An HTTP response cache as one tower layer.
//!
//! [`CacheLayer`] wraps any `Service<Request<_>, Response = Response<_>>`: an axum `Router`, a
//! hyper service, a reverse proxy. The inner service needs no changes. GET responses are stored in
//! a [`Backend`](backend::Backend), in memory or in Redis, by the rules of RFC 9111 for shared
//! caches. A write (POST, PUT, PATCH, DELETE) invalidates its [resource](key::Resource), which is
//! every stored response of its path, before its response is returned.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//!
//! let cache = CacheLayer::new(MemoryBackend::default())
//!     .ttl(Duration::from_secs(60))
//!     .empty_request_body(axum::body::Body::empty);
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello").put(async || "changed"))
//!     .layer(cache);
//! ```
//!
//! # How a request is served
//!
//! 1. **A read.** A GET or HEAD is looked up by its cache key (authority, path and query) and by
//!    the request fields that the stored response names in `Vary`. A fresh response is returned
//!    without touching the inner service. It also answers conditional requests (`If-None-Match`,
//!    `If-Modified-Since`) and range requests.
//! 2. **A miss.** The inner service is called. Concurrent misses of one key share the call: the first
//!    reads the body as it arrives, the others once it is whole, or has kept coming for 5 seconds. The
//!    response is stored while it streams to its clients.
//! 3. **A stale response.** It is validated with the inner service, and a 304 makes it fresh again.
//!    If the 304 does not fit, the request is repeated without the cache's conditions; for axum's
//!    body type this needs [`empty_request_body`](CacheLayer::empty_request_body).
//!    It is returned without validation only if its own directives, an
//!    [option](CacheLayer#stale-responses) or the request (`max-stale`, `stale-if-error`) allow
//!    that.
//! 4. **A write.** The inner service is called. Unless it rejects the write, as with a 4xx, the
//!    target and the resources that the response names in `Location` and `Content-Location`, and
//!    a COPY or MOVE in `Destination`, are then invalidated, and once more where the response ends
//!    later than its head. Responses to earlier reads that are still arriving for them are not stored.
//!    [`WriteOutcome`] has the rules.
//! 5. **Everything else** bypasses the cache: other safe methods, upgrades, GETs with content.
//!
//! Every response says which of these happened in its `Cache-Status` field (RFC 9211), unless
//! [`cache_status`](CacheLayer::cache_status) is off.
//!
//! # Where to start
//!
//! * [`CacheLayer`] has all options, grouped by topic.
//! * [`CacheHandle`] invalidates, clears and reads [statistics](stats::Stats) from your code.
//! * [`backend`] has the stores: [`MemoryBackend`](backend::MemoryBackend) for one process,
//!   `RedisBackend` (feature `redis`) for several that share one cache,
//!   [`Guarded`](backend::Guarded) for timeouts and a circuit breaker around a remote one, and the
//!   contract for your own.
//! * `CacheLayer::compress` (feature `compress`) compresses stored responses once.
//! * [`key`] decides which requests share a stored response.
//! * `proxy` (feature `proxy`) forwards to an HTTP origin; with a server around it this is a
//!   caching reverse proxy, as in `examples/proxy`.
//!
//! # Promises
//!
//! * **No stale read after a write.** Once the head of a successful write has been returned, no
//!   later request for its resource is answered with older data, not even from a call that was
//!   already running. In one process this holds for every write that has a cache key (see
//!   [Limits](#limits)). A write that panics or is answered 5xx invalidates, too; a write whose
//!   client left invalidates when it ends. Instances that share a Redis keep the promise as long as
//!   Redis acknowledges invalidations; [`Guarded`](backend::Guarded) documents what happens
//!   otherwise.
//! * **One call per key.** Concurrent misses of a key share one call to the inner service. No
//!   client can cancel it for the others, none reads for another, and a call that brings no
//!   whole response in [time](CacheLayer::coalesce_takeover_timeout) is joined by a second one.
//!   A response that may not be stored is never shared, and its key is remembered for
//!   [a while](CacheLayer::uncacheable_ttl), so that later requests do not queue. While the backend
//!   fails, a request joins a call only before the call has started: concurrent misses of a key then
//!   make at most two calls.
//! * **Stale only where allowed.** [`stale_while_revalidate`](CacheLayer::stale_while_revalidate),
//!   [`stale_if_error`](CacheLayer::stale_if_error) and
//!   [`stale_if_unreachable`](CacheLayer::stale_if_unreachable) have bounds, and directives that
//!   forbid stale use win. A response that a write invalidated is removed, not stale.
//! * **A broken cache is a slow cache, never a broken response.** While the backend fails, reads
//!   are misses whose responses are not stored. Failures are counted and logged.
//! * **Safe defaults.** Not stored: responses with `Set-Cookie`; responses to requests with
//!   `Authorization`, unless the response says `public`, `s-maxage` or `must-revalidate`; responses
//!   to requests with `Cookie`, unless the response states its lifetime; endless streams such as
//!   `text/event-stream`.
//! * **A good tower citizen.** The error type is the inner service's. A hit does not wait for the
//!   inner service to be ready. Bodies are streamed.
//!
//! # Writes, write-through and groups
//!
//! Invalidation on write is always on. [`also_invalidate`](CacheLayer::also_invalidate) names
//! further resources that a write affects, such as a list.
//! [`write_through`](CacheLayer::write_through) stores the response of a write, so that the next
//! GET is a hit.
//!
//! A group (RFC 9875) is a set of responses that are invalidated together. An origin puts a
//! response into groups with `Cache-Groups`, and invalidates groups with `Cache-Group-Invalidation`
//! on the response to a write. [`CacheHandle::invalidate_group`] invalidates a group from your
//! code.
//!
//! # Where it belongs in a stack
//!
//! The cache is always ready, so that hits are served while the inner service is saturated.
//! Therefore place *inside* the cache:
//!
//! * `LoadShed`, `ConcurrencyLimit`, `RateLimit`, and `Timeout`. A write that is shed inside the
//!   cache has an unknown outcome and therefore invalidates its resource. To avoid that, shed
//!   writes outside of the cache.
//! * Compression, so that compressed bytes are stored. Outside, every hit would be compressed
//!   again. Better is `CacheLayer::compress` (feature `compress`) and no layer for it: one response
//!   is stored for all clients, and each form of it is made once.
//!
//! Place *outside* of the cache every layer that changes a response for one client. Such a layer
//! must remove `Range` from the request if it changes the bytes of a body, because the cache cuts
//! ranges from the stored bytes.
//!
//! On axum, add the layer outside of `nest`. A nested router sees the path without its prefix: two
//! nested routers under one layer would share cache keys. If the layer must be inside, give each
//! mount a [`scope`](CacheLayer::scope), or restore the path with [`key_by`](CacheLayer::key_by):
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
//! On hyper, use it behind `TowerToHyperService`:
//!
//! ```no_run
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::{server::conn::auto::Builder, service::TowerToHyperService};
//! use std::convert::Infallible;
//! use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//!
//! async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
//!     let service = tower::ServiceBuilder::new()
//!         .layer(CacheLayer::new(MemoryBackend::default()))
//!         .service_fn(async |_| Ok::<_, Infallible>(http::Response::new("hello".to_owned())));
//!     loop {
//!         let stream = TokioIo::new(listener.accept().await?.0);
//!         let service = TowerToHyperService::new(service.clone());
//!         tokio::spawn(async move {
//!             Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
//!         });
//!     }
//! }
//! ```
//!
//! Around an HTTP client, put the scheme into the key, and keep hosts apart. Without the scheme,
//! requests reach the client [in origin form](CacheLayer#keys), and hyper-util's ends each that is
//! not answered from the store with `UserAbsoluteUriRequired`. It is a shared cache all the same:
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_response_cache::{CacheLayer, backend::MemoryBackend, key::Sites};
//!
//! let layer = CacheLayer::new(MemoryBackend::default())
//!     .sites(Sites::ByAuthority)
//!     .key_by(|request, key| Some(key.with_scheme(request.uri.scheme_str()?)));
//! let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
//! let client = tower::ServiceBuilder::new().layer(layer).service(client);
//! # let _ = client;
//! ```
//!
//! # Runtime
//!
//! Run the cache in a tokio runtime with time enabled, as `#[tokio::main]` and `#[tokio::test]`
//! create it. In a runtime without time, the first timeout panics. Without any runtime the cache
//! still serves and invalidates, but it has no timeouts and no background work: misses are not
//! coalesced, stale responses are validated before use, and a write whose client leaves is dropped.
//!
//! A call to the inner service is polled by the task of the request that needs it, with that task's
//! spans and task-locals. As soon as another request waits for the call, too, it moves to a
//! background task of the cache. A body that is stored is always read by a background task.
//! [`CacheHandle::shutdown`] ends these tasks.
//!
//! # Limits
//!
//! * **Requests for ranges of a response that is not stored** are not coalesced. Each goes to the
//!   inner service, and the part it returns is [stored](CacheLayer::store_parts).
//! * **Content negotiation.** A stored variant is used only for requests with the same values in
//!   the fields of `Vary`. A request with other values that would also accept the variant is a
//!   miss, because only the origin knows its preferences.
//! * **Paths** of cache keys are compared byte for byte: `/a%62` and `/ab` are two stored
//!   responses. A write invalidates both, because they are one [resource](key::Resource). A handler
//!   that ignores more than the normal form of a path does, such as letter case or a slash at the
//!   end, must redirect or refuse all spellings but one, or name the others with
//!   [`also_invalidate`](CacheLayer::also_invalidate).
//! * **Hosts.** The authority of a request is that of its target, or else its `Host`. Responses are
//!   never shared between two hosts; if clients use several names for one site and no response
//!   depends on the name, [`Authority::fixed`](key::Authority::fixed) lets them share. Where hosts
//!   are different sites, set [`Sites::ByAuthority`](key::Sites::ByAuthority). A write with an
//!   invalid host is refused with 400 (Bad Request). A write for which the
//!   [key hook](CacheLayer::key) returns `None` has no cache key: it invalidates nothing, and a
//!   warning is logged.
//! * **Hidden inputs.** The cache does not see which request fields a handler reads. A response
//!   that depends on a field must name it in `Vary`, or the field must be part of the
//!   [key](CacheLayer::key). This includes a reflected `Origin`, and `X-Forwarded-Host` and
//!   similar fields unless they are removed before. Requests with `X-HTTP-Method-Override`,
//!   `X-Original-URL` and the like bypass the cache: see
//!   [`bypass_fields`](CacheLayer::bypass_fields). Hidden inputs also include the
//!   target in an extension, such as axum's `OriginalUri`, which shows the scheme and the spelling
//!   of the host that one client chose: see
//!   [`on_rewritten_target`](CacheLayer::on_rewritten_target). A GET with content bypasses the
//!   cache only if its head announces the content, which HTTP/2 does not require.
//! * **Connection-wide response fields** are stored and replayed like others: `Alt-Svc`,
//!   `Clear-Site-Data`, `Strict-Transport-Security`.
//! * **No purge over HTTP** on the way of requests. The feature `admin` has a service of its own for
//!   operators, `admin::Admin`, with a page, metrics and invalidation; or add a route that calls
//!   [`CacheHandle`].

#[cfg(feature = "admin")]
pub mod admin;
pub mod backend;
mod body;
pub mod clock;
mod config;
mod error;
/// What a cache would do with a request, and why: see [`CacheHandle::explain`].
pub mod explain {
    pub use crate::semantics::storing::LifetimeRule;
    pub use crate::service::explain::{
        ExplainedKey, ExplainedLookup, ExplainedResponse, Explanation, Note, SelectingField,
        Verdict,
    };
}
mod flight;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod key;
mod layer;
mod options;
mod policy;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod random;
mod request_body;
mod semantics;
mod service;
mod shares;
mod state;
pub mod stats;
mod sync;
#[cfg(feature = "test-util")]
pub mod testing;
mod timeout;
mod write_info;

pub use body::response::ResponseBody;
pub use error::{BodyError, BoxError};
pub use handle::{CacheHandle, InvalidationError, Invalidator};
pub use layer::{CacheLayer, InvalidOption};
#[cfg(feature = "serde")]
pub use options::CacheOptions;
pub use options::Rules;
pub use policy::CachePolicy;
pub use request_body::RequestContent;
pub use semantics::bypass_fields::DEFAULT_BYPASS_FIELDS;
pub use semantics::cache_control::RequestDirective;
#[cfg(feature = "compress")]
pub use semantics::content_coding::Coding;
pub use semantics::freshness::Ttl;
pub use semantics::reason::WriteOutcome;
pub use semantics::request_kind::DEFAULT_CREDENTIAL_FIELDS;
pub use service::{Cache, ResponseFuture};
pub use state::background::ShutdownReport;
pub use write_info::WriteInfo;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the code of the guide for tests.
#[cfg(all(doctest, feature = "test-util"))]
#[doc = include_str!("../docs/testing.md")]
struct TestingGuide;
