//! Connections to upstreams.

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

use super::error::{ProxyError, ProxyErrorKind};
use super::upload::{RequestBody, Turn};

/// How often a connection in use is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) most_idle: usize,
    pub(super) kept: Duration,
    pub(super) largest_head: usize,
    pub(super) http2_only: bool,
    /// Whether an upstream may be spoken to by HTTP/2 where it prefers that.
    pub(super) may_negotiate: bool,
    #[cfg(feature = "proxy-tls")]
    pub(super) tls: Option<rustls::ClientConfig>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            most_idle: 128,
            kept: Duration::from_secs(30),
            largest_head: 64 * 1024,
            http2_only: false,
            may_negotiate: false,
            #[cfg(feature = "proxy-tls")]
            tls: None,
        }
    }
}

#[cfg(not(feature = "proxy-tls"))]
type Transport = HttpConnector;
#[cfg(feature = "proxy-tls")]
type Transport = hyper_rustls::HttpsConnector<HttpConnector>;

#[derive(Clone, Debug)]
pub(super) struct Client(legacy::Client<InTime<Transport>, RequestBody>);

impl Client {
    pub(super) fn new(limits: &Limits) -> Self {
        let connector = InTime {
            limit: limits.connect,
            transport: transport(limits),
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(limits.most_idle)
            .pool_idle_timeout(limits.kept)
            .http1_max_buf_size(limits.largest_head)
            .http2_max_header_list_size(u32::try_from(limits.largest_head).unwrap_or(u32::MAX))
            .http2_only(limits.http2_only)
            // A connection that went away without a word is found out.
            .http2_keep_alive_interval(PING)
            .set_host(false)
            .build(connector);
        Self(client)
    }

    /// Sends a request, and waits for the head of its answer as long as the upstream may take.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
        turn: &Turn,
        limit: Duration,
    ) -> Result<Response<Incoming>, ProxyError> {
        let mut connected = capture_connection(&mut request);
        let mut answer = pin!(self.0.request(request));
        // Connecting has its own time limit.
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(ProxyError::from),
            _ = connected.wait_for_connection_metadata() => turn.begins(),
        }
        loop {
            let since = turn.since().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(ProxyError::from),
                () = sleep_until(since + limit) => {
                    if turn.since() == Some(since) {
                        return Err(ProxyErrorKind::HeadTimeout.into());
                    }
                }
            }
        }
    }
}

fn http() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(cfg!(not(feature = "proxy-tls")));
    http.set_keepalive(Some(Duration::from_secs(60)));
    http
}

#[cfg(not(feature = "proxy-tls"))]
fn transport(_: &Limits) -> Transport {
    http()
}

#[cfg(feature = "proxy-tls")]
fn transport(limits: &Limits) -> Transport {
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(limits.tls.clone().unwrap_or_else(super::tls::by_the_system))
        .https_or_http();
    match (limits.http2_only, limits.may_negotiate) {
        (true, _) => builder.enable_http2().wrap_connector(http()),
        (false, true) => builder.enable_all_versions().wrap_connector(http()),
        (false, false) => builder.enable_http1().wrap_connector(http()),
    }
}

/// Names, connections and handshakes in a bounded time.
#[derive(Clone, Debug)]
struct InTime<T> {
    limit: Duration,
    transport: T,
}

impl<T> Service<Uri> for InTime<T>
where
    T: Service<Uri>,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
{
    type Response = T::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<T::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.transport.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.limit, self.transport.call(uri));
        Box::pin(async move {
            match connected.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late).into()),
            }
        })
    }
}
