//! Bodies of the inner service that break off after their head, whatever the response is for.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::CallEnd;

use crate::layer;
use crate::support::origin::{Origin, Response, answer, data, scripted};
use crate::support::time::settled;
use crate::support::{get, put, request, with};

/// Breaks off the body of its response if the request says so.
fn broken(request: &Request<()>) -> Response {
    let lives = match request.uri().path() {
        "/no-store" => "no-store",
        "/refreshed" => "max-age=1, stale-while-revalidate=600",
        _ => "max-age=60",
    };
    let (sender, body) = scripted();
    sender.send(data("abc")).expect("it is there");
    let is_broken = request.headers().contains_key("x-broken");
    let length = if is_broken { "6" } else { "3" };
    if is_broken {
        sender.send(Err("reset".into())).expect("it is there");
    }
    if request.uri().path() == "/open" {
        // It never ends.
        std::mem::forget(sender);
    }
    let lines = [
        ("cache-control", lives),
        ("content-length", length),
        ("content-location", request.uri().path()),
    ];
    answer(200, &lines, "").map(|_| body)
}

/// The head has been counted as a success. The failure of its body counts beside that, once.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_counts_whatever_the_response_is_for() {
    let layer = layer().write_through(true);
    let service = layer.layer(Origin::at_once(broken));
    let failed = || layer.handle().stats().origin_bodies_failed;
    for request in [
        get("/stored"),
        get("/no-store"),
        put("/a"),
        request(Method::DELETE, "/a"),
        request(Method::OPTIONS, "/a"),
    ] {
        let (before, named) = (failed(), format!("{} {}", request.method(), request.uri()));
        let answer = service
            .clone()
            .oneshot(with(request, "x-broken", "1"))
            .await;
        let answer = answer.expect("a head").into_body().collect().await;
        settled().await;
        assert!(answer.is_err(), "{named}");
        assert_eq!(failed() - before, 1, "{named}");
    }
    // A refresh in the background, whose client has its response.
    let whole = service.clone().oneshot(get("/refreshed")).await;
    let whole = whole.expect("a head").into_body().collect().await;
    assert!(whole.is_ok());
    sleep(Duration::from_secs(2)).await;
    let before = failed();
    let stale = service
        .clone()
        .oneshot(with(get("/refreshed"), "x-broken", "1"))
        .await;
    let stale = stale.expect("a head").into_body().collect().await;
    settled().await;
    assert!(stale.is_ok());
    assert_eq!(failed() - before, 1);
    let stats = layer.handle().stats();
    let calls = &stats.origin_calls;
    assert_eq!((calls.get(CallEnd::Success), calls.total()), (7, 7));
    let line = "response_cache_origin_bodies_failed_total{cache=\"tower-response-cache\"} 6\n";
    assert!(stats.to_openmetrics().contains(line));
}

/// A client that leaves in the middle of a body is no failure of the origin.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_breaks_no_body() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(broken));
    for request in [
        get("/open"),
        request(Method::OPTIONS, "/open"),
        request(Method::DELETE, "/open"),
    ] {
        let answer = service.clone().oneshot(request).await;
        drop(answer.expect("a head"));
        settled().await;
    }
    assert_eq!(layer.handle().stats().origin_bodies_failed, 0);
}
