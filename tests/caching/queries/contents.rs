//! Content that is too long, broken, or not as its head says: it goes on as it came.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_response_cache::BoxError;
use tower_response_cache::stats::Bypass;

use super::{MAX, queries};
use crate::support::both::on_both_backends;
use crate::support::contents::{Contents, ask, line, query, with_body};
use crate::support::origin::{BodyStep, OriginBody, data, scripted};
use crate::support::time::settled;

/// A QUERY whose content comes in these frames.
fn frames(steps: impl IntoIterator<Item = BodyStep>) -> Request<OriginBody> {
    let (sender, body) = scripted();
    for step in steps {
        sender.send(step).expect("the body is there");
    }
    with_body("QUERY", "/q", body)
}

fn broken() -> BodyStep {
    Err("the connection was reset".into())
}

fn trailers(name: &'static str) -> BodyStep {
    let mut trailers = HeaderMap::new();
    if !name.is_empty() {
        trailers.insert(name, http::HeaderValue::from_static("1"));
    }
    Ok(Frame::trailers(trailers))
}

/// Promise: content is stored by up to the bound, whether it is announced or not, in any frames.
#[tokio::test(start_paused = true)]
async fn content_up_to_the_bound_is_collected_and_longer_content_streams() {
    on_both_backends(async |layer| {
        let layer = queries(layer);
        let origin = Contents::new();
        let service = layer.layer(origin.clone());
        let whole = "x".repeat(MAX);
        let halves = || frames([data(HALF), data(HALF)]);
        assert_eq!(HALF.len() * 2, MAX);
        assert!(!ask(&service, query("/q", &whole)).await.is_hit());
        settled().await;
        assert!(ask(&service, query("/q", &whole)).await.is_hit());
        assert!(ask(&service, halves()).await.is_hit());
        let bytes = whole
            .bytes()
            .map(|byte| Ok(Frame::data(Bytes::from(vec![byte]))));
        assert!(ask(&service, frames(bytes)).await.is_hit());

        let longer = format!("{whole}y");
        for request in [
            query("/q", &longer),
            frames([data(HALF), data(HALF), data("y")]),
            frames([data(HALF), data("y"), data(HALF)]),
        ] {
            let calls = origin.calls();
            let got = ask(&service, request).await;
            assert_eq!(got.cache_status(), "fwd=bypass; detail=content-too-long");
            assert_eq!(origin.calls(), calls + 1);
            assert_eq!(origin.last().content.map(|text| text.len()), Ok(MAX + 1));
        }
        let bypasses = layer.handle().stats().bypasses;
        assert_eq!(bypasses.get(Bypass::ContentTooLong), 3);
    })
    .await;
}

const HALF: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Promise: longer content reaches the service before its client has sent all of it.
#[tokio::test(start_paused = true)]
async fn the_rest_of_longer_content_is_not_waited_for() {
    on_both_backends(async |layer| {
        let origin = tower::service_fn(async |request: Request<OriginBody>| {
            let mut body = request.into_body();
            let mut first = Vec::new();
            while first.len() <= MAX {
                let frame = body.frame().await.expect("a frame").expect("no error");
                first.extend(frame.into_data().expect("data"));
            }
            // It answers before the rest is here.
            Ok::<_, BoxError>(http::Response::new(Full::new(Bytes::from(first))))
        });
        let service = queries(layer).layer(origin);
        let (sender, body) = scripted();
        sender.send(data(HALF)).expect("sent");
        sender.send(data(HALF)).expect("sent");
        sender.send(data("y")).expect("sent");
        let got = ask(&service, with_body("QUERY", "/q", body)).await;
        assert_eq!(got.body.len(), MAX + 1);
        drop(sender);
    })
    .await;
}

/// Promise: content that can be in no key reaches the service as it came, with its error, its
/// trailers and the length that its head says; its response is not stored.
#[tokio::test(start_paused = true)]
async fn unusable_content_goes_on_as_it_came() {
    on_both_backends(async |layer| {
        let layer = queries(layer);
        let origin = Contents::new();
        let service = layer.layer(origin.clone());
        let announced = |length: &str| {
            let mut request = query("/q", "a");
            let value = length.parse().expect("a value");
            request.headers_mut().insert("content-length", value);
            request
        };
        let unusable = [
            frames([data("a"), broken()]),
            frames([broken()]),
            frames([data("a"), trailers("x-checksum")]),
            announced("2"),
            announced("0"),
            announced("+1"),
            line(query("/q", "a"), "content-length", "2"),
        ];
        let count = unusable.len();
        for (number, request) in unusable.into_iter().enumerate() {
            let length = request.headers().get("content-length").cloned();
            let got = ask(&service, request).await;
            settled().await;
            let heard = origin.last();
            assert_eq!(
                got.cache_status(),
                "fwd=bypass; detail=content-unusable",
                "{number}"
            );
            assert_eq!(heard.headers.get("content-length"), length.as_ref());
            assert_eq!(heard.trailers.is_some(), number == 2);
            match number {
                0 | 1 => assert_eq!(heard.content, Err("the connection was reset".to_owned())),
                _ => assert_eq!(heard.content.as_deref(), Ok("a")),
            }
        }
        assert_eq!(origin.calls(), count);
        let bypasses = layer.handle().stats().bypasses;
        assert_eq!(bypasses.get(Bypass::ContentUnusable), count as u64);
        // Trailers without a field say nothing.
        assert!(
            !ask(&service, frames([data("a"), trailers("")]))
                .await
                .is_hit()
        );
        settled().await;
        assert!(ask(&service, query("/q", "a")).await.is_hit());
    })
    .await;
}

/// Promise P9: a client that hangs up while it sends its content has caused no call, and nothing
/// that others wait for.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_while_sending_concerns_nobody() {
    on_both_backends(async |layer| {
        let layer = queries(layer);
        let origin = Contents::new();
        let service = layer.layer(origin.clone());
        let (sender, body) = scripted();
        sender.send(data("a")).expect("sent");
        let slow = tokio::spawn(service.clone().oneshot(with_body("QUERY", "/q", body)));
        settled().await;
        assert_eq!(origin.calls(), 0);
        // Its content so far is all of another's.
        assert_eq!(ask(&service, query("/q", "a")).await.body, "QUERY a v0");
        slow.abort();
        assert!(slow.await.is_err());
        assert!(sender.is_closed());
        settled().await;
        assert!(ask(&service, query("/q", "a")).await.is_hit());
        assert_eq!(origin.calls(), 1);
    })
    .await;
}

/// A body type that the cache does not know.
struct Foreign(UnsyncBoxBody<Bytes, BoxError>);

impl http_body::Body for Foreign {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<BodyStep>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Promise: a body type that the cache does not know needs `request_body`, and bypasses without.
#[tokio::test(start_paused = true)]
async fn a_type_of_body_that_is_not_known_bypasses_until_it_is_told() {
    on_both_backends(async |layer| {
        for is_told in [false, true] {
            let mut layer = queries(layer.clone()).scope(&is_told.to_string());
            if is_told {
                layer = layer.request_body(|content| Foreign(content.boxed_unsync()));
            }
            let origin = Contents::new();
            let unwrapped =
                tower::util::MapRequest::new(origin.clone(), |request: Request<Foreign>| {
                    request.map(|body| body.0)
                });
            let service = layer.layer(unwrapped);
            let foreign = || query("/q", "a").map(Foreign);
            let first = ask(&service, foreign()).await;
            settled().await;
            let second = ask(&service, foreign()).await;
            assert_eq!(second.is_hit(), is_told);
            let is_unknown = first.cache_status().contains("detail=request-body-type");
            assert_eq!(is_unknown, !is_told, "{}", first.cache_status());
            assert_eq!(origin.last().content.as_deref(), Ok("a"));
        }
    })
    .await;
}
