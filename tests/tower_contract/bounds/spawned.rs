//! Common body types in spawned tasks.
//!
//! Within an async block the compiler forgets that the trait object in `Box<dyn Error>` is
//! `'static`. A service whose bounds then need to know it cannot be spawned ("implementation of
//! `From` is not general enough", rust-lang/rust#110338). So these tests are about what compiles;
//! that it works is an extra.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{BoxError, Cache, ResponseBody};

use crate::support::{collect, in_memory};

/// A service that names its bodies in its type, as those of `MapResponse` and the like do.
pub(super) struct Answers<B>(pub(super) fn() -> B);

impl<B> Clone for Answers<B> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<Req, B> Service<Request<Req>> for Answers<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Req>) -> Self::Future {
        let response = Response::builder().header("cache-control", "max-age=60");
        ready(Ok(response.body((self.0)()).expect("a response")))
    }
}

/// An error of an application.
#[derive(Debug)]
pub(super) enum OwnError {
    #[expect(dead_code, reason = "no body fails here")]
    Broken,
}

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for OwnError {}

/// An error that is no `Error` itself, as those of `anyhow` are none.
#[derive(Debug)]
pub(super) struct AnyError(BoxError);

impl From<AnyError> for BoxError {
    fn from(error: AnyError) -> Self {
        error.0
    }
}

pub(super) fn text<E: 'static>() -> impl Body<Data = Bytes, Error = E> + Send + Sync {
    Full::new(Bytes::from("text")).map_err(|never| match never {})
}

fn get() -> Request<Empty<Bytes>> {
    let request = Request::get("/a").header("host", "test.example");
    request.body(Empty::new()).expect("a request")
}

/// A connection, and a task that sends two requests over it and sees the second one answered from
/// the store.
fn connection(is_http2: bool) -> (TokioIo<DuplexStream>, JoinHandle<()>) {
    let (client, server) = duplex(64 * 1024);
    let io = TokioIo::new(client);
    let asking = tokio::spawn(async move {
        let mut answers = Vec::new();
        if is_http2 {
            let executor = TokioExecutor::new();
            let connected = hyper::client::conn::http2::handshake(executor, io).await;
            let (mut client, connection) = connected.expect("a connection");
            tokio::spawn(connection);
            for _ in 0..2 {
                let response = client.send_request(get()).await.expect("a response");
                answers.push(collect(response).await);
            }
        } else {
            let connected = hyper::client::conn::http1::handshake(io).await;
            let (mut client, connection) = connected.expect("a connection");
            tokio::spawn(connection);
            for _ in 0..2 {
                client.ready().await.expect("an open connection");
                let response = client.send_request(get()).await.expect("a response");
                answers.push(collect(response).await);
            }
        }
        assert_eq!([&*answers[0].body, &*answers[1].body], ["text", "text"]);
        assert_eq!([answers[0].is_hit(), answers[1].is_hit()], [false, true]);
    });
    (TokioIo::new(server), asking)
}

/// The tests of one body type; `make` is a body that says `text`.
macro_rules! bodies {
    ($($name:ident: $body:ty = $make:expr;)*) => { $(mod $name {
        use super::*;

        type Named = $body;

        fn service() -> Cache<Answers<Named>, MemoryBackend> {
            in_memory().layer(Answers(body))
        }

        fn body() -> Named {
            $make
        }

        #[tokio::test]
        async fn as_a_response_on_http1() {
            let ((io, asking), service) = (connection(false), service());
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                http1::Builder::new().serve_connection(io, service).await
            });
            asking.await.expect("no panic");
        }

        #[tokio::test]
        async fn as_a_response_on_http2() {
            let ((io, asking), service) = (connection(true), service());
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                let builder = http2::Builder::new(TokioExecutor::new());
                builder.serve_connection(io, service).await
            });
            asking.await.expect("no panic");
        }

        #[tokio::test]
        async fn as_a_response_on_either() {
            for is_http2 in [false, true] {
                let ((io, asking), service) = (connection(is_http2), service());
                tokio::spawn(async move {
                    let service = TowerToHyperService::new(service);
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let serving = builder.serve_connection_with_upgrades(io, service);
                    let mut serving = std::pin::pin!(serving);
                    tokio::select! {
                        served = serving.as_mut() => served,
                        () = std::future::pending() => {
                            serving.as_mut().graceful_shutdown();
                            serving.await
                        }
                    }
                });
                asking.await.expect("no panic");
            }
        }

        #[tokio::test]
        async fn as_a_response_of_a_boxed_service() {
            type Boxed = BoxCloneSyncService<Request<Incoming>, Response<Named>, Infallible>;
            let (io, asking) = connection(false);
            tokio::spawn(async move {
                let inner = Boxed::new(Answers::<Named>(body));
                let service = TowerToHyperService::new(in_memory().layer(inner));
                http1::Builder::new().serve_connection(io, service).await
            });
            asking.await.expect("no panic");
        }

        #[tokio::test]
        async fn as_a_response_in_a_block() {
            let service = service();
            let answer: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                for is_hit in [false, true] {
                    let response = service.clone().oneshot(get()).await.expect("a response");
                    assert_eq!(response.headers().contains_key("age"), is_hit);
                    let body = response.into_body().collect().await.map_err(BoxError::from);
                    assert_eq!(body.expect("a body").to_bytes(), "text");
                }
            });
            tokio::spawn(answer).await.expect("no panic");
        }

        /// The future itself is spawned, or boxed before the block that waits for it.
        #[tokio::test]
        async fn as_a_request() {
            type Boxed = Pin<
                Box<
                    dyn Future<Output = Result<Response<ResponseBody<Named>>, Infallible>> + Send,
                >,
            >;
            let request = || Request::get("/a").body(body()).expect("a request");
            let spawned = tokio::spawn(service().oneshot(request())).await;
            let response = spawned.expect("no panic").expect("a response");
            assert_eq!(response.status(), 200);
            let answer: Boxed = Box::pin(service().oneshot(request()));
            let status = tokio::spawn(async move {
                let response = answer.await.expect("a response");
                response.status()
            });
            assert_eq!(status.await.expect("no panic"), 200);
        }
    })* };
}

bodies! {
    boxed_with_boxed_errors: BoxBody<Bytes, BoxError> = text::<BoxError>().boxed();
    unsync_with_boxed_errors: UnsyncBoxBody<Bytes, BoxError> = text::<BoxError>().boxed_unsync();
    of_axum: axum::body::Body = axum::body::Body::from("text");
    of_tonic: tonic::body::Body = tonic::body::Body::new(text::<tonic::Status>());
    infallible: BoxBody<Bytes, Infallible> = text::<Infallible>().boxed();
    with_an_error_of_its_own: BoxBody<Bytes, OwnError> = text::<OwnError>().boxed();
    with_an_error_that_is_none: BoxBody<Bytes, AnyError> = text::<AnyError>().boxed();
    of_the_cache_itself: ResponseBody<BoxBody<Bytes, BoxError>> = Bytes::from("text").into();
}

/// The tests of a request body within a block.
macro_rules! request_bodies {
    ($($name:ident: $make:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            let service = in_memory().layer(Answers(text_of_boxed_errors));
            let request = Request::get("/a").body($make).expect("a request");
            let status = tokio::spawn(async move {
                let response = service.oneshot(request).await.expect("a response");
                let body = response.into_body().collect().await.map_err(BoxError::from);
                body.expect("a body").to_bytes()
            });
            assert_eq!(status.await.expect("no panic"), "text");
        }
    )* };
}

fn text_of_boxed_errors() -> BoxBody<Bytes, BoxError> {
    text::<BoxError>().boxed()
}

request_bodies! {
    a_request_of_axum_in_a_block: axum::body::Body::empty();
    a_request_of_tonic_in_a_block: tonic::body::Body::empty();
    a_request_with_an_own_error_in_a_block: text::<OwnError>().boxed();
    a_request_with_an_error_that_is_none_in_a_block: text::<AnyError>().boxed();
    an_infallible_request_in_a_block: text::<Infallible>().boxed();
}
