//! The connections to one server: their pool, and the wait for a response's head.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep_until};

use crate::proxy::body::in_flight::connection_use::{AnsweredExchange, ConnectionUse};
use crate::proxy::body::timers::head_clock::HeadClock;
use crate::proxy::body::upload::RequestBody;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

use super::connect::ServerConnector;
use super::options::ClientOptions;
use super::repetition::{FailedSend, Repeatable};

/// The interval of HTTP/2 pings, which find out that a connection in use is dead.
const PING_INTERVAL: Duration = Duration::from_secs(20);

type Client = legacy::Client<ServerConnector, RequestBody>;

/// hyper's pooled client for one server. Clones share the pool.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct UpstreamClient {
    pool: Arc<Mutex<CurrentPool>>,
    /// Makes a connection for each request.
    unpooled: Arc<Client>,
    builder: Arc<legacy::Builder>,
    connector: ServerConnector,
    max_age: Duration,
    is_keyed_by_host: bool,
}

/// A response whose head has arrived.
#[derive(Debug)]
pub(in crate::proxy) struct Answer {
    pub(in crate::proxy) response: Response<Incoming>,
    /// To be dropped after the response's body.
    pub(in crate::proxy) connection: Option<AnsweredExchange>,
}

/// A client that is replaced when its connections may be too old.
#[derive(Debug)]
struct CurrentPool {
    client: Arc<Client>,
    /// `None` before the first request.
    since: Option<Instant>,
}

impl UpstreamClient {
    /// A client for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let connector = ServerConnector::new(server, options);
        let mut builder = builder(options);
        builder.pool_max_idle_per_host(0);
        let unpooled = Arc::new(builder.build(connector.clone()));
        builder.pool_max_idle_per_host(options.max_idle_connections);
        let client = Arc::new(builder.build(connector.clone()));
        Self {
            pool: Arc::new(Mutex::new(CurrentPool {
                client,
                since: None,
            })),
            unpooled,
            builder: Arc::new(builder),
            connector,
            max_age: options.max_connection_age,
            is_keyed_by_host: options.is_keyed_by_host(server),
        }
    }

    /// Whether the authority of a request's URI is to be the host that the client asked for.
    pub(in crate::proxy) fn is_keyed_by_host(&self) -> bool {
        self.is_keyed_by_host
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

    /// Sends a request and waits for the response's head until `clock` has run for `head_timeout`.
    /// One that was `lost` with its connection gets a new one: others in the pool may be closed,
    /// too.
    ///
    /// The time for connecting does not count: the connector has its own timeout. Cancelling the
    /// future gives the connection up.
    pub(in crate::proxy) async fn send(
        &self,
        request: Request<RequestBody>,
        lost: Repeatable,
        clock: &HeadClock,
        head_timeout: Duration,
    ) -> Result<Answer, FailedSend> {
        let sent = match lost {
            Repeatable::Idempotent => send(&self.unpooled, request, clock, head_timeout).await,
            _ => send(&self.current(), request, clock, head_timeout).await,
        };
        let mut response = sent?;
        let connection = response.extensions_mut().remove::<ConnectionUse>();
        Ok(Answer {
            response,
            connection: connection.map(ConnectionUse::answered),
        })
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

async fn send(
    client: &Client,
    mut request: Request<RequestBody>,
    clock: &HeadClock,
    head_timeout: Duration,
) -> Result<Response<Incoming>, FailedSend> {
    let mut connected = capture_connection(&mut request);
    let mut response = pin!(client.request(request));
    tokio::select! {
        biased;
        response = &mut response => return response.map_err(FailedSend::from),
        _ = connected.wait_for_connection_metadata() => clock.restart_if_running(),
    }
    loop {
        let since = clock.running_since().unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(FailedSend::from),
            () = sleep_until(since + head_timeout) => {
                // The clock was stopped or restarted meanwhile unless it shows the same start.
                if clock.running_since() == Some(since) {
                    return Err(ProxyError::from(ProxyErrorKind::HeadTimeout).into());
                }
            }
        }
    }
}
