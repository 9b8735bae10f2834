//! Content of a GET that its head does not announce, as HTTP/2 allows: it is in no key, so that no
//! response to it is for others.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tower::util::MapRequest;
use tower::{Layer, Service};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{BoxError, CacheLayer};

use crate::support::origin::{OriginBody, data, full, scripted};
use crate::support::time::{in_time, in_virtual_time, settled};
use crate::support::{Answer, collect};

/// One HTTP/2 connection to a service.
async fn connect<S, B>(service: S) -> SendRequest<OriginBody>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (client, stream) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(service);
    let server = http2::Builder::new(TokioExecutor::new());
    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    let connected = handshake(TokioExecutor::new(), TokioIo::new(client)).await;
    let (client, connection) = connected.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Sends a request, with content whose length is not announced if there is any.
async fn send(
    client: &mut SendRequest<OriginBody>,
    method: Method,
    content: &'static str,
) -> Answer {
    let body = match content {
        "" => full(""),
        content => {
            let (script, body) = scripted();
            script.send(data(content)).expect("a reader");
            body
        }
    };
    let request = Request::builder()
        .method(method)
        .uri("http://test.example/a")
        .body(body)
        .expect("a request");
    collect(client.send_request(request).await.expect("an answer")).await
}

/// Answers with the content of the request, or for nobody if it has none.
async fn echo<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Error: std::fmt::Debug>,
{
    let is_head = request.method() == Method::HEAD;
    let content = request.into_body().collect().await.expect("content");
    let content = content.to_bytes();
    let text = match content.is_empty() {
        _ if is_head => Bytes::new(),
        true => Bytes::from_static(b"for all"),
        false => content,
    };
    let response =
        Response::builder().header("cache-control", "max-age=1, stale-while-revalidate=60");
    Ok(response.body(Full::new(text)).expect("a response"))
}

/// Content goes past the cache before there is a stored response, and once that is stale.
async fn content_is_passed_on(client: &mut SendRequest<OriginBody>) {
    for method in [Method::GET, Method::HEAD] {
        let passed = send(client, method, "evil").await;
        assert!(
            passed.cache_status().contains("request-content"),
            "{}",
            passed.cache_status()
        );
    }
    let stored = send(client, Method::GET, "").await;
    assert_eq!(stored.body, "for all");
    assert!(
        stored.cache_status().contains("stored"),
        "{}",
        stored.cache_status()
    );
    let hit = send(client, Method::GET, "").await;
    assert!(
        hit.cache_status().starts_with("hit"),
        "{}",
        hit.cache_status()
    );
    let hit = send(client, Method::GET, "evil").await;
    assert_eq!(hit.body, "for all", "a hit reaches no inner service");

    tokio::time::advance(Duration::from_secs(5)).await;
    let passed = send(client, Method::GET, "evil").await;
    assert_eq!(passed.body, "evil");
    assert_eq!(send(client, Method::GET, "").await.body, "for all");
}

/// P9, P10: no request shapes what others get by content that is not in the key. The bodies of
/// hyper's servers are known with the feature `proxy`, which brings hyper.
#[cfg(feature = "proxy")]
#[tokio::test(start_paused = true)]
async fn content_of_a_get_over_http_2_shapes_no_stored_response() {
    let service = virtual_time().layer(tower::service_fn(echo::<Incoming>));
    in_time(async {
        content_is_passed_on(&mut connect(service).await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn content_in_a_boxed_body_shapes_no_stored_response() {
    type Boxed = http_body_util::combinators::BoxBody<Bytes, BoxError>;
    let service = virtual_time().layer(tower::service_fn(echo::<Boxed>));
    let boxed = |request: Request<Incoming>| request.map(|body| body.map_err(Into::into).boxed());
    in_time(async {
        content_is_passed_on(&mut connect(MapRequest::new(service, boxed)).await).await;
    })
    .await;
}

fn virtual_time() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

fn on_axum(layer: CacheLayer<MemoryBackend>) -> axum::Router {
    let answer = async |request: axum::extract::Request| echo(request).await.expect("infallible");
    axum::Router::new()
        .route("/a", axum::routing::get(answer))
        .layer(layer)
}

/// The application has said how bodies are made of content, so that they can be asked for theirs.
#[tokio::test(start_paused = true)]
async fn content_on_axum_shapes_no_stored_response_where_bodies_are_made_of_content() {
    let router = on_axum(virtual_time().request_body(axum::body::Body::new));
    let router = MapRequest::new(router, |request: Request<Incoming>| {
        request.map(axum::body::Body::new)
    });
    in_time(async {
        content_is_passed_on(&mut connect(router).await).await;
    })
    .await;
}

/// A body that can be made empty, but not asked, is an empty one in each call for a key.
#[tokio::test(start_paused = true)]
async fn content_on_axum_reaches_no_handler_where_empty_bodies_are_known() {
    let router = on_axum(virtual_time().empty_request_body(axum::body::Body::empty));
    let router = MapRequest::new(router, |request: Request<Incoming>| {
        request.map(axum::body::Body::new)
    });
    in_time(async {
        let client = &mut connect(router).await;
        for seconds in [0, 5] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            for content in ["evil", ""] {
                assert_eq!(send(client, Method::GET, content).await.body, "for all");
                settled().await;
            }
        }
    })
    .await;
}
