//! The public service and its options.
//!
//! Knows [`Forwarder`], which does the work. Start reading there.

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::error::BoxError;
use crate::stats::{OriginLoad, OriginMonitor};

use super::body::places::LoadStats;
use super::body::response::ProxyBody;
use super::canonical::forwarded_fields::Forwarding;
use super::canonical::layer::CanonicalRequestLayer;
use super::config_error::{InvalidProxyOption, InvalidUpstream, or_panic};
use super::error::ProxyError;
use super::forward::Forwarder;
use super::upstream::addresses::Resolver;
use super::upstream::health::{HealthCheck, check_servers};
use super::upstream::options::ClientOptions;
use super::upstream::routes::HostPolicy;
use super::upstream::server::Condition;

/// The smallest limit for a response's head that hyper accepts.
const MIN_HEAD: usize = 8 * 1024;

/// A service that forwards requests to an HTTP upstream; see the [module](super).
///
/// It is always ready: requests beyond
/// [`max_concurrent_requests`](Self::max_concurrent_requests) wait within their call. No connection
/// is opened before the first request, which needs a tokio runtime with time and I/O enabled.
/// Clones share their connections. An option changes only the clone it is set on, and may give that
/// clone connections of its own.
#[derive(Clone, Debug)]
pub struct ReverseProxy(Arc<Forwarder>);

impl ReverseProxy {
    /// Creates a proxy for the upstream at `url`: `http://HOST[:PORT][/PATH]`, or `https://` with
    /// the feature `proxy-tls`. `/PATH` is put before the path of each request. A URL with user,
    /// password or query is not accepted.
    ///
    /// An upstream of several servers has a list of URLs, separated by commas:
    /// `http://a:8000,http://b:8000`. They have the same scheme and path, and are 64 at most. See
    /// [servers](#servers).
    ///
    /// # Errors
    ///
    /// When `url` is not such a URL or list.
    pub fn new(url: &str) -> Result<Self, InvalidUpstream> {
        Forwarder::new(url).map(|forwarder| Self(Arc::new(forwarder)))
    }

    /// Creates the layer that belongs outside a cache in front of this proxy. It has the options
    /// that the proxy has now: set [upstreams](#upstreams) and [header fields](#header-fields)
    /// first.
    ///
    /// Without it, the proxy itself makes requests canonical, which a cache in between does not
    /// see: it could store a response under fields that the upstream never got.
    #[must_use]
    pub fn request_layer(&self) -> CanonicalRequestLayer {
        CanonicalRequestLayer::new(self.0.request_rules.clone(), self.0.routes.clone())
    }
}

/// # Upstreams
///
/// ```no_run
/// use tower_response_cache::proxy::{HostPolicy, ReverseProxy};
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ReverseProxy::new("http://127.0.0.1:8000")?
///     .upstream("/api", "http://127.0.0.1:8001")?
///     .host(HostPolicy::Upstream);
/// # Ok(())
/// # }
/// ```
impl ReverseProxy {
    /// Forwards requests whose path begins with `prefix` to another upstream.
    ///
    /// `prefix` is matched by whole path segments: `/api` matches `/api` and `/api/users`, not
    /// `/apis`. The longest matching prefix wins. The prefix stays part of the forwarded path. A
    /// `/` at its end is ignored.
    ///
    /// Paths are matched in normal form: with percent-encoded characters decoded, dot segments
    /// resolved and repeated slashes merged. A path that its server might take for one of another
    /// upstream, or for one outside of the path of the upstream's URL, is answered 400: one with
    /// too many `..`, also as `%2e%2e`, `..%2f`, `..\` or `..;`, and `/api;x/users`, which some
    /// servers take for `/api/users`. If `prefix` itself has `;`, its server is expected to obey it.
    ///
    /// # Errors
    ///
    /// When `prefix` does not begin with `/`, is `/` alone, was added before, or begins no path of
    /// one upstream alone, as with `?`, `#` or `%2F`; or when `url` is not a URL for
    /// [`new`](Self::new).
    pub fn upstream(mut self, prefix: &str, url: &str) -> Result<Self, InvalidUpstream> {
        self.forwarder().add_upstream(prefix, url)?;
        Ok(self)
    }

    /// Sets the `Host` that upstreams receive. Default: [`HostPolicy::Preserve`], the client's.
    #[must_use]
    pub fn host(mut self, policy: HostPolicy) -> Self {
        self.forwarder().host_policy = policy;
        self.with_client(|options| options.negotiate_http2 = policy == HostPolicy::Upstream)
    }

    /// Translates `Path` and `Domain` of cookies that upstreams set, as `Location` is: the path of
    /// the upstream's URL is taken off, and a domain that is its own host is left out. Default:
    /// `false`.
    #[must_use]
    pub fn translate_cookies(mut self, enabled: bool) -> Self {
        self.forwarder().translate_cookies = enabled;
        self
    }

    /// Uses HTTP/2 with every upstream: by prior knowledge for `http://`, by ALPN for `https://`.
    /// Default: `false`: HTTP/1.1, except that an `https://` upstream chooses the version if
    /// [`host`](Self::host) is [`HostPolicy::Upstream`].
    ///
    /// With `true`, upstreams receive the host of their own URL, whatever [`host`](Self::host)
    /// says: requests for all hosts share connections, and `:authority` is that of the upstream.
    #[must_use]
    pub fn http2_only(self, enabled: bool) -> Self {
        self.with_client(|options| options.http2_only = enabled)
    }

    /// Names the host that the client asked for in TLS handshakes with `https://` upstreams (SNI),
    /// and demands a certificate for it, if upstreams receive that host. Default: `true`. With
    /// `false`, and with [`HostPolicy::Upstream`] or [`http2_only`](Self::http2_only), it is the host
    /// of the upstream's URL.
    ///
    /// With `true` each host has connections of its own. Beyond 1,024 connections to a server, or
    /// [`max_idle_connections`](Self::max_idle_connections) if that is more, a new one is for one
    /// request.
    #[cfg(feature = "proxy-tls")]
    #[must_use]
    pub fn tls_by_host(self, enabled: bool) -> Self {
        self.with_client(|options| options.tls_by_host = enabled)
    }

    /// Sets the TLS configuration for `https://` upstreams. The proxy sets ALPN itself and ignores
    /// that of `config`. Default: rustls with ring, TLS 1.2 and 1.3, and the root certificates that
    /// the system trusts when the first `ReverseProxy` is created.
    #[cfg(feature = "proxy-tls")]
    #[must_use]
    pub fn tls(self, mut config: rustls::ClientConfig) -> Self {
        config.alpn_protocols.clear();
        self.with_client(|options| options.tls = Some(config))
    }
}

/// # Servers
///
/// A request goes to the server of its upstream that has the fewest requests under way. If it
/// cannot be connected to, the request goes to another one, until all were tried or twice the
/// [`connect_timeout`](Self::connect_timeout) has passed. A server that
/// cannot be connected to three times in a row is ejected: it gets no request for 5 seconds, then a
/// single one, and then, if that fails too, none for twice as long, up to a minute. If all are
/// ejected, all are asked. Errors and late responses eject no server: clients could cause them.
///
/// A host name stands for all of its addresses. They are tried one after the other: the next one
/// when an attempt fails, or beside it after 250 ms ("happy eyeballs", RFC 8305). An address that
/// did not answer is tried after the others for the next 30 seconds.
///
/// # Repetition
///
/// A request is sent again, once, if the upstream has said that it did not process it (GOAWAY and
/// `REFUSED_STREAM`, RFC 9113 §8.7), or if the connection had served before and was closed before
/// any byte of a response, and the method is idempotent (RFC 9110 §9.2.2). Up to 16 KiB of its
/// content are kept for that; a request of which more was sent is not repeated.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_response_cache::proxy::ReverseProxy;
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ReverseProxy::new("http://10.0.0.1:8000,http://10.0.0.2:8000")?
///     .max_connection_age(Duration::from_secs(300));
/// # Ok(())
/// # }
/// ```
impl ReverseProxy {
    /// Sets how long the connections of a server are used before new ones replace them. Default:
    /// 60 s.
    ///
    /// Each new connection looks the host name up, so a change in DNS takes effect within this
    /// time, also under load. Requests in flight are finished on their old connections. With 0
    /// every request has a connection of its own.
    #[must_use]
    pub fn max_connection_age(self, age: Duration) -> Self {
        self.with_client(|options| options.max_connection_age = age)
    }

    /// Checks the health of all servers until the returned future is dropped: spawn it. It checks
    /// the servers of this proxy and of its clones, as its options are now.
    ///
    /// A server that fails its checks gets no request unless all servers of its upstream do. One
    /// that passes them counts as connected to. An upstream of a single server is asked whatever
    /// the checks say. A check passes with a status below 400, and a response of 64 KiB at most.
    ///
    /// ```no_run
    /// use tower_response_cache::proxy::{HealthCheck, ReverseProxy};
    ///
    /// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
    /// let proxy = ReverseProxy::new("http://10.0.0.1:8000,http://10.0.0.2:8000")?;
    /// let checks = tokio::spawn(proxy.check_health(HealthCheck::new("/healthz")));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub fn check_health(&self, check: HealthCheck) -> impl Future<Output = ()> + Send + use<> {
        check_servers(self.0.routes.servers(), check)
    }

    /// Looks host names of upstreams up by `lookup` instead of the system's resolver.
    ///
    /// It is called for each new connection; its errors are [`Dns`](super::ProxyErrorKind::Dns).
    ///
    /// ```no_run
    /// use tower_response_cache::proxy::ReverseProxy;
    ///
    /// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
    /// let proxy = ReverseProxy::new("http://shop.internal:8000")?
    ///     .resolver(|_host| async { Ok(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]) });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn resolver<F, Fut>(self, lookup: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        self.with_client(|options| options.resolver = Resolver::from_fn(lookup))
    }
}

/// # Header fields
///
/// ```no_run
/// use tower_response_cache::proxy::{Forwarding, ReverseProxy};
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ReverseProxy::new("http://127.0.0.1:8000")?
///     .name("edge-1")
///     .forwarding(Forwarding::XForwarded);
/// # Ok(())
/// # }
/// ```
impl ReverseProxy {
    /// Sets the name of this proxy in `Via` (RFC 9110 §7.6.3). Default: `tower-response-cache`.
    ///
    /// In requests a random number follows it, `1.1 tower-response-cache (1f2e3d4c)`: a request
    /// that comes back to the same proxy is answered 508, and so is one that has passed more than
    /// eight proxies of the same name.
    ///
    /// # Panics
    ///
    /// When `name` is not a token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        or_panic(self.try_name(name))
    }

    /// Sets the [`name`](Self::name) from configuration.
    ///
    /// # Errors
    ///
    /// When `name` is not a token (RFC 9110 §5.6.2).
    pub fn try_name(mut self, name: &str) -> Result<Self, InvalidProxyOption> {
        InvalidProxyOption::check_name(name)?;
        self.forwarder().request_rules.set_name(name);
        Ok(self)
    }

    /// Selects the fields that tell upstreams the client's address, the requested host and the
    /// scheme. Default: [`Forwarding::None`].
    ///
    /// The address and the scheme come from the [`Peer`](super::Peer) in the request's extensions.
    /// Without one, `Forwarded` says `for=unknown`, and `X-Forwarded-For` and `X-Forwarded-Proto`
    /// are not added. These fields are not part of the default cache key: use the key hook
    /// [`ForwardedClaims`](super::ForwardedClaims), which adds all of them but the address. Without
    /// it, a client of one host or scheme may get a redirect to another. A response that depends on
    /// the address must not be stored, or must list the field in `Vary`.
    #[must_use]
    pub fn forwarding(mut self, forwarding: Forwarding) -> Self {
        self.forwarder().request_rules.forwarding = forwarding;
        self
    }

    /// Keeps the fields by which a request claims another client, host, scheme or path, and lets
    /// [`forwarding`](Self::forwarding) add to them. Default: `false`, which removes them.
    ///
    /// These are `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `X-Host`, `X-Original-Host`,
    /// `X-Original-URL` and `X-Rewrite-URL`, also when spelled with underscores or dots.
    ///
    /// Enable it only behind a proxy of your own that sets or removes all of these fields, and put
    /// them into the cache key: see [`forwarding`](Self::forwarding).
    #[must_use]
    pub fn trust_forwarded(mut self, enabled: bool) -> Self {
        self.forwarder().request_rules.trust_forwarded = enabled;
        self
    }
}

/// # Load
///
/// ```no_run
/// use std::time::Duration;
/// use tower_response_cache::proxy::ReverseProxy;
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ReverseProxy::new("http://127.0.0.1:8000")?
///     .max_concurrent_requests(256)
///     .queue_timeout(Duration::from_secs(2))
///     .min_upload_rate(2048)
///     .min_download_rate(2048)
///     .rate_window(Duration::from_secs(30));
/// # Ok(())
/// # }
/// ```
impl ReverseProxy {
    /// Sets how many requests are with the upstreams at a time. Default: 1,024. Others wait for
    /// [`queue_timeout`](Self::queue_timeout). With 0 no request is forwarded.
    ///
    /// A [client](super::Peer) takes another one only while it has fewer than are free: about half of
    /// them at most, so that one whose requests hang does not hold up others. Clients that are not
    /// known take any that is free, as all do with [`trust_forwarded`](Self::trust_forwarded): there
    /// the peer is a proxy of your own.
    ///
    /// A request counts from its first byte to the upstream until its response was read to the end.
    /// One with content of a known length counts only when that has arrived, up to
    /// [`max_buffered_upload`](Self::max_buffered_upload). At most as many requests, but 1,024 at
    /// least, wait for that at once; one more ends another, as below.
    ///
    /// A request whose client is slow does not count: slow clients do not hold up others. It is slow
    /// once the proxy has waited for it for 100 ms in sum, to send content or to read the response,
    /// and fast again after 64 KiB within a second. Of these requests there are at most as many; one
    /// more ends another: the oldest of the [client](super::Peer) that has most of them. An upload
    /// is answered 408 then, and a response breaks off. Content that has become whole is sent on
    /// only when the request counts again: it waits for [`queue_timeout`](Self::queue_timeout) at
    /// most. [`load_stats`](Self::load_stats) counts all of these.
    ///
    /// Clones share the count; set it before they are made.
    #[must_use]
    pub fn max_concurrent_requests(mut self, max: usize) -> Self {
        let places = self.0.places.with_max(max);
        self.forwarder().places = places;
        self
    }

    /// Sets how many requests are with the upstreams at a time before their content is whole.
    /// Default: half of [`max_concurrent_requests`](Self::max_concurrent_requests). Others wait for
    /// [`queue_timeout`](Self::queue_timeout). With 0 only content that is
    /// [collected](Self::max_buffered_upload) is forwarded.
    ///
    /// An upstream whose workers take a request each is held by its slow clients, also by those that
    /// do not count for `max_concurrent_requests`. Set both to less than it has workers, and it
    /// always has some for others. A [client](super::Peer) has about half of these at most, too.
    /// Clones share the count; set it before they are made.
    #[must_use]
    pub fn max_uploads(mut self, max: usize) -> Self {
        let places = self.0.places.with_max_uploads(max);
        self.forwarder().places = places;
        self
    }

    /// Sets the longest content that is collected before its request is sent, in bytes. Default:
    /// 65,536 (64 KiB). With 0 none is.
    ///
    /// So upstreams do not wait for the client, however slow it is: such content is whole when its
    /// request has a place, and takes none of [`max_uploads`](Self::max_uploads). A client that
    /// breaks it off, or is slower than [`min_upload_rate`](Self::min_upload_rate), is answered
    /// without an upstream. Content is streamed that is longer, of unknown length, or announced
    /// with `Expect: 100-continue`, where the upstream decides whether it is sent.
    ///
    /// At most as many requests as may wait for the beginning of their content are collected at
    /// once, 1,024 by default, and 64 MiB with that.
    #[must_use]
    pub fn max_buffered_upload(self, bytes: u64) -> Self {
        self.with_client(|options| options.max_buffered_upload = bytes)
    }

    /// Sets the longest wait of a request for its turn. Default: 10 s. With 0 none waits.
    ///
    /// A request that waits for longer is not sent and fails with
    /// [`Overloaded`](super::ProxyErrorKind::Overloaded), which is answered 503. One with an unsafe
    /// method is answered so by the proxy itself, so that a cache takes the write for rejected.
    #[must_use]
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.forwarder().places.queue_timeout = timeout;
        self
    }

    /// Sets the longest pause of a response's reader. Default: 60 s.
    ///
    /// The time runs from one frame of the body until the next one is asked for. A longer pause
    /// gives the connection to the upstream up, and the body ends with an error. A response that has
    /// arrived as a whole has no timeout.
    #[must_use]
    pub fn reader_timeout(self, timeout: Duration) -> Self {
        self.with_client(|options| options.reader_timeout = timeout)
    }

    /// Sets the lowest rate at which clients may send content, in bytes per second. Default: 512.
    /// With 0 there is none.
    ///
    /// It is averaged over the time for which the proxy has waited for the client, by
    /// [`rate_window`](Self::rate_window). A slower upload is broken off like one that pauses for
    /// longer than [`idle_timeout`](Self::idle_timeout), and answered 408.
    #[must_use]
    pub fn min_upload_rate(self, bytes: u64) -> Self {
        self.with_client(|options| options.min_upload_rate = bytes)
    }

    /// Sets the lowest rate at which clients may read responses, in bytes per second. Default: 512.
    /// With 0 there is none.
    ///
    /// It is averaged as [`min_upload_rate`](Self::min_upload_rate) is. A slower response ends with
    /// an error. Responses that a cache has stored are not limited: they hold no upstream.
    #[must_use]
    pub fn min_download_rate(self, bytes: u64) -> Self {
        self.with_client(|options| options.min_download_rate = bytes)
    }

    /// Sets the time over which the lowest rates are averaged. Default: 60 s. With 0 there are no
    /// lowest rates.
    ///
    /// A client that moves nothing is ended after [`idle_timeout`](Self::idle_timeout) or
    /// [`reader_timeout`](Self::reader_timeout), if that is shorter.
    #[must_use]
    pub fn rate_window(self, window: Duration) -> Self {
        self.with_client(|options| options.rate_window = window)
    }

    /// Returns counts of requests that slow clients have delayed or ended, and of WebSockets that
    /// there was no room for. Clones share them, but
    /// [`max_concurrent_requests`](Self::max_concurrent_requests) begins new ones.
    #[must_use]
    pub fn load_stats(&self) -> LoadStats {
        self.0.tunnels.add_stats(self.0.places.stats())
    }

    /// Lets this proxy succeed an earlier one, as after its options were read again: requests and
    /// WebSockets of both count for the limits of this one, and counts go on, those of the
    /// [monitor](OriginMonitor) included. Set all options first.
    ///
    /// If [`max_concurrent_requests`](Self::max_concurrent_requests) differs, the requests of the
    /// earlier proxy do not count for this one.
    ///
    /// ```no_run
    /// use tower_response_cache::proxy::ReverseProxy;
    ///
    /// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
    /// let earlier = ReverseProxy::new("http://127.0.0.1:8000")?;
    /// let proxy = ReverseProxy::new("http://127.0.0.1:8001")?.succeeding(&earlier);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn succeeding(mut self, earlier: &Self) -> Self {
        let forwarder = self.forwarder();
        forwarder.succeed(&earlier.0);
        self
    }

    /// Sets how long a WebSocket is kept over which neither side sends anything. Default: 10
    /// minutes. It is closed after this time, or up to twice as long.
    #[must_use]
    pub fn tunnel_timeout(mut self, timeout: Duration) -> Self {
        self.forwarder().tunnels.idle_timeout = timeout;
        self
    }

    /// Sets the largest number of WebSockets at a time. Default: 1,024. With 0 there are none, and
    /// requests for them are like any other: a cache may answer them.
    ///
    /// Beyond it each [client](super::Peer) has its share: one more closes the oldest WebSocket of
    /// the client with most of them, if that has more than the other then has. Else `Upgrade` is
    /// ignored, as RFC 9110 §7.8 allows: the upstream answers the request as one without.
    /// [`load_stats`](Self::load_stats) counts both. Clones share the count; set it before they are
    /// made.
    #[must_use]
    pub fn max_tunnels(mut self, max: usize) -> Self {
        let forwarder = self.forwarder();
        forwarder.tunnels.max = max;
        forwarder.request_rules.has_tunnels = max > 0;
        self
    }
}

/// # Timeouts and limits
///
/// ```no_run
/// use std::time::Duration;
/// use tower_response_cache::proxy::ReverseProxy;
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ReverseProxy::new("http://127.0.0.1:8000")?
///     .connect_timeout(Duration::from_secs(1))
///     .head_timeout(Duration::from_secs(10))
///     .max_idle_connections(32);
/// # Ok(())
/// # }
/// ```
impl ReverseProxy {
    /// Sets the longest time for connecting, DNS lookup and TLS handshake included. Default: 5 s.
    ///
    /// A connection attempt that takes longer fails with
    /// [`ConnectTimeout`](super::ProxyErrorKind::ConnectTimeout); with 0 every attempt does that
    /// does not succeed at once.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.with_client(|options| options.connect_timeout = timeout)
    }

    /// Sets the longest wait for the upstream's response head. Default: 30 s.
    ///
    /// The wait begins when the request head, and all content that the client has sent so far, were
    /// handed to a connection. It is suspended while the proxy waits for more content from the
    /// client. A request whose response head is later fails with
    /// [`HeadTimeout`](super::ProxyErrorKind::HeadTimeout); with 0 every request does unless the
    /// head is there at once.
    #[must_use]
    pub fn head_timeout(self, timeout: Duration) -> Self {
        self.with_client(|options| options.head_timeout = timeout)
    }

    /// Sets the longest pause within a body: of the upstream within a response, and of the client
    /// within a request. Default: 60 s.
    ///
    /// A longer pause ends the response body with an error, or breaks the request's content off:
    /// see [`broken_upload_timeout`](Self::broken_upload_timeout). With 0 every pause does. The
    /// time runs only while the receiver waits for more of the body. A pause of the response's
    /// reader is another one: see [`reader_timeout`](Self::reader_timeout).
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.with_client(|options| options.idle_timeout = timeout)
    }

    /// Sets the longest wait for the response to a write whose client broke its content off.
    /// Default: 5 s.
    ///
    /// An upstream may act on the head of a request, as many do for DELETE, or on the content that
    /// has arrived. The content stays unfinished meanwhile, without an error. If the response
    /// comes, it counts as that of any other write. If none comes, or 408, the upstream has not
    /// acted: the request is answered 400, or 408 after [`idle_timeout`](Self::idle_timeout), and a
    /// cache takes the write for rejected. An upstream that acts on half a request but answers
    /// later than this leaves an outdated response in the cache until that expires.
    ///
    /// With 0 nothing is waited for: such a write is rejected at once. A shorter
    /// [`head_timeout`](Self::head_timeout) counts instead. Requests with safe methods never wait.
    #[must_use]
    pub fn broken_upload_timeout(mut self, timeout: Duration) -> Self {
        self.forwarder().broken_uploads.timeout = timeout;
        self
    }

    /// Sets how many writes may [wait](Self::broken_upload_timeout) for their response at a time
    /// after their clients broke them off. Default: 128.
    ///
    /// Each holds a connection to the upstream, or a stream of one. One more ends the wait of the
    /// one that has waited longest, which is rejected then. So a client that breaks off many writes
    /// shortens the waits (1,000 a second to 0.13 s), but invalidates nothing. With 0 nothing is
    /// waited for. Clones share the count.
    #[must_use]
    pub fn max_broken_uploads(mut self, max: usize) -> Self {
        self.forwarder().broken_uploads.max = max;
        self
    }

    /// Sets the largest number of idle connections to keep per upstream. Default: 128. With 0 no
    /// connection is reused.
    #[must_use]
    pub fn max_idle_connections(self, count: usize) -> Self {
        self.with_client(|options| options.max_idle_connections = count)
    }

    /// Sets how long an idle connection is kept before it is closed. Default: 30 s. With 0 no idle
    /// connection is reused.
    #[must_use]
    pub fn pool_idle_timeout(self, timeout: Duration) -> Self {
        self.with_client(|options| options.pool_idle_timeout = timeout)
    }

    /// Sets the largest response head that is accepted, in bytes. Default: 65,536 (64 KiB).
    ///
    /// A larger head fails with [`Protocol`](super::ProxyErrorKind::Protocol).
    ///
    /// # Panics
    ///
    /// When `bytes` is less than 8,192.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        or_panic(self.try_max_head(bytes))
    }

    /// Sets [`max_head`](Self::max_head) from configuration.
    ///
    /// # Errors
    ///
    /// When `bytes` is less than 8,192.
    pub fn try_max_head(self, bytes: usize) -> Result<Self, InvalidProxyOption> {
        InvalidProxyOption::check_max_head(bytes, MIN_HEAD)?;
        Ok(self.with_client(|options| options.max_head = bytes))
    }

    /// Sets the largest number of header fields of a request, and of a response that is accepted
    /// over HTTP/1.1. Default: 100. [`max_head`](Self::max_head) limits responses over HTTP/2.
    ///
    /// A request with more is answered 431; over HTTP/1.1 the server in front has a limit of its
    /// own. A response with more fails with [`Protocol`](super::ProxyErrorKind::Protocol). Beyond
    /// 100 each head takes memory of its own.
    ///
    /// # Panics
    ///
    /// When `count` is 0 or more than 10,000.
    #[must_use]
    pub fn max_head_fields(self, count: usize) -> Self {
        or_panic(self.try_max_head_fields(count))
    }

    /// Sets [`max_head_fields`](Self::max_head_fields) from configuration.
    ///
    /// # Errors
    ///
    /// When `count` is 0 or more than 10,000.
    pub fn try_max_head_fields(mut self, count: usize) -> Result<Self, InvalidProxyOption> {
        InvalidProxyOption::check_max_head_fields(count)?;
        self.forwarder().request_rules.max_fields = count;
        Ok(self.with_client(|options| options.max_head_fields = count))
    }

    /// Changes the client's options and replaces the client.
    fn with_client(mut self, change: impl FnOnce(&mut ClientOptions)) -> Self {
        self.forwarder().change_client(change);
        self
    }

    fn forwarder(&mut self) -> &mut Forwarder {
        Arc::make_mut(&mut self.0)
    }
}

/// The queue of requests for which there is no place yet, see
/// [`max_concurrent_requests`](ReverseProxy::max_concurrent_requests).
impl OriginMonitor for ReverseProxy {
    fn load(&self) -> OriginLoad {
        let mut load = self.0.places.load();
        let servers = self.0.routes.servers();
        load.servers = servers.len();
        for server in &servers {
            match server.condition() {
                Condition::Up => {}
                Condition::Down => load.servers_down += 1,
                Condition::Unknown => load.servers_unknown += 1,
            }
        }
        load.repeated = self.0.repeated.load(Ordering::Relaxed);
        let stats = self.load_stats();
        load.limits.uploads = stats.refused_uploads;
        load.limits.slow_clients = stats.ended_for_others + stats.too_slow;
        load.limits.tunnels = stats.refused_tunnels;
        load.limits.tunnels_per_client = stats.ended_tunnels;
        load
    }

    fn is_overload(&self, error: &dyn Any) -> bool {
        let error = error.downcast_ref::<ProxyError>();
        error.is_some_and(|error| error.kind().is_overload())
    }

    fn as_error<'e>(&self, error: &'e dyn Any) -> Option<&'e (dyn Error + 'static)> {
        let error: &(dyn Error + 'static) = error.downcast_ref::<ProxyError>()?;
        Some(error)
    }
}

/// The future of a [`ReverseProxy`]. Dropping it cancels the request: its HTTP/1.1 connection is
/// closed, its HTTP/2 stream is reset.
#[must_use = "futures do nothing unless polled"]
pub struct ProxyFuture(
    Pin<Box<dyn Future<Output = Result<Response<ProxyBody>, ProxyError>> + Send>>,
);

impl fmt::Debug for ProxyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFuture").finish_non_exhaustive()
    }
}

impl Future for ProxyFuture {
    type Output = Result<Response<ProxyBody>, ProxyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<B> tower_service::Service<Request<B>> for ReverseProxy
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ProxyBody>;
    type Error = ProxyError;
    type Future = ProxyFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProxyFuture {
        ProxyFuture(Box::pin(self.0.clone().forward(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators see each server once, as what is known of it.
    #[tokio::test(start_paused = true)]
    async fn the_load_has_servers_by_what_is_known_of_them() {
        let proxy = ReverseProxy::new("http://127.0.0.1:1,http://127.0.0.1:2")
            .and_then(|proxy| proxy.upstream("/api", "http://127.0.0.1:3"))
            .expect("upstreams");
        let servers = proxy.0.routes.servers();
        let known = || {
            let load = proxy.load();
            (load.servers, load.servers_down, load.servers_unknown)
        };
        assert_eq!(known(), (3, 0, 0));
        let fail = |number: usize| (0..3).for_each(|_| servers[number].not_connected());
        fail(0);
        assert_eq!(known(), (3, 1, 0));
        tokio::time::advance(Duration::from_secs(5 * 60)).await;
        assert_eq!(known(), (3, 0, 1));
        fail(2);
        assert_eq!(known(), (3, 1, 1));
        servers.iter().for_each(|server| server.connected());
        assert_eq!(known(), (3, 0, 0));
    }
}
