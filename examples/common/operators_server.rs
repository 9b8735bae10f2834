//! Serves operators on an address of their own: with few connections and short times, apart from
//! those of clients, and until the end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::admin::Admin;

use crate::shutdown_signal::ShutdownSignal;

/// The most connections at a time; others wait.
const MAX_CONNECTIONS: usize = 64;
/// The longest time for the head of a request, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
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
        loop {
            let permit = limit.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(self.clone().serve_connection(stream, permit));
                }
                Err(error) => {
                    log_not_accepted(&error);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream, _permit: OwnedSemaphorePermit) {
        let respond = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let service = self.lock().clone();
            TowerToHyperService::new(service).call(request)
        });
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), respond));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = tokio::time::sleep(MAX_AGE) => {
                connection.as_mut().graceful_shutdown();
                let ended = tokio::time::timeout(LAST_REQUEST, connection).await;
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
