//! An HTTP origin as a plain tower service (feature `proxy`; `proxy-tls` for `https://`).
//!
//! [`ReverseProxy`] forwards requests to an upstream. [`CanonicalRequestLayer`] gives each request
//! one form, and [`ErrorResponder`] turns the errors of a stack into responses. With a cache
//! between them they are a caching reverse proxy:
//!
//! ```no_run
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};
//! use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream = ReverseProxy::new("http://127.0.0.1:8000")?
//!     .connect_timeout(Duration::from_secs(2));
//! let cached = ServiceBuilder::new()
//!     .layer(ErrorResponderLayer::new())
//!     .layer(upstream.request_layer())
//!     .layer(CacheLayer::new(MemoryBackend::default()))
//!     .service(upstream);
//! # Ok(())
//! # }
//! ```
//!
//! `cached` is a service for hyper's `TowerToHyperService`. `examples/proxy` is a whole server
//! around it.
//!
//! # The way of a request
//!
//! ```text
//!  client's request
//!        |
//!   check target, Host and framing --------------> 400, 501 or 204, no upstream involved
//!   normalize host, target and cookies,
//!   remove hop-by-hop and untrusted fields,
//!   add Via (and Forwarded, X-Forwarded-*)
//!        |
//!     (cache) -----------------------------------> a stored response
//!        |
//!   choose the upstream by path prefix,
//!   and its server; set URI and Host
//!        |
//!   collect small content -----------------------> 400 or 408 if the client breaks it off
//!        |
//!   take a pooled connection or connect ---------> ProxyError: Dns, Connect, Tls, ConnectTimeout
//!        |
//!   stream other content, at once or after
//!   100 (Continue) ------------------------------> 400 or 408 if the client breaks it off and the
//!        |                                         upstream does not answer
//!   wait for the response's head ----------------> ProxyError: HeadTimeout, Terminated, Protocol
//!        |
//!   101: connect the WebSocket's two sides
//!   remove hop-by-hop fields, add Via,
//!   translate Location
//!        |
//!   Response<ProxyBody>, streamed ---------------> an error of the body
//! ```
//!
//! # Forwarded messages
//!
//! Method, path and query are forwarded as they were received, byte for byte. A path that may lead
//! out of its [upstream](ReverseProxy::upstream) is answered 400. The host is forwarded
//! in normal form: in lower case, without the dot of the root and the default port. Hop-by-hop
//! fields and the fields that `Connection` names (RFC 9110 §7.6.1) are removed from requests and
//! responses, and [`Via`](ReverseProxy::name) is added to both (§7.6.3). `Forwarded`,
//! `X-Forwarded-*`, `X-Real-IP`, `X-Original-URL` and similar fields of a request are removed
//! unless they are [trusted](ReverseProxy::trust_forwarded): if the upstream used them, any client
//! could poison the cache.
//!
//! All this happens in [`request_layer`](ReverseProxy::request_layer), before a cache makes the
//! key: a field that is in no key and no `Vary` does not reach the upstream. A proxy without that
//! layer does it itself.
//!
//! `Location`, `Content-Location` and `Refresh` of a response are translated from the upstream's
//! name space into the clients', like nginx does with `proxy_redirect default`: a reference to the
//! upstream's own URL becomes an absolute path, and the path of that URL is taken off. So clients
//! can follow it, and the cache invalidates its target (RFC 9111 §4.4). References to other
//! hosts stay as they are, and so do those in `Link` and in documents.
//!
//! `Destination` of COPY and MOVE (WebDAV) is a URI in the clients' name space. The cache invalidates
//! what it names; the upstream gets it as it is, as `Referer` and `Origin`. So an upstream of WebDAV
//! needs the name space of its clients: [`HostPolicy::Preserve`], no path in its URL, and a scheme
//! that it [is told](ReverseProxy::forwarding) or does not compare.
//!
//! Bodies are streamed in both directions with backpressure, trailers included. `Expect:
//! 100-continue` is forwarded: the proxy requests the content from the client when the upstream
//! requests it, or after one second without an answer. Other informational responses, such as 103
//! (Early Hints), are dropped: hyper's server cannot send them. None of them is taken for the
//! response, or stored. A 205 (Reset Content) has no content (RFC 9110 §15.3.6): what an upstream
//! sends with it is dropped. WebSockets are forwarded
//! (HTTP/1.1). Other upgrades are ignored, as RFC 9110 §7.8 allows: `h2c` would bypass the proxy.
//!
//! `Via` tells the upstream that a proxy is asking. nginx then does not compress unless it is
//! configured with `gzip_proxied any`.
//!
//! The scheme is not forwarded, and no part of the cache key: clients of HTTP/1.1 and HTTP/2 share
//! stored responses. Where [`forwarding`](ReverseProxy::forwarding) tells it, or the host,
//! [`ForwardedClaims`] puts that into the key.
//!
//! # Failures
//!
//! A request with an invalid target, host or framing is answered 400, one with too many header
//! fields 431, `CONNECT` 501, and `PURGE` 405: a client must not empty the cache of an upstream that
//! understands it. A failed upstream is a [`ProxyError`], so that a cache around the proxy can
//! serve a stale response instead. [`ErrorResponder`] answers the error with the status of its
//! [kind](ProxyErrorKind::status), 502 or 504 for a failed upstream, and the reason in
//! `Proxy-Status` (RFC 9209).
//!
//! A write whose client breaks its content off is judged by its end, like any other: the upstream
//! may act on the head alone. Its answer counts if it comes within
//! [`broken_upload_timeout`](ReverseProxy::broken_upload_timeout).
//!
//! A request is sent again where that is safe: see [repetition](ReverseProxy#repetition). One that
//! comes back to the proxy is answered 508 (RFC 9110 §7.6.3).

// Direction: `field_value, dns_error <- body <- error <- headers, websocket <- upstream <-
// canonical <- forward <- reverse_proxy`; `error_log` and `error_responder` beside them. Nothing
// here knows the cache; `semantics`, `key`, `clock` and `error` are all that is used of this crate.
// Start reading at `forward`.

mod body;
mod cache_key;
mod canonical;
mod config_error;
mod dns_error;
mod error;
mod error_log;
mod error_responder;
mod field_value;
mod forward;
mod headers;
mod reverse_proxy;
mod upstream;
mod websocket;

pub use body::places::LoadStats;
pub use body::response::ProxyBody;
pub use cache_key::ForwardedClaims;
pub use canonical::forwarded_fields::{Forwarding, Peer};
pub use canonical::layer::{
    CanonicalBody, CanonicalRequest, CanonicalRequestFuture, CanonicalRequestLayer,
};
pub use config_error::{InvalidProxyOption, InvalidUpstream};
pub use error::{ProxyError, ProxyErrorKind};
pub use error_responder::{ErrorResponder, ErrorResponderFuture, ErrorResponderLayer};
pub use reverse_proxy::{ProxyFuture, ReverseProxy};
pub use upstream::health::HealthCheck;
pub use upstream::routes::HostPolicy;
