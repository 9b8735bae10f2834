//! The client of servers that may speak HTTP/2: hyper's, with its pool.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::proxy::body::in_flight::connection_use::ConnectionUse;
use crate::proxy::body::upload::RequestBody;
use crate::proxy::error::ProxyErrorKind;

use super::connect::ServerConnector;
use super::head_wait::HeadWait;
use super::http1::content::UpstreamContent;
use super::options::ClientOptions;
use super::repetition::FailedSend;

/// The interval of HTTP/2 pings, which find out that a connection in use is dead.
const PING_INTERVAL: Duration = Duration::from_secs(20);

type Client = legacy::Client<ServerConnector, RequestBody>;

/// The connections to a server that speaks HTTP/2, or chooses the version by ALPN.
#[derive(Debug)]
pub(super) struct Http2Client {
    scheme: Scheme,
    pool: Mutex<CurrentPool>,
    /// Makes a connection for each request.
    unpooled: Client,
    builder: legacy::Builder,
    connector: ServerConnector,
    max_age: Duration,
}

/// A client that is replaced when its connections may be too old.
#[derive(Debug)]
struct CurrentPool {
    client: Arc<Client>,
    /// `None` before the first request.
    since: Option<Instant>,
}

impl Http2Client {
    /// A client for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let connector = ServerConnector::new(server, options);
        let mut builder = builder(options);
        builder.pool_max_idle_per_host(0);
        let unpooled = builder.build(connector.clone());
        builder.pool_max_idle_per_host(options.max_idle_connections);
        let client = Arc::new(builder.build(connector.clone()));
        Self {
            scheme: server.scheme().cloned().unwrap_or(Scheme::HTTP),
            pool: Mutex::new(CurrentPool {
                client,
                since: None,
            }),
            unpooled,
            builder,
            connector,
            max_age: options.max_connection_age,
        }
    }

    /// The client with the current pool. A new one begins when `max_age` is over: connections of
    /// the old one close after the requests in flight.
    fn current(&self) -> Arc<Client> {
        let now = Instant::now();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *pool.since.get_or_insert(now);
        if now.duration_since(since) < self.max_age {
            return pool.client.clone();
        }
        let renewed = Arc::new(self.builder.build(self.connector.clone()));
        pool.since = Some(now);
        let old = std::mem::replace(&mut pool.client, renewed.clone());
        drop(pool);
        // It closes the idle connections.
        drop(old);
        renewed
    }

    /// Sends a request in origin form and waits for the response's head. Cancelling the future
    /// gives the stream, or the connection of HTTP/1.1, up.
    pub(super) async fn send(
        &self,
        host: &Authority,
        mut request: Request<RequestBody>,
        needs_new: bool,
        wait: HeadWait<'_>,
    ) -> Result<Response<UpstreamContent>, FailedSend> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(host.clone());
        let uri = Uri::from_parts(uri).map_err(|error| ProxyErrorKind::Protocol.caused_by(error));
        *request.uri_mut() = uri?;
        let mut connected = capture_connection(&mut request);
        let response = match needs_new {
            true => self.unpooled.request(request),
            false => self.current().request(request),
        };
        let mut response = pin!(response);
        let sent = tokio::select! {
            biased;
            response = &mut response => Some(response),
            _ = connected.wait_for_connection_metadata() => None,
        };
        wait.connected();
        let mut response = match sent {
            Some(response) => response?,
            None => wait.for_head(response).await??,
        };
        if let Some(connection) = response.extensions_mut().remove::<ConnectionUse>() {
            connection.answered();
        }
        Ok(response.map(UpstreamContent::driven_by_task))
    }
}

fn builder(options: &ClientOptions) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(options.pool_idle_timeout)
        .http1_max_buf_size(options.max_head)
        .http1_max_headers(options.max_head_fields)
        .http2_max_header_list_size(u32::try_from(options.max_head).unwrap_or(u32::MAX))
        .http2_only(options.http2_only)
        .http2_keep_alive_interval(PING_INTERVAL)
        .set_host(false);
    builder
}
