//! Beside the layers of tower-http.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tower_response_cache::{BoxError, CacheLayer};

use crate::support::both::AnyBackend;
use crate::support::origin::{Origin, cacheable, versions};
use crate::support::time::settled;
use crate::support::{get, in_memory, put, request, send, with};
use crate::{gated, on_both_backends};

fn timeout_layer(status: StatusCode) -> TimeoutLayer {
    TimeoutLayer::with_status_code(status, Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_outside_composes() {
    on_both_backends(async |backend| {
        let (gate, origin) = gated();
        let service = ServiceBuilder::new()
            .layer(timeout_layer(StatusCode::REQUEST_TIMEOUT))
            .layer(CacheLayer::new(backend))
            .service(origin);
        gate.add_permits(1);
        send(&service, get("/held")).await;
        settled().await;
        assert!(send(&service, get("/held")).await.is_hit());

        let late = send(&service, put("/held")).await;
        assert_eq!(late.status, StatusCode::REQUEST_TIMEOUT);
        gate.add_permits(2);
        settled().await;
        assert!(!send(&service, get("/held")).await.is_hit());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_inside_composes() {
    on_both_backends(async |backend| {
        times_out_inside(backend, StatusCode::GATEWAY_TIMEOUT).await;
    })
    .await;
}

/// 408 is what `TimeoutLayer` has always said by default, and its handler may have committed.
#[tokio::test(start_paused = true)]
async fn a_write_that_timed_out_inside_with_408_invalidates() {
    on_both_backends(async |backend| {
        times_out_inside(backend, StatusCode::REQUEST_TIMEOUT).await;
    })
    .await;
}

async fn times_out_inside(backend: AnyBackend, status: StatusCode) {
    let (gate, origin) = gated();
    let service = ServiceBuilder::new()
        .layer(CacheLayer::new(backend).ttl(Duration::from_secs(60)))
        .layer(timeout_layer(status))
        .service(origin);
    let late = send(&service, get("/held")).await;
    assert_eq!(late.status, status);
    let refusal = match status {
        StatusCode::REQUEST_TIMEOUT => "status",
        _ => "no-lifetime",
    };
    let expected = format!("fwd=uri-miss; detail={refusal}");
    assert_eq!(late.cache_status(), expected);
    gate.add_permits(1);
    send(&service, get("/held")).await;
    settled().await;
    assert!(send(&service, get("/held")).await.is_hit());

    assert_eq!(send(&service, put("/held")).await.status, status);
    gate.add_permits(1);
    assert!(!send(&service, get("/held")).await.is_hit());
}

fn from_origin(request: Request<()>, origin: &str) -> Request<()> {
    with(request, "origin", origin)
}

#[tokio::test(start_paused = true)]
async fn a_cors_layer_outside_composes() {
    on_both_backends(async |backend| {
        let origin = versions();
        let service = ServiceBuilder::new()
            .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any))
            .layer(CacheLayer::new(backend))
            .service(origin.clone());
        let preflight = with(
            from_origin(request(Method::OPTIONS, "/a"), "https://one.example"),
            "access-control-request-method",
            "PUT",
        );
        let preflight = send(&service, preflight).await;
        assert_eq!(preflight.header("access-control-allow-methods"), "*");
        assert_eq!(origin.calls(), 0);
        for expected in [false, true] {
            let request = from_origin(get("/a"), "https://one.example");
            let answer = send(&service, request).await;
            assert_eq!(answer.is_hit(), expected);
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            settled().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cors_layer_inside_composes_and_no_origin_sees_anothers_answer() {
    on_both_backends(async |backend| {
        let mirror = CorsLayer::new().allow_origin(AllowOrigin::mirror_request());
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(backend))
            .layer(mirror)
            .service(versions());
        for expected in [false, true] {
            for origin in ["https://one.example", "https://two.example"] {
                let answer = send(&service, from_origin(get("/a"), origin)).await;
                assert_eq!(answer.is_hit(), expected);
                assert_eq!(answer.header("access-control-allow-origin"), origin);
                settled().await;
            }
        }
        let preflight = from_origin(request(Method::OPTIONS, "/a"), "https://one.example");
        let preflight = send(&service, preflight).await;
        assert_eq!(preflight.cache_status(), "fwd=method");
    })
    .await;
}

/// Panics for `/panic`, but only after it has counted up what a write changes.
fn panicking() -> Origin {
    let origin = versions();
    Origin::new(move |mut request| {
        let panics = request.headers_mut().remove("x-panic").is_some();
        let answer = origin.clone().call(request);
        async move {
            let answer = answer.await;
            assert!(!panics, "as the test asked for");
            answer
        }
    })
}

async fn survives_panics<S, B>(service: &S)
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let panicked = send(service, with(get("/a"), "x-panic", "1")).await;
    assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
    settled().await;
    assert_eq!(send(service, get("/a")).await.body, "v1", "nothing stored");
    settled().await;
    assert!(send(service, get("/a")).await.is_hit());

    let panicked = send(service, with(put("/a"), "x-panic", "1")).await;
    assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
    settled().await;
    assert_eq!(send(service, get("/a")).await.body, "v2", "invalidated");
}

#[tokio::test(start_paused = true)]
async fn catch_panic_composes_outside() {
    on_both_backends(async |backend| {
        let service = ServiceBuilder::new()
            .layer(CatchPanicLayer::new())
            .layer(CacheLayer::new(backend))
            .service(panicking());
        survives_panics(&service).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn catch_panic_composes_inside() {
    on_both_backends(async |backend| {
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(backend))
            .layer(CatchPanicLayer::new())
            .service(panicking());
        survives_panics(&service).await;
    })
    .await;
}

fn long_text() -> Origin {
    Origin::at_once(|_| cacheable("a text that compresses well; ".repeat(100)))
}

fn accepting_gzip() -> Request<()> {
    with(get("/a"), "accept-encoding", "gzip")
}

async fn send_for_bytes<S, B>(service: &S, request: Request<()>) -> (HeaderMap, Bytes)
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes, Error: Debug>,
{
    let response = service.clone().oneshot(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body");
    (head.headers, body.to_bytes())
}

const GZIP: &[u8] = &[0x1f, 0x8b];

#[tokio::test(start_paused = true)]
async fn compression_outside_composes() {
    on_both_backends(async |backend| {
        let service = ServiceBuilder::new()
            .layer(CompressionLayer::new())
            .layer(CacheLayer::new(backend))
            .service(long_text());
        let (_, missed) = send_for_bytes(&service, accepting_gzip()).await;
        settled().await;
        let (head, hit) = send_for_bytes(&service, accepting_gzip()).await;
        assert_eq!(head["content-encoding"], "gzip");
        assert!(!head.contains_key("content-length"));
        assert!(hit.starts_with(GZIP) && hit == missed);
        let plain = send(&service, get("/a")).await;
        assert!(plain.is_hit(), "one stored response serves both");
        assert!(plain.body.starts_with("a text that"));
        assert_eq!(plain.header("content-length"), plain.body.len().to_string());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn compression_inside_composes_and_encodings_do_not_mix() {
    on_both_backends(async |backend| {
        let service = ServiceBuilder::new()
            .layer(CacheLayer::new(backend))
            .layer(CompressionLayer::new())
            .service(long_text());
        let (_, missed) = send_for_bytes(&service, accepting_gzip()).await;
        settled().await;
        let plain = send(&service, get("/a")).await;
        assert_eq!(plain.cache_status(), "fwd=vary-miss; stored");
        assert!(plain.body.starts_with("a text that"));
        settled().await;

        let (head, hit) = send_for_bytes(&service, accepting_gzip()).await;
        assert!(head.contains_key("age"), "a hit");
        assert_eq!(head["content-encoding"], "gzip");
        assert_eq!(head["content-length"], hit.len().to_string());
        assert!(hit.starts_with(GZIP) && hit == missed);
        let plain = send(&service, get("/a")).await;
        assert!(plain.is_hit() && plain.body.starts_with("a text that"));
        assert_eq!(plain.header("content-encoding"), "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_of_them_compose_with_axum_on_both_sides() {
    use axum::routing::get as handle;
    let text = "a text that compresses well; ".repeat(100);
    let router = axum::Router::new()
        .route("/a", handle(async move || text).put(async || "written"))
        .route("/held", handle(std::future::pending::<()>))
        .route("/panic", handle(async || -> () { panic!("as asked") }))
        .layer(CatchPanicLayer::new())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(timeout_layer(StatusCode::SERVICE_UNAVAILABLE))
        .layer(in_memory().ttl(Duration::from_secs(60)))
        .layer(CatchPanicLayer::new())
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(timeout_layer(StatusCode::SERVICE_UNAVAILABLE));
    let service = crate::routers::of(router);
    miss_hit_write_miss_on_axum(&service).await;
    let (_, zipped) = send_for_bytes(&service, accepting_gzip()).await;
    assert!(zipped.starts_with(GZIP));
    let panicked = send(&service, get("/panic")).await;
    assert_eq!(panicked.status, StatusCode::INTERNAL_SERVER_ERROR);
    let late = send(&service, get("/held")).await;
    assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
}

async fn miss_hit_write_miss_on_axum(service: &crate::routers::Routed) {
    let hits = async || send(service, get("/a")).await.is_hit();
    assert!(!hits().await);
    assert!(hits().await);
    assert_eq!(send(service, put("/a")).await.body, "written");
    assert!(!hits().await);
    assert!(hits().await);
}
