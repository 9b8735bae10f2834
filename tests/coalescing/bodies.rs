//! Readers of one body: fast ones, slow ones, and bodies too large to be kept.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::Refusal;

use crate::support::origin::{Origin, cacheable, data, full, scripted, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{collect, get, gets, send};
use crate::{burst, layer};

/// Without `Content-Length` the size shows late. As where it shows early, each client has such a body
/// for itself, and waits for no other.
#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_not_shared() {
    let origin = slow(|_, _| {
        let (script, body) = scripted();
        for _ in 0..16 {
            let frame = Bytes::from(vec![7; 64 * 1024]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        cacheable("").map(|_| body)
    });
    let service = layer().max_body(100_000).layer(origin.clone());
    let whole =
        |answer: &Result<String, String>| answer.as_ref().is_ok_and(|body| body.len() == 1 << 20);
    for (calls, time) in [(200, SLOW * 2), (400, SLOW), (600, SLOW)] {
        let (took, answers) = burst(&service, gets(200)).await;
        assert_eq!((origin.calls(), took), (calls, time));
        assert!(answers.iter().all(whole));
    }
}

/// A client alone may take its time, however large the body.
#[tokio::test(start_paused = true)]
async fn a_lone_slow_reader_delays_no_other_and_gets_all_bytes() {
    let origin = Origin::at_once(|_| {
        let (script, body) = scripted();
        for _ in 0..64 {
            let frame = Bytes::from(vec![7; 64 * 1024]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin);
    let response = service.oneshot(get("/a")).await.expect("a head");
    sleep(SECOND * 100).await;
    let whole = response.into_body().collect().await.expect("a whole body");
    assert_eq!(whole.to_bytes().len(), 4 << 20);
}

/// A follower that has its head can turn to no other response: it gets one whose body is here.
#[tokio::test(start_paused = true)]
async fn a_follower_gets_a_whole_response_and_waits_for_no_slow_client() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| {
        let body = response.lock().expect("a lock").take().expect("one call");
        cacheable("").map(|_| body)
    });
    let service = layer().layer(origin.clone());
    let stalled_leader = service.clone().oneshot(get("/a")).await.expect("a head");
    let follower = tokio::spawn(service.clone().oneshot(get("/a")));
    for text in ["a", "b", "c"] {
        sleep(SECOND * 3).await;
        assert!(!follower.is_finished());
        body.send(data(text)).expect("a reader");
    }
    drop(body);
    let follower = follower.await.expect("no panic").expect("a head");
    assert_eq!(collect(follower).await.body, "abc");
    assert_eq!(collect(stalled_leader).await.body, "abc");
}

/// Too large to be kept: all bytes reach its client, at its pace, within bounded memory.
#[tokio::test(start_paused = true)]
async fn a_body_too_large_to_be_kept_passes_through_a_window() {
    let origin = Origin::at_once(|_| {
        let chunk = Bytes::from(vec![7; 64 * 1024]);
        let (body, response) = scripted();
        for _ in 0..64 {
            body.send(Ok(http_body::Frame::data(chunk.clone())))
                .expect("a reader");
        }
        cacheable("").map(|_| response)
    });
    let layer = layer()
        .max_body(128 * 1024)
        .slow_reader_timeout(Duration::from_secs(3));
    let service = layer.layer(origin.clone());
    let mut quick = service.clone().oneshot(get("/a")).await.expect("a head");
    let mut length = 0;
    while length < 64 * 1024 {
        length += quick
            .frame()
            .await
            .expect("a frame")
            .expect("no error")
            .into_data()
            .expect("data")
            .len();
    }
    length += quick
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes()
        .len();
    assert_eq!(length, 64 * 64 * 1024);
    assert_eq!(layer.handle().stats().refusals.get(Refusal::TooLarge), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_takes_too_long_is_not_stored_and_blocks_no_request() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| match response.lock().expect("a lock").take() {
        Some(body) => cacheable("").map(|_| body),
        None => cacheable("quick"),
    });
    let layer = layer().fill_timeout(Duration::from_secs(5));
    let service = layer.layer(origin.clone());
    let mut slow_loris = service.clone().oneshot(get("/a")).await.expect("a head");
    for _ in 0..7 {
        body.send(data("x")).expect("a reader");
        slow_loris
            .frame()
            .await
            .expect("a frame")
            .expect("no error");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Endless), 1);
    assert_eq!(send(&service, get("/a")).await.body, "quick");
    body.send(data("y")).expect("a reader");
    drop(body);
    assert_eq!(collect(slow_loris).await.body, "y");
}

#[tokio::test(start_paused = true)]
async fn a_shared_body_tells_its_size_as_an_unshared_one_does() {
    let origin = Origin::at_once(|_| cacheable("12345"));
    let service = layer().layer(origin);
    let mut response = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(response.body().size_hint().exact(), Some(5));
    response.frame().await.expect("a frame").expect("no error");
    assert_eq!(response.body().size_hint().exact(), Some(0));
    assert!(response.body().is_end_stream());
    let empty = Origin::at_once(|_| cacheable("").map(|_| full("")));
    let response = layer()
        .layer(empty)
        .oneshot(get("/a"))
        .await
        .expect("a head");
    assert!(response.body().is_end_stream());
}
