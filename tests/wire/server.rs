//! A cache before a scripted origin, on a port of its own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::{Layer as _, Service, ServiceBuilder};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Stats;
use tower_response_cache::{Cache, CacheHandle};

use crate::dialogue::{Layer, Reply, reply};
use crate::support::origin::{OriginBody, full, scripted};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

#[cfg(feature = "redis")]
pub type AnyBackend = tower_response_cache::backend::Either<
    MemoryBackend,
    tower_response_cache::backend::redis::RedisBackend,
>;
#[cfg(not(feature = "redis"))]
pub type AnyBackend = MemoryBackend;

/// A kind of backend.
pub struct Kind {
    pub name: &'static str,
    make: Box<dyn Fn() -> AnyBackend>,
}

impl Kind {
    /// A backend that holds nothing yet.
    pub fn new_one(&self) -> AnyBackend {
        (self.make)()
    }
}

#[cfg(not(feature = "redis"))]
pub async fn backends() -> Vec<Kind> {
    let make = Box::new(MemoryBackend::default);
    vec![Kind {
        name: "memory",
        make,
    }]
}

#[cfg(feature = "redis")]
pub async fn backends() -> Vec<Kind> {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower_response_cache::backend::Either;
    use tower_response_cache::backend::redis::RedisOptions;

    let server = crate::support::redis::RedisServer::start().await;
    let number = AtomicUsize::new(0);
    let on_redis = move || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let options = RedisOptions::new(&server.url()).expect("a URL");
        let options = options.connect_timeout(PATIENCE).response_timeout(PATIENCE);
        let options = options.try_namespace(&format!("wire{number}"));
        Either::Right(options.expect("a namespace").build())
    };
    vec![
        Kind {
            name: "memory",
            make: Box::new(|| Either::Left(MemoryBackend::default())),
        },
        Kind {
            name: "Redis",
            make: Box::new(on_redis),
        },
    ]
}

/// The origin's next answers, and its requests.
#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<HeaderMap>,
    gate: Option<Arc<Notify>>,
}

#[derive(Clone, Default)]
pub struct Origin(Arc<Mutex<Script>>);

impl Origin {
    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A body as hyper receives it, or the empty one of a repeated request.
type RequestBody = Either<Incoming, Empty<Bytes>>;

impl Service<Request<RequestBody>> for Origin {
    type Response = Response<OriginBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let origin = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let _ = body.collect().await;
            let (reply, gate) = origin.with(|script| {
                script.asked.push(head.headers);
                (script.replies.pop_front(), script.gate.clone())
            });
            if let Some(gate) = gate {
                gate.notified().await;
            }
            Ok(match reply {
                Some(reply) => response(&reply),
                None => response(&nothing_to_say()),
            })
        })
    }
}

fn nothing_to_say() -> Reply {
    reply(500, "the origin has nothing to say")
}

fn response(reply: &Reply) -> Response<OriginBody> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.lines {
        response = response.header(*name, *value);
    }
    let data = Bytes::from_static(reply.body.as_bytes());
    let body = match reply.trailer {
        None => full(data),
        Some((name, value)) => {
            let line = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            let trailers = HeaderMap::from_iter([line]);
            // Servers that know a length send no trailers.
            let (sender, body) = scripted();
            for frame in [Frame::data(data), Frame::trailers(trailers)] {
                sender.send(Ok(frame)).expect("it is read later");
            }
            body
        }
    };
    response.body(body).expect("a response")
}

pub struct Server {
    pub port: u16,
    pub handle: CacheHandle<AnyBackend>,
    origin: Origin,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(layer: Layer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let origin = Origin::default();
        let layer = layer.empty_request_body(|| RequestBody::Right(Empty::new()));
        let service = layer.layer(origin.clone());
        let task = tokio::spawn(serve(listener, service));
        Self {
            port,
            handle: layer.handle(),
            origin,
            task,
        }
    }

    /// What the origin says next, one reply for each request, and nothing else.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.origin.with(|script| script.replies = replies);
    }

    /// From now on each of its answers waits until it is let go.
    pub fn holds(&self) -> Arc<Notify> {
        let gate = Arc::<Notify>::default();
        self.origin.with(|script| script.gate = Some(gate.clone()));
        gate
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<HeaderMap> {
        self.origin.with(|script| std::mem::take(&mut script.asked))
    }

    pub async fn until(&self, what: &str, is_so: impl Fn(&Stats) -> bool) {
        let start = Instant::now();
        while !is_so(&self.handle.stats()) {
            assert!(start.elapsed() < PATIENCE, "waited in vain, {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, service: Cache<Origin, AnyBackend>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = ServiceBuilder::new()
            .map_request(|request: Request<Incoming>| request.map(RequestBody::Left))
            .service(service.clone());
        let service = TowerToHyperService::new(service);
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            // A client that leaves is no fault of the server's.
            let _ = connection.await;
        });
    }
}
