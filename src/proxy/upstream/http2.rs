//! The client of servers that may speak HTTP/2: hyper's, with its pools.
//!
//! A pool has one connection of HTTP/2, whose streams share what the server lets a connection have
//! of them. Clients that stall must not take all of that from others. So a connection has a bounded
//! number of streams, beyond which another one is opened, and a window that is as large as those of
//! all its streams together.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::HOST;
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
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The time after which a connection is dead without an answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of requests on a connection of HTTP/2, unless there are [`MAX_POOLS`].
const MAX_STREAMS: u32 = 64;

/// The number of pools of one server.
const MAX_POOLS: usize = 64;

/// The number of bytes of a response that arrive before its client has read those before.
const STREAM_WINDOW: u32 = 256 * 1024;

type Client = legacy::Client<ServerConnector, RequestBody>;

/// The connections to a server that speaks HTTP/2, or chooses the version by ALPN.
#[derive(Debug)]
pub(super) struct Http2Client {
    scheme: Scheme,
    pools: Mutex<CurrentPools>,
    /// Makes a connection for each request.
    unpooled: Client,
    builder: legacy::Builder,
    connector: ServerConnector,
    max_age: Duration,
}

/// Pools that are replaced when their connections may be too old.
#[derive(Debug, Default)]
struct CurrentPools {
    /// In the order in which they were needed: the last ones have no requests if there are few.
    pools: Vec<Pool>,
    /// `None` before the first request.
    since: Option<Instant>,
}

/// A client with one connection of HTTP/2, or as many of HTTP/1.1 as are needed.
#[derive(Clone, Debug)]
struct Pool {
    client: Arc<Client>,
    /// Cloned for each exchange.
    exchanges: Arc<()>,
}

impl Pool {
    fn exchanges(&self) -> usize {
        Arc::strong_count(&self.exchanges) - 1
    }
}

impl Http2Client {
    /// A client for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let connector = ServerConnector::new(server, options);
        let mut builder = builder(options);
        builder.pool_max_idle_per_host(0);
        let unpooled = builder.build(connector.clone());
        builder.pool_max_idle_per_host(options.max_idle_connections);
        Self {
            scheme: server.scheme().cloned().unwrap_or(Scheme::HTTP),
            pools: Mutex::default(),
            unpooled,
            builder,
            connector,
            max_age: options.max_connection_age,
        }
    }

    /// The first of the current pools with room for another exchange. New ones begin when `max_age`
    /// is over: connections of the old ones close after the requests in flight.
    fn current(&self) -> Pool {
        let now = Instant::now();
        let mut current = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *current.since.get_or_insert(now);
        let is_over = now.duration_since(since) >= self.max_age;
        let old = is_over.then(|| {
            current.since = Some(now);
            std::mem::take(&mut current.pools)
        });
        let pool = self.pool_with_room(&mut current.pools);
        drop(current);
        // It closes the idle connections.
        drop(old);
        pool
    }

    fn pool_with_room(&self, pools: &mut Vec<Pool>) -> Pool {
        let has_room = |pool: &&Pool| pool.exchanges() < MAX_STREAMS as usize;
        if let Some(pool) = pools.iter().find(has_room) {
            return pool.clone();
        }
        let least = pools.iter().min_by_key(|pool| pool.exchanges());
        match least.filter(|_| pools.len() >= MAX_POOLS) {
            Some(pool) => pool.clone(),
            None => {
                let pool = Pool {
                    client: Arc::new(self.builder.build(self.connector.clone())),
                    exchanges: Arc::default(),
                };
                pools.push(pool.clone());
                pool
            }
        }
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
        // HTTP/2 has `:authority` instead, which is this host (RFC 9113 §8.3.1): servers differ in
        // what they make of both. If the server chooses HTTP/1.1, hyper's client adds the field.
        request.headers_mut().remove(HOST);
        let mut connected = capture_connection(&mut request);
        let pool = (!needs_new).then(|| self.current());
        let response = match &pool {
            None => self.unpooled.request(request),
            Some(pool) => pool.client.request(request),
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
            None => wait.for_head(&mut None, response).await??,
        };
        if let Some(connection) = response.extensions_mut().remove::<ConnectionUse>() {
            connection.answered();
        }
        let exchange = pool.map(|pool| pool.exchanges);
        Ok(response.map(|body| UpstreamContent::counted(body, exchange)))
    }
}

fn builder(options: &ClientOptions) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(options.pool_idle_timeout)
        .http1_max_buf_size(options.max_head)
        .http2_max_header_list_size(u32::try_from(options.max_head).unwrap_or(u32::MAX))
        .http2_only(options.http2_only)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS)
        .set_host(true);
    if let Some(max) = options.other_max_head_fields() {
        builder.http1_max_headers(max);
    }
    builder
}
