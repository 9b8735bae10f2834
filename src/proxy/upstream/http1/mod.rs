//! The client of servers that speak HTTP/1.1 alone: its pool of connections, and the exchanges on
//! them.
//!
//! ```text
//!  request --> idle connection, or a new one --> exchange --> the end of the response --> idle
//!                 ^                                 |
//!                 '--it was closed, nothing is sent-'
//! ```
//!
//! Start reading with [`Http1Client::send`].

mod connection;
pub(in crate::proxy) mod content;
mod idle;

use std::sync::Arc;

use http::header::UPGRADE;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::Builder;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::proxy::body::in_flight::connection_use::ConnectionUse;
use crate::proxy::body::upload::RequestBody;
use crate::proxy::error::{ProxyError, ProxyErrorKind};

use self::connection::Http1Connection;
use self::content::UpstreamContent;
use self::idle::{IdleConnections, IdleLimits};
use super::connect::ServerConnector;
use super::head_wait::HeadWait;
use super::options::ClientOptions;
use super::repetition::{FailedSend, repeatable_after};

/// The least number of idle connections to a server where each host has its own.
const MIN_KEPT_BY_HOST: usize = 1024;

/// The connections to a server that speaks HTTP/1.1 alone.
#[derive(Debug)]
pub(super) struct Http1Client {
    scheme: Scheme,
    connector: ServerConnector,
    builder: Builder,
    idle: Arc<IdleConnections>,
    is_keyed_by_host: bool,
}

/// A response with this body, or the error of an attempt to send a request.
type Sent<B> = Result<Response<B>, TrySendError<Request<RequestBody>>>;

impl Http1Client {
    /// A client for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let mut builder = Builder::new();
        builder.max_buf_size(options.max_head);
        if let Some(max) = options.other_max_head_fields() {
            builder.max_headers(max);
        }
        let is_keyed_by_host = options.is_keyed_by_host(server);
        let max_per_host = options.max_idle_connections;
        let limits = IdleLimits {
            max: match is_keyed_by_host {
                true => max_per_host.max(MIN_KEPT_BY_HOST),
                false => max_per_host,
            },
            max_per_host,
            idle_timeout: options.pool_idle_timeout,
            max_age: options.max_connection_age,
        };
        Self {
            scheme: server.scheme().cloned().unwrap_or(Scheme::HTTP),
            connector: ServerConnector::new(server, options),
            builder,
            idle: Arc::new(IdleConnections::new(limits)),
            is_keyed_by_host,
        }
    }

    pub(super) fn is_keyed_by_host(&self) -> bool {
        self.is_keyed_by_host
    }

    /// Sends a request in origin form, on a new connection or one that is idle, and waits for the
    /// response's head. Cancelling the future closes the connection.
    pub(super) async fn send(
        &self,
        host: &Authority,
        mut request: Box<Request<RequestBody>>,
        needs_new: bool,
        wait: HeadWait<'_>,
    ) -> Result<Response<UpstreamContent>, FailedSend> {
        let key = self.is_keyed_by_host.then_some(host);
        loop {
            let kept = match needs_new {
                true => None,
                false => self.idle.take(key),
            };
            let is_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                // Boxed: most requests need no new one.
                None => Box::pin(self.connect(host, key.cloned())).await?,
            };
            wait.connected();
            let connection_use = connection.connection_use.clone();
            let sent = self.exchange(connection, request, wait).await?;
            let mut error = match sent {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if is_kept => request = Box::new(unsent),
                _ => return Err(failed(error, &connection_use)),
            }
        }
    }

    async fn connect(
        &self,
        host: &Authority,
        key: Option<Authority>,
    ) -> Result<Box<Http1Connection>, FailedSend> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(host.clone());
        uri.path_and_query = Some(PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(uri).unwrap_or_default();
        let stream = self.connector.clone().call(uri).await;
        let stream = stream.map_err(FailedSend::not_connected)?;
        let connection = Http1Connection::new(stream, key, &self.builder).await;
        connection.map_err(|error| FailedSend::from(ProxyError::from_exchange(error)))
    }

    /// Sends a request. Who waits for the response, and then reads it, drives the connection; but a
    /// task does where content is to be sent meanwhile, or after an upgrade.
    ///
    /// # Errors
    ///
    /// `HeadTimeout`; `Internal` if the content panics.
    async fn exchange(
        &self,
        mut connection: Box<Http1Connection>,
        request: Box<Request<RequestBody>>,
        wait: HeadWait<'_>,
    ) -> Result<Sent<UpstreamContent>, ProxyError> {
        if request.body().is_end_stream() && !request.headers().contains_key(UPGRADE) {
            let mut timer = connection.head_timer.take();
            let sent = wait.for_head(&mut timer, connection.exchange(request));
            let sent = sent.await?;
            connection.head_timer = timer;
            return Ok(sent.map(|response| {
                response.map(|body| UpstreamContent::read_from(body, connection, &self.idle))
            }));
        }
        let (sender, sent) = oneshot::channel();
        tokio::spawn(drive(connection, request, sender, self.idle.clone()));
        let sent = wait.for_head(&mut None, sent).await?;
        let sent = sent.map_err(|ended| ProxyErrorKind::Internal.caused_by(ended))?;
        Ok(sent.map(|response| response.map(UpstreamContent::driven_by_task)))
    }
}

/// Drives a connection through one exchange, and leaves it to others then. Ends early, and closes the
/// connection, if nobody waits for the response.
///
/// A server may answer without having read the content, and take it for the next request. So the
/// connection is closed if the content had no meaning for the method (RFC 9110 §9.3.1), or if the
/// response is an error.
async fn drive(
    mut connection: Box<Http1Connection>,
    request: Box<Request<RequestBody>>,
    mut sender: oneshot::Sender<Sent<Incoming>>,
    idle: Arc<IdleConnections>,
) {
    let has_content = !request.body().is_end_stream();
    let is_for_content = ![Method::GET, Method::HEAD].contains(request.method());
    let sent = tokio::select! {
        biased;
        () = sender.closed() => return,
        sent = connection.exchange(request) => sent,
    };
    let is_accepted = |response: &Response<_>| response.status().as_u16() < 400;
    let was_read = !has_content || (is_for_content && sent.as_ref().is_ok_and(is_accepted));
    if sender.send(sent).is_ok() {
        connection.until_free().await;
        if was_read {
            idle.put(connection);
        }
    }
}

fn failed(error: TrySendError<Request<RequestBody>>, connection: &ConnectionUse) -> FailedSend {
    let error = error.into_error();
    FailedSend {
        repeatable: repeatable_after(&error, Some(connection)),
        error: ProxyError::from_exchange(error),
    }
}
