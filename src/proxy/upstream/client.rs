//! Connections to upstreams: connecting with a timeout, pooling, and the wait for a response's
//! head.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use crate::error::BoxError;
use crate::proxy::body::head_clock::HeadClock;
use crate::proxy::body::upload::RequestBody;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

/// The interval of HTTP/2 pings, which find out that a connection in use is dead.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The interval of TCP keep-alive probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The options of connections and exchanges; the fields are documented with the options of
/// [`ReverseProxy`](crate::proxy::ReverseProxy) of these names.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ClientOptions {
    pub(in crate::proxy) connect_timeout: Duration,
    pub(in crate::proxy) head_timeout: Duration,
    pub(in crate::proxy) idle_timeout: Duration,
    pub(in crate::proxy) max_idle_connections: usize,
    pub(in crate::proxy) pool_idle_timeout: Duration,
    pub(in crate::proxy) max_head: usize,
    pub(in crate::proxy) http2_only: bool,
    /// Lets an `https://` upstream choose HTTP/2 by ALPN.
    pub(in crate::proxy) negotiate_http2: bool,
    #[cfg(feature = "proxy-tls")]
    pub(in crate::proxy) tls: Option<rustls::ClientConfig>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_idle_connections: 128,
            pool_idle_timeout: Duration::from_secs(30),
            max_head: 64 * 1024,
            http2_only: false,
            negotiate_http2: false,
            #[cfg(feature = "proxy-tls")]
            tls: None,
        }
    }
}

#[cfg(not(feature = "proxy-tls"))]
type Connector = HttpConnector;
#[cfg(feature = "proxy-tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// hyper's pooled client with this crate's connector. Clones share the pool.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct UpstreamClient(legacy::Client<ConnectTimeout<Connector>, RequestBody>);

impl UpstreamClient {
    pub(in crate::proxy) fn new(options: &ClientOptions) -> Self {
        let connector = ConnectTimeout {
            timeout: options.connect_timeout,
            inner: connector(options),
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(options.max_idle_connections)
            .pool_idle_timeout(options.pool_idle_timeout)
            .http1_max_buf_size(options.max_head)
            .http2_max_header_list_size(u32::try_from(options.max_head).unwrap_or(u32::MAX))
            .http2_only(options.http2_only)
            .http2_keep_alive_interval(PING_INTERVAL)
            .set_host(false)
            .build(connector);
        Self(client)
    }

    /// Sends a request and waits for the response's head until `clock` has run for `head_timeout`.
    ///
    /// The time for connecting does not count: the connector has its own timeout. Cancelling the
    /// future gives the connection up.
    pub(in crate::proxy) async fn send(
        &self,
        mut request: Request<RequestBody>,
        clock: &HeadClock,
        head_timeout: Duration,
    ) -> Result<Response<Incoming>, ProxyError> {
        let mut connected = capture_connection(&mut request);
        let mut response = pin!(self.0.request(request));
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(ProxyError::from),
            _ = connected.wait_for_connection_metadata() => clock.restart_if_running(),
        }
        loop {
            let since = clock.running_since().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                response = &mut response => return response.map_err(ProxyError::from),
                () = sleep_until(since + head_timeout) => {
                    // The clock was stopped or restarted meanwhile unless it shows the same start.
                    if clock.running_since() == Some(since) {
                        return Err(ProxyErrorKind::HeadTimeout.into());
                    }
                }
            }
        }
    }
}

fn http_connector() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(cfg!(not(feature = "proxy-tls")));
    http.set_keepalive(Some(TCP_KEEPALIVE));
    http
}

#[cfg(not(feature = "proxy-tls"))]
fn connector(_: &ClientOptions) -> Connector {
    http_connector()
}

#[cfg(feature = "proxy-tls")]
fn connector(options: &ClientOptions) -> Connector {
    let tls = options.tls.clone();
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.unwrap_or_else(super::tls::system_config))
        .https_or_http();
    let http = http_connector();
    match (options.http2_only, options.negotiate_http2) {
        (true, _) => builder.enable_http2().wrap_connector(http),
        (false, true) => builder.enable_all_versions().wrap_connector(http),
        (false, false) => builder.enable_http1().wrap_connector(http),
    }
}

/// A connector with a timeout for everything it does: DNS lookup, TCP connection, TLS handshake.
#[derive(Clone, Debug)]
struct ConnectTimeout<C> {
    timeout: Duration,
    inner: C,
}

impl<C> Service<Uri> for ConnectTimeout<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connection = timeout(self.timeout, self.inner.call(uri));
        Box::pin(async move {
            match connection.await {
                Ok(connection) => connection.map_err(Into::into),
                Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed).into()),
            }
        })
    }
}
