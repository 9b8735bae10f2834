//! An origin behind HTTP as a plain tower service (feature `proxy`; `proxy-tls` for `https://`).
//!
//! ```no_run
//! # use std::time::Duration;
//! # use tower::Layer;
//! # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
//! use tower_response_cache::proxy::{AnswerErrors, ReverseProxy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let origin = ReverseProxy::new("http://127.0.0.1:8000")?.connect_timeout(Duration::from_secs(2));
//! let cached = AnswerErrors::new(CacheLayer::new(MemoryBackend::default()).layer(origin));
//! # Ok(())
//! # }
//! ```
//!
//! `cached` is a service for hyper's `TowerToHyperService`; `examples/proxy` is a whole server around it.
//!
//! # What is forwarded
//!
//! Requests go to the upstream with their method, path and query as they were received, byte for byte. Fields of the connection
//! are removed both ways, with those that `Connection` names (RFC 9110 §7.6.1), and [`Via`](ReverseProxy::name) is added
//! both ways (§7.6.3). `Forwarded`, `X-Forwarded-*` and `X-Real-IP` of a request are removed unless they are
//! [trusted](ReverseProxy::trust_forwarded): an origin that believes them would let anybody poison what is cached.
//!
//! Bodies stream both ways, at the pace of who reads them, trailers with them. A client's `Expect: 100-continue` is the
//! origin's to answer: its content is asked for when the origin asks, or says nothing for a second. WebSockets pass
//! (HTTP/1.1); other upgrades are ignored, as RFC 9110 §7.8 allows: `h2c` is a way around whoever forwards it.
//!
//! An origin is told by `Via` that a proxy asks. nginx then compresses nothing, unless `gzip_proxied any` says otherwise.
//!
//! Targets of HTTP/2 have a scheme, which is part of a cache key; those of HTTP/1.1 have none. Nobody behind a `ReverseProxy`
//! is told it: give the cache a key [without](crate::key::KeyParts::without_scheme) it, and both share what is stored.
//!
//! # What fails
//!
//! A request that cannot be forwarded, because its target or its host is not sound, is answered 400; an origin that fails
//! is a [`ProxyError`], so that a cache around it may let something stale answer. [`AnswerErrors`] makes it a 502 or 504
//! with the reason in `Proxy-Status` (RFC 9209).
//!
//! A request is sent a second time only where nothing of the first one was: when the pooled connection that it was to take
//! turned out to be closed.

mod body;
mod client;
mod edge;
mod error;
mod expect;
mod fields;
mod idle;
mod target;
#[cfg(feature = "proxy-tls")]
mod tls;
mod tunnel;
mod upload;
mod upstream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::error::BoxError;

pub use body::ProxyBody;
pub use edge::{AnswerErrors, Answering};
pub use error::{InvalidUpstream, ProxyError, ProxyErrorKind};
pub use fields::{Forwarding, Peer};
pub use target::HostPolicy;

use client::{Client, Limits};
use expect::Expectation;
use fields::Fields;
use target::Target;
use tunnel::Tunnel;
use upload::{Turn, upload};
use upstream::Upstreams;

/// What this crate calls itself.
const NAME: &str = "tower-response-cache";

/// Forwards requests to an origin; see the [module](self).
///
/// Clones share their connections.
#[derive(Clone, Debug)]
pub struct ReverseProxy(Arc<Proxy>);

/// Shared: a cache in front clones what it holds for every request, hits included.
#[derive(Clone, Debug)]
struct Proxy {
    upstreams: Upstreams,
    fields: Fields,
    host: HostPolicy,
    limits: Limits,
    /// Made anew when its limits change: nothing is connected before the first request.
    client: Client,
}

impl ReverseProxy {
    /// Forwards to the upstream at `url`: `http://HOST[:PORT][/PATH]`, or `https://` with the feature `proxy-tls`. What has
    /// a path comes before that of each request.
    ///
    /// # Errors
    ///
    /// If that is no such URL.
    pub fn new(url: &str) -> Result<Self, InvalidUpstream> {
        let limits = Limits::default();
        Ok(Self(Arc::new(Proxy {
            upstreams: Upstreams::new(url)?,
            fields: Fields::default(),
            host: HostPolicy::default(),
            client: Client::new(&limits),
            limits,
        })))
    }

    /// Forwards what begins with `prefix`, a path of whole segments, to another upstream. The longest prefix counts; it
    /// stays part of the path.
    ///
    /// # Errors
    ///
    /// If `prefix` does not begin with `/`, or `url` is not one for [`new`](Self::new).
    pub fn upstream(mut self, prefix: &str, url: &str) -> Result<Self, InvalidUpstream> {
        self.proxy().upstreams.add(prefix, url)?;
        Ok(self)
    }

    /// Which `Host` the upstream is told. Default: the client's.
    #[must_use]
    pub fn host(mut self, policy: HostPolicy) -> Self {
        self.proxy().host = policy;
        self.limited(|limits| limits.may_negotiate = policy == HostPolicy::Upstream)
    }

    /// The name in `Via`. Default: `tower-response-cache`.
    ///
    /// # Panics
    ///
    /// If it is not a token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.proxy().fields.name(name);
        self
    }

    /// Tells the upstream who asked, with which host, by which scheme; the address where the request has a
    /// [`Peer`]. Default: nothing.
    ///
    /// These fields are in no cache key: what depends on them must not be cached, or must `Vary` by them.
    #[must_use]
    pub fn forwarding(mut self, forwarding: Forwarding) -> Self {
        self.proxy().fields.forwarding = forwarding;
        self
    }

    /// Leaves `Forwarded`, `X-Forwarded-*` and `X-Real-IP` of a request as they are, and adds to them: for where a proxy of
    /// one's own is in front that sets them. Default: they are removed.
    #[must_use]
    pub fn trust_forwarded(mut self) -> Self {
        self.proxy().fields.trusts = true;
        self
    }

    /// How long connecting may take, the name's lookup and TLS included. Default: 5 s.
    #[must_use]
    pub fn connect_timeout(self, time: Duration) -> Self {
        self.limited(|limits| limits.connect = time)
    }

    /// How long the upstream may take for the head of its answer, from when the request or the last of its content was
    /// handed on. Default: 30 s.
    #[must_use]
    pub fn head_timeout(self, time: Duration) -> Self {
        self.limited(|limits| limits.head = time)
    }

    /// How long the upstream may pause in the content of an answer. Default: 60 s. Its end is an error of the body.
    #[must_use]
    pub fn idle_timeout(self, time: Duration) -> Self {
        self.limited(|limits| limits.idle = time)
    }

    /// How many idle connections are kept to each upstream, and for how long. Default: 128, 30 s.
    ///
    /// How many are in use is bounded by whoever calls: put a `ConcurrencyLimit` between the cache and this.
    #[must_use]
    pub fn pool(self, most_idle: usize, time: Duration) -> Self {
        self.limited(|limits| (limits.most_idle, limits.kept) = (most_idle, time))
    }

    /// The largest head that the upstream may answer with, in bytes. Default: 64 KiB; at least 8 KiB.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        self.limited(|limits| limits.largest_head = bytes.max(8 * 1024))
    }

    /// Speaks HTTP/2 with every upstream: by prior knowledge with `http://`. Default: HTTP/1.1; with `https://` what both
    /// prefer, where the [host](Self::host) is the upstream's.
    ///
    /// The host is then the upstream's: connections are shared by all hosts, and `:authority` is theirs.
    #[must_use]
    pub fn http2_only(self) -> Self {
        self.host(HostPolicy::Upstream)
            .limited(|limits| limits.http2_only = true)
    }

    /// How `https://` upstreams are spoken to. Default: TLS 1.2 and 1.3 by ring, trusting what the system trusts when the
    /// first `ReverseProxy` is made. ALPN is set here, whatever `config` says.
    #[cfg(feature = "proxy-tls")]
    #[must_use]
    pub fn tls(self, config: rustls::ClientConfig) -> Self {
        let mut config = config;
        config.alpn_protocols.clear();
        self.limited(|limits| limits.tls = Some(config))
    }

    fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        let proxy = self.proxy();
        change(&mut proxy.limits);
        proxy.client = Client::new(&proxy.limits);
        self
    }

    fn proxy(&mut self) -> &mut Proxy {
        Arc::make_mut(&mut self.0)
    }
}

/// What a [`ReverseProxy`] comes to.
pub type ProxyFuture =
    Pin<Box<dyn Future<Output = Result<Response<ProxyBody>, ProxyError>> + Send>>;

impl<B> tower_service::Service<Request<B>> for ReverseProxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ProxyBody>;
    type Error = ProxyError;
    type Future = ProxyFuture;

    /// Always ready: what bounds it stands in front of it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProxyFuture {
        let proxy = self.0.clone();
        Box::pin(async move { proxy.forward(request).await })
    }
}

impl Proxy {
    async fn forward<B>(&self, mut request: Request<B>) -> Result<Response<ProxyBody>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let target = match target::checked(&mut request) {
            Ok(target) => target,
            Err(why) => return Ok(why.answer()),
        };
        let tunnel = tunnel::wanted(&mut request);
        self.fields
            .of_request(&mut request, &target, tunnel.is_some());
        self.place(&mut request, &target)?;
        let expectation = Expectation::of(&mut request);
        let turn = Turn::upstreams();
        let idle = self.limits.idle;
        let request = request.map(|body| upload(body, turn.clone(), idle, expectation.as_ref()));
        let answer = self.client.send(request, &turn, self.limits.head).await?;
        let answered = expectation.map(Expectation::answered);
        let answer = self.received(answer, tunnel)?;
        Ok(answer.map(|body| ProxyBody::new(body, idle, answered)))
    }

    /// Says where a request goes.
    fn place<B>(&self, request: &mut Request<B>, target: &Target) -> Result<(), ProxyError> {
        let (uri, host) = self.upstreams.place(target, self.host)?;
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        match self.limits.http2_only {
            // It is `:authority` there.
            true => headers.remove(HOST),
            false => headers.insert(HOST, host),
        };
        if self.limits.http2_only || (is_secure && self.limits.may_negotiate) {
            // hyper takes what it names off HTTP/2, `TE` too, which is none of a connection there (RFC 9113 §8.2.2).
            headers.remove(CONNECTION);
        }
        Ok(())
    }

    fn received(
        &self,
        mut answer: Response<Incoming>,
        tunnel: Option<Tunnel>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let headers = answer.headers();
        if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
            return Err(ProxyErrorKind::Protocol.because("its length is given twice"));
        }
        if length_of(headers) > self.limits.largest_head {
            return Err(ProxyErrorKind::Protocol.because("its head is too large"));
        }
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches {
            match tunnel.filter(|tunnel| tunnel.is_agreed(&answer)) {
                Some(tunnel) => tunnel.connect(&mut answer),
                None => {
                    return Err(ProxyErrorKind::Protocol.because("an upgrade nobody asked for"));
                }
            }
        }
        let (mut head, body) = answer.into_parts();
        self.fields.of_answer(&mut head, switches);
        Ok(Response::from_parts(head, body))
    }
}

/// About as long as it was on the wire.
fn length_of(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    lines.fold(0, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + 4
    })
}

/// RFC 9110 §5.6.2
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

fn text(value: impl std::fmt::Display) -> Option<HeaderValue> {
    HeaderValue::try_from(value.to_string()).ok()
}
