//! Connections from clients.

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

use crate::access::Seen;
use crate::counted::Counted;
use crate::stop::Stop;

/// For how long requests in flight may hold up the end.
pub const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
/// How long to wait where no more connections can be accepted.
const NO_MORE: Duration = Duration::from_millis(100);

pub struct Server<S> {
    pub service: S,
    /// For the head of the next request.
    pub client_timeout: Duration,
    /// For reading what is there to be read.
    pub idle_timeout: Duration,
    pub max_connections: usize,
}

impl<S, Res> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<Res>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    Res: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    /// Serves until it is asked to stop, then finishes what is in flight.
    pub async fn run(self, listener: TcpListener, mut stop: Stop) {
        let builder = self.builder();
        let room = Arc::new(Semaphore::new(self.max_connections));
        let shutdown = GracefulShutdown::new();
        {
            let mut asked = pin!(stop.asked());
            loop {
                let accepted = tokio::select! {
                    accepted = accept(&listener, &room, self.idle_timeout) => accepted,
                    () = &mut asked => break,
                };
                let (stream, client) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted");
                        tokio::time::sleep(NO_MORE).await;
                        continue;
                    }
                };
                self.serve(&builder, &shutdown, stream, client);
            }
        }
        drop(listener);
        tracing::info!("stopping: finishing what is in flight");
        tokio::select! {
            () = shutdown.shutdown() => {}
            () = tokio::time::sleep(LAST_ANSWERS) => tracing::warn!("not all of it was finished"),
            () = stop.asked() => tracing::warn!("not all of it was finished"),
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.client_timeout)
            .max_buf_size(LARGEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.client_timeout)
            .keep_alive_timeout(self.client_timeout)
            .max_header_list_size(LARGEST_HEAD as u32);
        builder
    }

    fn serve(
        &self,
        builder: &Builder<TokioExecutor>,
        shutdown: &GracefulShutdown,
        stream: Counted<TcpStream>,
        client: SocketAddr,
    ) {
        let peer = Peer::new(client.ip());
        // Each connection has its own: what all of them counted up and down would be fetched from one core to the other.
        let service = Mutex::new(self.service.clone());
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            begins.store(true, Ordering::Relaxed);
            let seen = Seen::of(&request, client);
            request.extensions_mut().insert(peer);
            let answer = call(&service, request);
            async move {
                let answer = answer.await;
                if let (Some(seen), Ok(answer)) = (seen, &answer) {
                    seen.answered(answer);
                }
                answer
            }
        });
        let stream = TokioIo::new(stream);
        let connection = builder.serve_connection_with_upgrades(stream, answer);
        let connection = shutdown.watch(connection.into_owned());
        let limit = self.client_timeout;
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = match timeout(limit, &mut connection).await {
                Ok(ended) => ended,
                // Nobody else gives up on a client that has not even said which protocol it speaks.
                Err(_) if !begun.load(Ordering::Relaxed) => return,
                Err(_) => connection.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%client, error, "a connection failed");
            }
        });
    }
}

/// Calls a service that is always ready, as a cache is, and nobody else's; a clone of it where it is not.
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

/// The next connection, when there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    idle: Duration,
) -> io::Result<(Counted<TcpStream>, SocketAddr)> {
    let permit: OwnedSemaphorePermit = room
        .clone()
        .acquire_owned()
        .await
        .expect("it is never closed");
    let (stream, client) = listener.accept().await?;
    // Answers are written whole: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    Ok((Counted::new(stream, permit, idle), client))
}
