//! The server: accepts connections, serves them with timeouts, stops gracefully.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;
use tracing::{Instrument, Span};

use crate::accept_queue::AcceptQueue;
use crate::access_log::{self, AccessLogEntry};
use crate::activity::Activity;
use crate::arrival;
use crate::client_limits::{ClientLimits, ClientPermit, WaitingConnection};
use crate::client_stream::ClientStream;
use crate::connection::{self, ConnectionTimeouts, Endings, Lifetime};
use crate::head_timer::HeadTimer;
use crate::shutdown_signal::ShutdownSignal;
use crate::stream_timeout::StreamExecutor;
use crate::tls::{self, ClientTls, TlsStream};
use crate::watch::Watch;

/// The longest time that requests in flight can delay the end of the process.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
pub const MAX_REQUEST_HEAD: usize = 64 * 1024;
/// The largest one that the library for HTTP/2 reads: beyond it, it answers by itself, and no counter
/// knows of it. Between the two, [`HeadLimit`](crate::head_limit::HeadLimit) answers.
const MAX_READ_HEAD: usize = 2 * MAX_REQUEST_HEAD;
/// The number of header fields that hyper accepts by itself. To set it, too, makes hyper prepare
/// memory for each head, which takes longer than to look a response up.
const HYPERS_MAX_FIELDS: usize = 100;
/// The pause after an error of accept, as when there are too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The first bytes of each HTTP/2 connection (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The stream of a client, with or without TLS.
type ServedStream = Either<ClientStream<TcpStream>, TlsStream<ClientStream<TcpStream>>>;

/// A server for HTTP/1.1 and HTTP/2.
pub struct Server<S> {
    pub generations: Generations<S>,
    pub tls: Option<ClientTls>,
    pub limits: ClientLimits,
    /// Where the times of requests are recorded, if anywhere.
    pub watch: Option<Arc<Watch>>,
    /// Whether the access log has queries.
    pub log_query: bool,
    /// Told of requests that do not get as far as a service.
    pub on_outside: OnOutside,
}

/// Is told of a request that was answered outside of the cache, with the status.
pub type OnOutside = Arc<dyn Fn(StatusCode) + Send + Sync>;

/// The options of connections. The fields are documented with the flags of their names.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    pub timeouts: ConnectionTimeouts,
    pub max_streams: u32,
    pub max_head_fields: usize,
    /// The longest body that is stored.
    pub max_body: u64,
}

/// What new connections are served with. Clones share it.
pub struct Generations<S> {
    current: Arc<Mutex<Generation<S>>>,
    /// All connections end after their requests when it is set.
    stopped: watch::Sender<bool>,
}

struct Generation<S> {
    service: S,
    builders: Builders,
    settings: ConnectionSettings,
    /// Its connections end after their requests when it is set.
    replaced: watch::Sender<bool>,
}

/// What makes connections of streams.
#[derive(Clone)]
struct Builders {
    http1: http1::Builder,
    /// Recognizes the version by the first bytes.
    any: auto::Builder<StreamExecutor>,
}

impl<S> Generations<S> {
    pub fn new(settings: ConnectionSettings, service: S) -> Self {
        Self {
            current: Arc::new(Mutex::new(Generation::new(settings, service))),
            stopped: watch::Sender::new(false),
        }
    }

    /// Serves new connections with another service. Old connections end after their requests; the
    /// returned future waits for that.
    pub fn replace(
        &self,
        settings: ConnectionSettings,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let old = std::mem::replace(&mut *self.lock(), Generation::new(settings, service));
        let replaced = old.replaced;
        replaced.send_replace(true);
        async move { replaced.closed().await }
    }

    /// What one connection is served with. One service for all connections would make the cores
    /// contend for its reference counts.
    fn for_connection(&self) -> (S, Builders, ConnectionSettings, Endings)
    where
        S: Clone,
    {
        let current = self.lock();
        let endings = Endings {
            replaced: current.replaced.subscribe(),
            stopped: self.stopped.subscribe(),
        };
        let (service, builders) = (current.service.clone(), current.builders.clone());
        (service, builders, current.settings, endings)
    }

    fn lock(&self) -> MutexGuard<'_, Generation<S>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Generations<S> {
    fn clone(&self) -> Self {
        Self {
            current: self.current.clone(),
            stopped: self.stopped.clone(),
        }
    }
}

impl<S> Generation<S> {
    fn new(settings: ConnectionSettings, service: S) -> Self {
        Self {
            service,
            builders: Builders::new(settings),
            settings,
            replaced: watch::Sender::new(false),
        }
    }
}

impl Builders {
    fn new(settings: ConnectionSettings) -> Self {
        let client_timeout = settings.timeouts.client;
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(client_timeout)
            .max_buf_size(MAX_REQUEST_HEAD);
        let mut any = auto::Builder::new(StreamExecutor::new(settings.timeouts.idle));
        any.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(client_timeout)
            .max_buf_size(MAX_REQUEST_HEAD);
        if settings.max_head_fields != HYPERS_MAX_FIELDS {
            http1.max_headers(settings.max_head_fields);
            any.http1().max_headers(settings.max_head_fields);
        }
        any.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(client_timeout)
            .keep_alive_timeout(client_timeout)
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(MAX_READ_HEAD as u32);
        Self { http1, any }
    }

    /// Serves a stream to its end; `None` if it was given up for lack of progress.
    async fn serve<S, B>(
        mut self,
        (stream, is_http1): (ServedStream, bool),
        respond: S,
        lifetime: Lifetime,
    ) -> Option<Result<(), BoxError>>
    where
        S: HttpService<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        if is_http1 {
            self.http1.timer(lifetime.head.clone());
            let connection = self.http1.serve_connection(stream, respond).with_upgrades();
            let shut_down = http1::UpgradeableConnection::graceful_shutdown;
            let ended = connection::run(connection, shut_down, lifetime).await;
            return ended.map(|ended| ended.map_err(BoxError::from));
        }
        let connection = self.any.serve_connection_with_upgrades(stream, respond);
        let shut_down = auto::UpgradeableConnection::graceful_shutdown;
        connection::run(connection.into_owned(), shut_down, lifetime).await
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
        self.generations.stopped.send_replace(true);
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
        let mut queue = AcceptQueue::new(listener);
        loop {
            let (stream, client, waiting) = self.next_connection(listener, &mut queue).await;
            let activity = Activity::default();
            match self.limits.admit(client.ip(), &activity, waiting).await {
                Some(permit) => self.serve(tasks, stream, client, activity, permit),
                None => tracing::debug!(%client, "connection refused: its client has too many"),
            }
        }
    }

    /// Waits for a connection, also where the system has no room for one: then with its wait, which
    /// goes on until it is served.
    async fn next_connection(
        &self,
        listener: &TcpListener,
        queue: &mut AcceptQueue,
    ) -> (TcpStream, SocketAddr, Option<WaitingConnection>) {
        let mut waiting = None;
        loop {
            let accepted = poll_fn(|cx| {
                let accepted = listener.poll_accept(cx);
                if accepted.is_pending() {
                    waiting = None;
                }
                accepted
            });
            match accepted.await {
                Ok((stream, client)) => return (stream, client, waiting),
                Err(error) if is_of_connection(&error) => {
                    tracing::debug!(%error, "connection failed before it was accepted");
                }
                Err(error) if queue.has_connection(ACCEPT_BACKOFF).await => {
                    waiting.get_or_insert_with(|| self.limits.begin_wait(&error));
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
                // There is no room for one, and none has come.
                Err(_) => waiting = None,
            }
        }
    }

    fn serve(
        &self,
        tasks: &TaskTracker,
        stream: TcpStream,
        client: SocketAddr,
        activity: Activity,
        permit: ClientPermit,
    ) {
        let (service, builders, settings, endings) = self.generations.for_connection();
        let timeouts = settings.timeouts;
        // Responses are written whole: Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        activity.set_served(true);
        let counted = activity.clone();
        let with_permit = move |stream| ClientStream::new(stream, permit, counted, timeouts.idle);
        let is_secure = self.tls.is_some();
        let service = Mutex::new(service);
        let requests = activity.clone();
        let (watch, log_query) = (self.watch.clone(), self.log_query);
        let respond = service_fn(move |mut request: Request<Incoming>| {
            let open = requests.begin(!request.body().is_end_stream());
            let entry = AccessLogEntry::from_request(&request, client, log_query);
            let span = entry.as_ref().map_or(Span::none(), |entry| entry.span());
            let watched = watch.clone().map(|watch| (watch, Instant::now()));
            arrival::add_peer(&mut request, client.ip(), is_secure);
            let response = span.in_scope(|| call(&service, request));
            let respond = async move {
                let response = response.await;
                if let Some((watch, begun)) = watched {
                    watch.record(begun);
                }
                let attach =
                    |response| open.attach(access_log::attach(entry, response), settings.max_body);
                response.map(attach)
            };
            respond.instrument(span)
        });
        let began = Instant::now();
        let mut lifetime = Lifetime {
            began,
            head: HeadTimer::new(began),
            activity: activity.clone(),
            timeouts,
            endings,
        };
        let tls = self.tls.clone();
        let on_outside = self.on_outside.clone();
        tasks.spawn(async move {
            let begun = timeout(timeouts.client, begin(stream, with_permit, tls));
            let begun = tokio::select! {
                biased;
                begun = begun => match begun {
                    Ok(Ok(begun)) => begun,
                    Ok(Err(error)) => return tracing::debug!(%client, %error, "connection failed"),
                    Err(_) => return log_idle(client),
                },
                () = lifetime.endings.stopped() => return,
                () = activity.ended_for_others() => return log_idle(client),
            };
            let ended = builders.serve(begun, respond, lifetime).await;
            activity.set_served(false);
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    if let Some(status) = answered_by_hyper(&error) {
                        on_outside(status);
                    }
                    tracing::debug!(%client, error, "connection failed");
                }
                None => log_idle(client),
            }
        });
    }
}

/// Whether an error of accept is that of one connection, whose client has left.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// The status with which hyper has answered a request that it cannot read.
fn answered_by_hyper(error: &BoxError) -> Option<StatusCode> {
    let error = error.downcast_ref::<hyper::Error>()?;
    match error.is_parse_too_large() {
        true => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        false => error.is_parse().then_some(StatusCode::BAD_REQUEST),
    }
}

fn log_idle(client: SocketAddr) {
    tracing::debug!(%client, "connection closed: its client does nothing");
}

/// Waits for the first bytes of a connection, or makes its TLS handshake. Returns whether it is
/// known to be one of HTTP/1.1: that needs no buffer by which the version is recognized.
async fn begin(
    stream: TcpStream,
    with_permit: impl FnOnce(TcpStream) -> ClientStream<TcpStream>,
    tls: Option<ClientTls>,
) -> io::Result<(ServedStream, bool)> {
    let Some(tls) = tls else {
        let mut first = [0; HTTP2_PREFACE.len()];
        let received = stream.peek(&mut first).await?;
        let is_http1 = !HTTP2_PREFACE.starts_with(&first[..received]);
        return Ok((Either::Left(with_permit(stream)), is_http1));
    };
    let stream = tls.accept(with_permit(stream)).await?;
    let is_http1 = tls::speaks_http1(&stream);
    Ok((Either::Right(stream), is_http1))
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
        // Boxed, as it is rare: the future is made anew for each request, and moved.
        _ => Either::Right(Box::pin(service.clone().oneshot(request))),
    }
}
