//! What `stored` in `Cache-Status` claims: nothing that is known to be wrong (RFC 9211 §2.5).

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{answer, cacheable, data, scripted, slow};
use crate::support::puts::ScriptedPuts;
use crate::support::time::{in_virtual_time, settle};
use crate::support::{get, send};

/// RFC 9111 §4.4: the write invalidates what the fill has not stored yet.
#[tokio::test(start_paused = true)]
async fn a_fill_that_a_write_overtook_does_not_say_stored() {
    let origin = slow(|_, _| cacheable("x"));
    let layer = in_virtual_time(MemoryBackend::default());
    let service = layer.layer(origin);
    let handle = layer.handle();
    let write = async {
        settle().await;
        handle
            .invalidate("http://test.example/a")
            .await
            .expect("memory");
    };
    let (answer, ()) = tokio::join!(send(&service, get("/a")), write);
    assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=superseded");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Superseded), 1);
    let again = send(&service, get("/a")).await;
    assert_eq!(again.cache_status(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_once_is_not_said_to_have_stored() {
    let service = in_virtual_time(ScriptedPuts::failing()).layer(slow(|_, _| cacheable("x")));
    let answer = send(&service, get("/a")).await;
    assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=backend-failed");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_before_the_head_is_sent_is_not_said_to_be_stored() {
    let origin = slow(|_, _| {
        let (frames, body) = scripted();
        frames.send(Err("torn".into())).expect("a reader");
        cacheable("").map(|_| body)
    });
    let service = in_virtual_time(MemoryBackend::default()).layer(origin);
    let response = service.oneshot(get("/a")).await.expect("a head");
    let said = &response.headers()["cache-status"];
    assert_eq!(
        said,
        "tower-response-cache; fwd=uri-miss; detail=body-failed"
    );
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_at_once_is_not_said_to_be_stored() {
    let origin = slow(|_, _| {
        let (frames, body) = scripted();
        frames
            .send(data("more than eight bytes"))
            .expect("a reader");
        cacheable("").map(|_| body)
    });
    let layer = in_virtual_time(MemoryBackend::default()).max_body(8);
    let answer = send(&layer.layer(origin), get("/a")).await;
    assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=too-large");
}

/// The head is sent already, so that it is counted instead.
#[tokio::test(start_paused = true)]
async fn what_happens_after_the_head_is_counted() {
    let origin = slow(|request, _| {
        let (frames, body) = scripted();
        let later = request.uri().path().to_owned();
        tokio::spawn(async move {
            settle().await;
            let frame = match &*later {
                "/torn" => Err("torn".into()),
                _ => data("more than eight bytes"),
            };
            let _ = frames.send(frame);
        });
        answer(200, &[("cache-control", "max-age=60")], "").map(|_| body)
    });
    let layer = in_virtual_time(MemoryBackend::default()).max_body(8);
    let service = layer.clone().layer(origin);
    for (path, refusal) in [
        ("/torn", Refusal::BodyFailed),
        ("/large", Refusal::TooLarge),
    ] {
        let response = service.clone().oneshot(get(path)).await.expect("a head");
        let said = &response.headers()["cache-status"];
        assert_eq!(said, "tower-response-cache; fwd=uri-miss; stored");
        let _ = response.into_body().collect().await;
        settle().await;
        let stats = layer.handle().stats();
        assert_eq!((stats.refusals.get(refusal), stats.stores), (1, 0));
    }
}
