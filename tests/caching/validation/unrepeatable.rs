//! Requests with a body type of which no empty one is known: they are never sent twice.

use http::{Request, StatusCode};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, ResponseBody};

use super::{MINUTE, Site, TAG, settled};
use crate::support::origin::{Origin, OriginBody, OriginError, answer};
use crate::support::time::SECOND;
use crate::support::{Answer, collect, get, in_memory, with};

/// A body of which there is no empty one, as hyper's `Incoming`.
struct Opaque;

async fn ask<S>(service: &S, request: Request<()>) -> Answer
where
    S: Service<
            Request<Opaque>,
            Response = http::Response<ResponseBody<OriginBody>>,
            Error = OriginError,
        > + Clone,
{
    let request = request.map(|()| Opaque);
    collect(service.clone().oneshot(request).await.expect("an answer")).await
}

/// A cache before an origin that wants an opaque body.
fn opaque(
    layer: &CacheLayer<MemoryBackend>,
    origin: Origin,
) -> impl Service<
    Request<Opaque>,
    Response = http::Response<ResponseBody<OriginBody>>,
    Error = OriginError,
> + Clone
+ use<> {
    let inner = ServiceBuilder::new()
        .map_request(|request: Request<Opaque>| request.map(|_| ()))
        .service(origin);
    layer.layer(inner)
}

/// RFC 9111 §4.3.4: the stored response is used without an update, never 502; the next request
/// goes without validators.
#[tokio::test(start_paused = true)]
async fn a_304_that_does_not_fit_is_answered_with_the_stored_response() {
    let strict = ("cache-control", "max-age=60, must-revalidate");
    let site = Site::new(&[TAG, strict], "text");
    let layer = in_memory();
    let service = opaque(&layer, site.origin.clone());
    ask(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.unchanged = vec![("etag", "\"b\""), ("x-poison", "1")]);
    advance(61 * SECOND).await;
    let got = ask(&service, get("/a")).await;
    assert_eq!((got.status, &*got.body), (StatusCode::OK, "text"));
    assert_eq!(
        (&*got.header("etag"), &*got.header("x-poison")),
        (TAG.1, "")
    );
    assert_eq!(
        got.cache_status(),
        "fwd=stale; fwd-status=304; detail=not-modified-is-another"
    );
    assert_eq!(site.calls(), 2);
    let next = ask(&service, get("/a")).await;
    assert_eq!(site.saw("if-none-match"), None);
    assert_eq!(
        (next.status, &*next.cache_status()),
        (StatusCode::OK, "fwd=stale; stored")
    );
    assert_eq!(layer.handle().stats().repetitions, 0);
}

/// A client's own condition is answered from the stored response.
#[tokio::test(start_paused = true)]
async fn a_304_that_does_not_fit_answers_the_clients_condition() {
    let site = Site::new(&[TAG, MINUTE], "text");
    let service = opaque(&in_memory(), site.origin.clone());
    ask(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
    advance(61 * SECOND).await;
    let got = ask(&service, with(get("/a"), "if-none-match", TAG.1)).await;
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
}

/// Nothing else is left to answer with: a stale response may not be used unvalidated. It costs one
/// request, because the next one goes without validators.
#[tokio::test(start_paused = true)]
async fn a_412_or_416_to_our_validators_goes_to_one_client_alone() {
    for refusal in [412, 416] {
        let strict = ("cache-control", "max-age=60, must-revalidate");
        let origin =
            Origin::at_once(
                move |request| match request.headers().contains_key("if-none-match") {
                    true => answer(refusal, &[], "refused"),
                    false => answer(200, &[TAG, strict], "text"),
                },
            );
        let service = opaque(&in_memory(), origin.clone());
        ask(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        for expected in [refusal, 200] {
            let got = ask(&service, get("/a")).await;
            assert_eq!(got.status.as_u16(), expected);
        }
        settled().await;
        assert!(ask(&service, get("/a")).await.is_hit());
        assert_eq!(origin.calls(), 3);
    }
}

/// RFC 9111 §3.4: the client's range is sent unchanged, so that it costs no second call.
#[tokio::test(start_paused = true)]
async fn a_range_is_not_narrowed_to_the_missing_part() {
    let part = |range: &str, text| {
        let lines = [TAG, MINUTE, ("content-range", range)];
        answer(206, &lines, text)
    };
    let origin = Origin::at_once(move |request| match request.headers()["range"].as_bytes() {
        b"bytes=0-1" => part("bytes 0-1/4", "ab"),
        b"bytes=1-3" => part("bytes 1-3/4", "bcd"),
        _ => answer(416, &[], "narrowed"),
    });
    for (makes_empty, expected) in [(false, 206), (true, 206)] {
        let mut layer = in_memory();
        if makes_empty {
            layer = layer.empty_request_body(|| Opaque);
        }
        let service = opaque(&layer, origin.clone());
        ask(&service, with(get("/a"), "range", "bytes=0-1")).await;
        settled().await;
        let got = ask(&service, with(get("/a"), "range", "bytes=1-3")).await;
        assert_eq!((got.status.as_u16(), &*got.body), (expected, "bcd"));
        let stats = layer.handle().stats();
        assert_eq!(stats.repetitions, u64::from(makes_empty));
    }
}

/// A 304 that no client asked for cannot be anything but an error.
#[tokio::test(start_paused = true)]
async fn a_304_on_a_miss_is_a_bad_gateway() {
    let origin = Origin::at_once(|_| answer(304, &[TAG], ""));
    let service = opaque(&in_memory(), origin.clone());
    let got = ask(&service, get("/a")).await;
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        got.cache_status(),
        "fwd=uri-miss; fwd-status=304; detail=unrequested-status"
    );
    assert_eq!(origin.calls(), 1);
}

/// An application can add a function for a type of its own.
#[tokio::test(start_paused = true)]
async fn an_added_empty_body_makes_requests_repeatable() {
    let site = Site::new(&[TAG, MINUTE], "text");
    let layer = in_memory().empty_request_body(|| Opaque);
    let service = opaque(&layer, site.origin.clone());
    ask(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
    advance(61 * SECOND).await;
    let got = ask(&service, get("/a")).await;
    assert_eq!((got.status, site.calls()), (StatusCode::OK, 3));
    assert_eq!(layer.handle().stats().repetitions, 1);
}
