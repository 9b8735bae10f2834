//! The servers of axum and tonic, and other layers around the cache, in spawned tasks.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::handler::Handler;
use axum::routing::get as handle;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower::{Layer, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::timeout::ResponseBodyTimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{BodyError, BoxError, Cache, CacheLayer, ResponseBody};

use super::spawned::{Answers, OwnError, text};
use crate::support::{Answer, collect, in_memory};

/// Two requests over the network; the second one is answered from the store.
async fn asked_twice(address: SocketAddr, path: &str, is_http2: bool) {
    let mut builder = Client::builder(TokioExecutor::new());
    let client = builder.http2_only(is_http2).build_http();
    for is_hit in [false, true] {
        let request = Request::get(format!("http://{address}{path}"));
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let answer: Answer = collect(client.request(request).await.expect("a response")).await;
        assert_eq!(
            (answer.body.as_str(), answer.is_hit()),
            ("text", is_hit),
            "{path}"
        );
    }
}

type Boxed = BoxBody<Bytes, BoxError>;

async fn boxed(_: axum::extract::Request) -> Response<Boxed> {
    let response = Response::builder().header("cache-control", "max-age=60");
    response
        .body(text::<BoxError>().boxed())
        .expect("a response")
}

async fn own(_: axum::extract::Request) -> Response<UnsyncBoxBody<Bytes, OwnError>> {
    let response = Response::builder().header("cache-control", "max-age=60");
    response
        .body(text::<OwnError>().boxed_unsync())
        .expect("a response")
}

#[tokio::test]
async fn every_place_for_a_layer_in_axum() {
    let cache = in_memory();
    let routes = || {
        Router::new()
            .route("/handler", handle(boxed.layer(cache.clone())))
            .route("/method", handle(own).layer(cache.clone()))
            .route("/route", handle(boxed))
            .route_service(
                "/service",
                cache.layer(Answers(|| text::<BoxError>().boxed())),
            )
    };
    let inside = Router::new()
        .route("/inside", handle(boxed))
        .layer(cache.clone());
    let router = routes().merge(inside).route_layer(cache.clone());
    let outside = cache.layer(router.clone());
    let router = router.fallback_service(outside).layer(cache.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    for path in ["/handler", "/method", "/route", "/service", "/inside"] {
        asked_twice(address, path, false).await;
    }
}

#[tokio::test]
async fn a_server_of_tonic() {
    type Body = tonic::body::Body;
    let service = Answers(|| Body::new(text::<tonic::Status>()));
    let incoming = tonic::transport::server::TcpIncoming::bind(([127, 0, 0, 1], 0).into());
    let incoming = incoming.expect("a port");
    let address = incoming.local_addr().expect("an address");
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().layer(in_memory());
        server.serve_with_incoming(service, incoming).await
    });
    asked_twice(address, "/a", true).await;
}

fn connection() -> (TokioIo<DuplexStream>, DuplexStream) {
    let (client, server) = tokio::io::duplex(1024);
    (TokioIo::new(server), client)
}

type Mapped<B> = UnsyncBoxBody<Bytes, BodyError<B>>;

/// Only compiled, like the tests of a bound: a connection that is never used.
macro_rules! layers {
    ($($name:ident: $inner:expr, $layer:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            let (io, client) = connection();
            drop(client);
            let served = tokio::spawn(async move {
                let service = ServiceBuilder::new()
                    .layer($layer)
                    .layer(in_memory())
                    .service($inner);
                let service = TowerToHyperService::new(service);
                http1::Builder::new().serve_connection(io, service).await
            });
            served.await.expect("no panic").expect("no request");
        }
    )* };
}

fn timeout() -> ResponseBodyTimeoutLayer {
    ResponseBodyTimeoutLayer::new(std::time::Duration::from_secs(1))
}

fn own_body() -> BoxBody<Bytes, OwnError> {
    text::<OwnError>().boxed()
}

fn boxed_body() -> Boxed {
    text::<BoxError>().boxed()
}

fn unsync(body: ResponseBody<BoxBody<Bytes, OwnError>>) -> Mapped<OwnError> {
    body.boxed_unsync()
}

layers! {
    a_trace_around_own_errors: Answers(own_body), TraceLayer::new_for_http();
    a_timeout_of_bodies_around_own_errors: Answers(own_body), timeout();
    compression_around_own_errors: Answers(own_body), CompressionLayer::new();
    a_trace_around_axum: Answers(axum::body::Body::empty), TraceLayer::new_for_http();
    a_timeout_of_bodies_around_axum: Answers(axum::body::Body::empty), timeout();
    compression_around_axum: Answers(axum::body::Body::empty), CompressionLayer::new();
    compression_around_tonic: Answers(tonic::body::Body::empty), CompressionLayer::new();
    a_map_of_bodies_around_own_errors: Answers(own_body), MapResponseBodyLayer::new(unsync);
    a_closure_as_a_service: service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(boxed_body()))
    }), tower::layer::util::Identity::new();
    another_cache: in_memory().layer(Answers(boxed_body)), tower::layer::util::Identity::new();
}

/// In a place that names the types of the cache, and asks of the bodies what servers do.
#[test]
fn the_types_can_be_named() {
    fn assert_served<B>(_: &Cache<Answers<B>, MemoryBackend>)
    where
        Answers<B>: Clone,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
        Cache<Answers<B>, MemoryBackend>:
            tower::Service<Request<()>, Error = Infallible, Response = Response<ResponseBody<B>>>,
    {
    }
    fn layered(layer: &CacheLayer<MemoryBackend>) -> Cache<Answers<Boxed>, MemoryBackend> {
        layer.layer(Answers(boxed_body))
    }
    assert_served(&layered(&in_memory()));
}
