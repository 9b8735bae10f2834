//! Serves operators on an address of their own: with few connections and short times, apart from
//! those of clients, and until the end.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::admin::Admin;

use crate::shutdown_signal::ShutdownSignal;

/// The most connections at a time. One more ends the oldest that waits for its client; only if all
/// of them are being answered does it wait.
const MAX_CONNECTIONS: usize = 64;
/// The longest time for the head of a request, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// The age at which a connection ends after its request, and the time that this request has then.
const MAX_AGE: Duration = Duration::from_secs(60);
const LAST_REQUEST: Duration = Duration::from_secs(10);
/// The pause after an error of accept, which is also the shortest time between two log lines.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// The server. Clones share it.
#[derive(Clone)]
pub struct OperatorsServer {
    service: Arc<Mutex<Admin>>,
    is_stopping: Arc<AtomicBool>,
}

impl OperatorsServer {
    pub fn new(service: Admin) -> Self {
        let is_stopping = Arc::<AtomicBool>::default();
        Self {
            service: Arc::new(Mutex::new(ready_until(&is_stopping, service))),
            is_stopping,
        }
    }

    /// Answers with another service from now on.
    #[allow(dead_code, reason = "not all programs read their options again")]
    pub fn replace(&self, service: Admin) {
        *self.lock() = ready_until(&self.is_stopping, service);
    }

    /// The service that answers now.
    #[allow(dead_code, reason = "not all programs read their options again")]
    pub fn service(&self) -> Admin {
        self.lock().clone()
    }

    /// Serves until the returned value is dropped. From the signal on, the program is not ready.
    pub fn serve(self, listener: TcpListener, mut signal: ShutdownSignal) -> AbortOnDropHandle<()> {
        let is_stopping = self.is_stopping.clone();
        let stopping = async move {
            signal.wait().await;
            is_stopping.store(true, Ordering::Relaxed);
            std::future::pending().await
        };
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                () = self.accept(listener) => {}
                () = stopping => {}
            }
        }))
    }

    /// Accepts connections for ever.
    async fn accept(&self, listener: TcpListener) {
        let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let open = OpenConnections::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if limit.available_permits() == 0 {
                        open.end_one();
                    }
                    let permit = limit.clone().acquire_owned().await;
                    let permit = permit.expect("the semaphore is never closed");
                    while connections.try_join_next().is_some() {}
                    let served = self.clone().serve_connection(stream, open.begin(), permit);
                    connections.spawn(served);
                }
                Err(error) => {
                    log_not_accepted(&error);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn serve_connection(
        self,
        stream: TcpStream,
        connection: OpenConnection,
        _permit: OwnedSemaphorePermit,
    ) {
        let state = connection.state.clone();
        let respond = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let service = self.lock().clone();
            let answering = state.begin_answer();
            let request = request.map(|body| Content {
                body,
                state: state.clone(),
            });
            let answer = TowerToHyperService::new(service).call(request);
            async move {
                let _answering = answering;
                answer.await
            }
        });
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), respond));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = connection.state.ended.notified() => {
                return tracing::debug!("operator's connection ended: others have come");
            }
            () = tokio::time::sleep(MAX_AGE) => {
                serving.as_mut().graceful_shutdown();
                let ended = tokio::time::timeout(LAST_REQUEST, serving).await;
                ended.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "operator's connection failed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Admin> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready_until(is_stopping: &Arc<AtomicBool>, service: Admin) -> Admin {
    let is_stopping = is_stopping.clone();
    service.ready_if(move || !is_stopping.load(Ordering::Relaxed))
}

/// Such as too many open files: then neither operators nor Prometheus see the program.
fn log_not_accepted(error: &io::Error) {
    tracing::error!(%error, "operator's connection not accepted; will retry");
}

/// The open connections, in the order of their beginning. Clones share them.
#[derive(Clone, Default)]
struct OpenConnections(Arc<Mutex<ByNumber>>);

#[derive(Default)]
struct ByNumber {
    connections: BTreeMap<u64, Arc<ConnectionState>>,
    next: u64,
}

/// A connection that is open until this is dropped.
struct OpenConnection {
    number: u64,
    state: Arc<ConnectionState>,
    open: OpenConnections,
}

/// How far a connection is.
#[derive(Default)]
struct ConnectionState {
    /// Whether a request is being answered, without waiting for its content.
    is_answering: AtomicBool,
    has_had_request: AtomicBool,
    /// Told to end.
    ended: Notify,
}

impl OpenConnections {
    fn begin(&self) -> OpenConnection {
        let state = Arc::<ConnectionState>::default();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, state.clone());
        OpenConnection {
            number,
            state,
            open: self.clone(),
        }
    }

    /// Ends the oldest connection that has sent no request, else the oldest that waits for its
    /// client.
    fn end_one(&self) {
        let mut open = self.lock();
        let oldest = |is_silent: bool| {
            let mut connections = open.connections.iter();
            let found = connections.find(|(_, state)| state.may_end(is_silent));
            found.map(|(number, _)| *number)
        };
        let ended = oldest(true).or_else(|| oldest(false));
        if let Some(state) = ended.and_then(|number| open.connections.remove(&number)) {
            state.ended.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.lock().connections.remove(&self.number);
    }
}

impl ConnectionState {
    /// Notes that a request is being answered until the returned value is dropped.
    fn begin_answer(self: &Arc<Self>) -> Answering {
        self.has_had_request.store(true, Ordering::Relaxed);
        self.set_answering(true);
        Answering(self.clone())
    }

    fn set_answering(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Ordering::Relaxed);
    }

    /// Whether it waits for its client, and has never had a request if that is asked for.
    fn may_end(&self, is_silent: bool) -> bool {
        let is_waiting = !self.is_answering.load(Ordering::Relaxed);
        is_waiting && !(is_silent && self.has_had_request.load(Ordering::Relaxed))
    }
}

struct Answering(Arc<ConnectionState>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set_answering(false);
    }
}

/// The content of a request. While it has not arrived, its connection waits for the client.
struct Content {
    body: Incoming,
    state: Arc<ConnectionState>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.state.set_answering(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
