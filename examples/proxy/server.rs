//! The server: accepts connections, serves them with timeouts, stops gracefully.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;
use tower_response_cache::proxy::Peer;
use tracing::{Instrument, Span};

use crate::access_log::{self, AccessLogEntry};
use crate::client_limits::{ClientLimits, ClientPermit};
use crate::client_stream::ClientStream;
use crate::connection::{self, Activity, ConnectionTimeouts};
use crate::shutdown_signal::ShutdownSignal;
use crate::tls::ClientTls;
use crate::watch::Watch;

/// The longest time that requests in flight can delay the end of the process.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const MAX_REQUEST_HEAD: usize = 64 * 1024;
/// The pause after an error of accept, for example when there are too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A server for HTTP/1.1 and HTTP/2.
pub struct Server<S> {
    pub generations: Generations<S>,
    pub tls: Option<ClientTls>,
    pub limits: ClientLimits,
    /// Where the times of requests are recorded, if anywhere.
    pub watch: Option<Arc<Watch>>,
}

/// The options of connections. The fields are documented with the flags of their names.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    pub timeouts: ConnectionTimeouts,
    pub max_streams: u32,
    pub max_head_fields: usize,
}

/// What new connections are served with. Clones share it.
pub struct Generations<S>(Arc<Mutex<Generation<S>>>);

struct Generation<S> {
    service: S,
    builder: Builder<TokioExecutor>,
    timeouts: ConnectionTimeouts,
    /// Connections end after their requests when it is set.
    shutdown: watch::Sender<bool>,
}

impl<S> Generations<S> {
    pub fn new(settings: ConnectionSettings, service: S) -> Self {
        Self(Arc::new(Mutex::new(Generation::new(settings, service))))
    }

    /// Serves new connections with another service. Old connections end after their requests; the
    /// returned future waits for that.
    pub fn replace(
        &self,
        settings: ConnectionSettings,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let old = std::mem::replace(&mut *self.lock(), Generation::new(settings, service));
        let shutdown = old.shutdown;
        shutdown.send_replace(true);
        async move { shutdown.closed().await }
    }

    fn lock(&self) -> MutexGuard<'_, Generation<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Generations<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Generation<S> {
    fn new(settings: ConnectionSettings, service: S) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let client_timeout = settings.timeouts.client;
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(client_timeout)
            .max_headers(settings.max_head_fields)
            .max_buf_size(MAX_REQUEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(client_timeout)
            .keep_alive_timeout(client_timeout)
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(MAX_REQUEST_HEAD as u32);
        Self {
            service,
            builder,
            timeouts: settings.timeouts,
            shutdown: watch::Sender::new(false),
        }
    }
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
        let tasks = TaskTracker::new();
        {
            let mut stopped = pin!(signal.wait());
            tokio::select! {
                () = self.accept(&listener, &tasks) => {}
                () = &mut stopped => {}
            }
        }
        drop(listener);
        tracing::info!("stopping; finishing the requests in flight");
        self.generations.lock().shutdown.send_replace(true);
        tasks.close();
        tokio::select! {
            () = tasks.wait() => return,
            () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
            () = signal.wait() => {}
        }
        tracing::warn!("stopped with requests in flight");
    }

    /// Accepts connections for ever.
    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker) {
        loop {
            let permit = self.limits.permit().await;
            let (stream, client) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted; will retry");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            match self.limits.count(permit, client.ip()) {
                Some(permit) => self.serve(tasks, stream, client, permit),
                None => tracing::debug!(%client, "connection refused: its client has too many"),
            }
        }
    }

    fn serve(
        &self,
        tasks: &TaskTracker,
        stream: TcpStream,
        client: SocketAddr,
        permit: ClientPermit,
    ) {
        let (service, builder, timeouts, mut shutdown) = {
            let generation = self.generations.lock();
            let shutdown = generation.shutdown.subscribe();
            // One clone per connection: one service for all connections would make the cores
            // contend for its reference counts.
            let service = generation.service.clone();
            (
                service,
                generation.builder.clone(),
                generation.timeouts,
                shutdown,
            )
        };
        // Responses are written whole: Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        let activity = Activity::default();
        let stream = ClientStream::new(stream, permit, activity.clone(), timeouts.idle);
        let peer = Peer::new(client.ip()).secure(self.tls.is_some());
        let service = Mutex::new(service);
        let requests = activity.clone();
        let watch = self.watch.clone();
        let respond = service_fn(move |mut request: Request<Incoming>| {
            let open = requests.begin(!request.body().is_end_stream());
            let entry = AccessLogEntry::from_request(&request, client);
            let span = entry.as_ref().map_or(Span::none(), |entry| entry.span());
            let watched = watch.clone().map(|watch| (watch, Instant::now()));
            request.extensions_mut().insert(peer);
            let response = span.in_scope(|| call(&service, request));
            let respond = async move {
                let response = response.await;
                if let Some((watch, begun)) = watched {
                    watch.record(begun);
                }
                response.map(|response| open.attach(access_log::attach(entry, response)))
            };
            respond.instrument(span)
        });
        let tls = self.tls.clone();
        tasks.spawn(async move {
            let stream = match tls {
                None => Either::Left(stream),
                Some(tls) => tokio::select! {
                    accepted = timeout(timeouts.client, tls.accept(stream)) => match accepted {
                        Ok(Ok(stream)) => Either::Right(stream),
                        Ok(Err(error)) => {
                            return tracing::debug!(%client, %error, "TLS handshake failed");
                        }
                        Err(_) => return,
                    },
                    _ = shutdown.wait_for(|stops| *stops) => return,
                },
            };
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), respond);
            let connection = connection.into_owned();
            let shut_down = UpgradeableConnection::graceful_shutdown;
            let ended = connection::run(connection, shut_down, activity, timeouts, shutdown).await;
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%client, error, "connection failed"),
                None => tracing::debug!(%client, "connection closed: its client does nothing"),
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
