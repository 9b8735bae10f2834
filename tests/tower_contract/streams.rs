//! Bodies that arrive piece by piece.

use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use http::Method;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, ResponseBody};

use crate::support::both::AnyBackend;
use crate::support::origin::{Origin, OriginBody, answer, cacheable, data, scripted};
use crate::support::polling::poll_once;
use crate::support::time::settled;
use crate::support::{get, in_memory, put, request, send};
use crate::{next_data, on_both_backends, with_trailers};

fn streaming(lines: &'static [(&'static str, &str)], body: OriginBody) -> Origin {
    let body = Mutex::new(Some(body));
    Origin::at_once(move |_| {
        let body = body.lock().expect("no panic").take().expect("one call");
        answer(200, lines, "").map(|_| body)
    })
}

async fn arrives_frame_by_frame(
    layer: CacheLayer<AnyBackend>,
    lines: &'static [(&'static str, &str)],
    cache_status: &str,
) {
    let (sender, body) = scripted();
    let service = layer.layer(streaming(lines, body));
    let response = service.oneshot(get("/stream")).await.expect("a head");
    let status = response.headers()["cache-status"].to_str();
    assert_eq!(status.expect("visible ASCII"), cache_status);
    let mut body = response.into_body();
    assert_eq!(body.size_hint().exact(), None);
    for event in ["one", "two", "three", "and so on"] {
        settled().await;
        assert!(poll_once(&mut body.frame()).is_pending(), "nothing yet");
        sender.send(data(event)).expect("a reader");
        let sent = Instant::now();
        assert_eq!(next_data(&mut body).await, event);
        assert_eq!(sent.elapsed(), Duration::ZERO, "at once");
    }
    assert!(!body.is_end_stream());
    drop(body);
    sleep(LONGEST_FILL).await;
    assert!(sender.is_closed(), "the origin is told that nobody listens");
}

/// A fill may go on without its client, but no longer than this.
const LONGEST_FILL: Duration = Duration::from_secs(31);

#[tokio::test(start_paused = true)]
async fn an_endless_event_stream_arrives_frame_by_frame() {
    on_both_backends(async |backend| {
        arrives_frame_by_frame(
            CacheLayer::new(backend).ttl(Duration::from_secs(60)),
            &[("content-type", "text/event-stream; charset=utf-8")],
            "tower-response-cache; fwd=uri-miss; detail=stream",
        )
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_of_no_telling_type_arrives_frame_by_frame() {
    on_both_backends(async |backend| {
        for layer in [
            CacheLayer::new(backend.clone()),
            CacheLayer::new(backend.clone()).max_body(8),
        ] {
            arrives_frame_by_frame(
                layer,
                &[("cache-control", "max-age=60")],
                "tower-response-cache; fwd=uri-miss; stored",
            )
            .await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_writes_answer_is_a_stream_too() {
    let (sender, body) = scripted();
    let service = in_memory().layer(streaming(&[], body));
    let response = service.oneshot(put("/stream")).await.expect("a head");
    let mut body = response.into_body();
    assert!(poll_once(&mut body.frame()).is_pending());
    sender.send(data("progress")).expect("a reader");
    assert_eq!(next_data(&mut body).await, "progress");
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_on_a_miss_and_come_again_on_a_hit() {
    on_both_backends(async |backend| {
        let origin = with_trailers();
        let service = CacheLayer::new(backend).layer(origin.clone());
        let miss = send(&service, get("/a")).await;
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit());
        for answer in [miss, hit] {
            assert_eq!(answer.body, "data");
            let trailers = answer.trailers.expect("trailers");
            let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
            assert_eq!(sums, ["1", "2"]);
        }
        assert_eq!(origin.calls(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_default_body_is_empty() {
    let mut body = ResponseBody::<OriginBody>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll_once(&mut body.frame()), Poll::Ready(None)));
}

#[tokio::test(start_paused = true)]
async fn size_hints_are_exact_where_the_size_is_known() {
    let (_sender, unknown) = scripted();
    let unknown = Mutex::new(Some(unknown));
    let origin = Origin::at_once(move |request| match request.uri().path() {
        "/unknown" => {
            let body = unknown.lock().expect("no panic").take();
            cacheable("").map(|_| body.expect("one call"))
        }
        _ => cacheable("12345"),
    });
    let service = in_memory().layer(origin);
    let hint = async |request| {
        let response = service.clone().oneshot(request).await;
        response.expect("an answer").into_body().size_hint()
    };
    assert_eq!(hint(get("/a")).await.exact(), Some(5), "forwarded");
    send(&service, get("/a")).await;
    assert_eq!(hint(get("/a")).await.exact(), Some(5), "stored");
    assert_eq!(hint(request(Method::HEAD, "/a")).await.exact(), Some(0));
    assert_eq!(hint(put("/a")).await.exact(), Some(5), "a write's");
    assert_eq!(hint(get("/unknown")).await.upper(), None);

    send(&service, get("/b")).await;
    let hit = service.clone().oneshot(get("/b")).await;
    let mut hit = hit.expect("an answer").into_body();
    next_data(&mut hit).await;
    assert_eq!(hit.size_hint().exact(), Some(0), "what is left");
    assert!(hit.is_end_stream());
}
