//! The server: accepts connections, serves them with timeouts, stops gracefully.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::either::Either;
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;
use tower_response_cache::proxy::Peer;

use crate::access_log::AccessLogEntry;
use crate::client_stream::ClientStream;
use crate::shutdown_signal::ShutdownSignal;

/// The longest time that requests in flight can delay the end of the process.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const MAX_REQUEST_HEAD: usize = 64 * 1024;
/// The pause after an error of accept, for example when there are too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A server for HTTP/1.1 and HTTP/2. The fields are documented with the flags of their names.
pub struct Server<S> {
    pub service: S,
    pub client_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_connections: usize,
}

impl<S, Res> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<Res>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    Res: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    /// Serves until the first signal, then finishes the requests in flight. A second signal, or
    /// [`SHUTDOWN_TIMEOUT`], ends them.
    pub async fn run(self, listener: TcpListener, mut signal: ShutdownSignal) {
        let builder = self.builder();
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let shutdown = GracefulShutdown::new();
        {
            let mut stopped = pin!(signal.wait());
            loop {
                let accepted = tokio::select! {
                    accepted = accept(&listener, &permits, self.idle_timeout) => accepted,
                    () = &mut stopped => break,
                };
                let (stream, client) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "connection not accepted; will retry");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                        continue;
                    }
                };
                self.serve(&builder, &shutdown, stream, client);
            }
        }
        drop(listener);
        tracing::info!("stopping; finishing the requests in flight");
        tokio::select! {
            () = shutdown.shutdown() => return,
            () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
            () = signal.wait() => {}
        }
        tracing::warn!("stopped with requests in flight");
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.client_timeout)
            .max_buf_size(MAX_REQUEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.client_timeout)
            .keep_alive_timeout(self.client_timeout)
            .max_header_list_size(MAX_REQUEST_HEAD as u32);
        builder
    }

    fn serve(
        &self,
        builder: &Builder<TokioExecutor>,
        shutdown: &GracefulShutdown,
        stream: ClientStream<TcpStream>,
        client: SocketAddr,
    ) {
        let peer = Peer::new(client.ip());
        // One clone per connection: one service for all connections would make the cores contend
        // for its reference counts.
        let service = Mutex::new(self.service.clone());
        let has_request = Arc::new(AtomicBool::new(false));
        let got_request = has_request.clone();
        let respond = service_fn(move |mut request: Request<Incoming>| {
            got_request.store(true, Ordering::Relaxed);
            let entry = AccessLogEntry::from_request(&request, client);
            request.extensions_mut().insert(peer);
            let response = call(&service, request);
            async move {
                let response = response.await;
                if let (Some(entry), Ok(response)) = (entry, &response) {
                    entry.log(response);
                }
                response
            }
        });
        let stream = TokioIo::new(stream);
        let connection = builder.serve_connection_with_upgrades(stream, respond);
        let connection = shutdown.watch(connection.into_owned());
        let limit = self.client_timeout;
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = match timeout(limit, &mut connection).await {
                Ok(ended) => ended,
                // hyper has no timeout for the first bytes, by which it recognizes the protocol.
                Err(_) if !has_request.load(Ordering::Relaxed) => return,
                Err(_) => connection.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%client, error, "connection failed");
            }
        });
    }
}

/// Calls a service without cloning it if it is ready, as a cache always is; else waits with a
/// clone.
fn call<S: Service<R> + Clone, R>(
    service: &Mutex<S>,
    request: R,
) -> impl Future<Output = Result<S::Response, S::Error>> + use<S, R> {
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    let mut context = Context::from_waker(Waker::noop());
    match service.poll_ready(&mut context) {
        Poll::Ready(Ok(())) => Either::Left(service.call(request)),
        _ => Either::Right(service.clone().oneshot(request)),
    }
}

/// Waits for a permit, then for the next connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    write_timeout: Duration,
) -> io::Result<(ClientStream<TcpStream>, SocketAddr)> {
    let permit: OwnedSemaphorePermit = permits
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, client) = listener.accept().await?;
    // Responses are written whole: Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    Ok((ClientStream::new(stream, permit, write_timeout), client))
}
