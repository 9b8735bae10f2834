//! RFC 10008: responses to QUERY, stored by its content.

mod contents;
mod lives;
mod posts;

use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;

use crate::support::both::on_both_backends;
use crate::support::collect;
use crate::support::contents::{Contents, ask, line, query, with_content};
use crate::support::origin::full;
use crate::support::time::{SECOND, settled};

/// The bound of the tests' caches, in bytes.
const MAX: usize = 100;

fn queries<B: Backend>(layer: CacheLayer<B>) -> CacheLayer<B> {
    layer.cache_queries(MAX)
}

/// Promise: each content of one target has a response of its own, and the service gets the QUERY
/// as it was sent.
#[tokio::test(start_paused = true)]
async fn each_content_of_one_target_has_its_own_response() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = queries(layer).layer(origin.clone());
        for round in 0..2 {
            for content in ["a", "b", "", "A", "a "] {
                let got = ask(&service, query("/q?x=1", content)).await;
                settled().await;
                assert_eq!(got.body, format!("QUERY {content} v0"));
                assert_eq!(got.is_hit(), round == 1, "{}", got.cache_status());
            }
        }
        assert_eq!(origin.calls(), 5);
        let heard = origin.last();
        assert_eq!(
            (heard.method.as_str(), heard.content),
            ("QUERY", Ok("a ".to_owned()))
        );
        assert_eq!(heard.headers["content-type"], "text/plain");
        assert_eq!(heard.headers["content-length"], "2");
    })
    .await;
}

/// RFC 10008 §2.7: the metadata of the content belongs to the key, as do the method and the target.
#[tokio::test(start_paused = true)]
async fn whatever_tells_two_questions_apart_is_in_the_key() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = queries(layer).layer(origin.clone());
        let requests = || {
            let other_type = {
                let mut request = query("/q", "a");
                let value = "text/other".parse().expect("a media type");
                request.headers_mut().insert("content-type", value);
                request
            };
            [
                query("/q", "a"),
                query("/q?", "a"),
                query("/other", "a"),
                other_type,
                line(query("/q", "a"), "content-type", "text/other"),
                line(query("/q", "a"), "content-encoding", "gzip"),
                line(query("/q", "a"), "content-language", "gzip"),
                line(query("/q", "a"), "content-language", "de"),
                with_content("GET", "/q", ""),
            ]
        };
        let count = requests().len();
        for (round, request) in [requests(), requests()].into_iter().flatten().enumerate() {
            let mut request = request;
            if request.method() == "GET" {
                request.headers_mut().remove("content-length");
            }
            let got = ask(&service, request).await;
            settled().await;
            assert_eq!(
                got.is_hit(),
                round >= count,
                "{round}: {}",
                got.cache_status()
            );
        }
        assert_eq!(origin.calls(), count);
    })
    .await;
}

/// Promise: how the content comes is in no key, and does not reach the service.
#[tokio::test(start_paused = true)]
async fn the_framing_of_content_tells_no_requests_apart() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let layer = queries(layer);
        let mut heard = Vec::new();
        for (number, chunked) in [false, true].into_iter().enumerate() {
            let service = layer
                .clone()
                .scope(&number.to_string())
                .layer(origin.clone());
            let mut request = query("/q", "a");
            if chunked {
                request.headers_mut().remove("content-length");
                request = line(request, "transfer-encoding", "chunked");
                request = line(request, "trailer", "x-other");
                request = line(request, "expect", "100-continue");
            }
            ask(&service, request).await;
            heard.push(origin.last().headers);
        }
        assert_eq!(heard[0], heard[1]);
    })
    .await;
}

/// Promise P1: a write removes the responses to all queries of its resource with the others.
/// RFC 10008: a QUERY is safe, and invalidates nothing.
#[tokio::test(start_paused = true)]
async fn a_write_invalidates_queries_and_a_query_nothing() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = queries(layer).layer(origin.clone());
        let get = || http::Request::get("/q").body(full("")).expect("a request");
        let ask_all = async |writes: usize, are_hits: bool| {
            for (request, name) in [
                (query("/q", "a"), "QUERY a"),
                (query("/q?x", "b"), "QUERY b"),
                (get(), "GET "),
            ] {
                let got = ask(&service, request).await;
                settled().await;
                assert_eq!(got.body, format!("{name} v{writes}"));
                assert_eq!(got.is_hit(), are_hits, "{}", got.cache_status());
            }
        };
        ask_all(0, false).await;
        ask_all(0, true).await;
        // One that is not stored yet, and one that is refused.
        ask(&service, query("/q", "other")).await;
        ask(&service, query("/q", &"x".repeat(MAX + 1))).await;
        ask_all(0, true).await;
        ask(&service, with_content("PUT", "/q?y", "new")).await;
        ask_all(1, false).await;
        ask_all(1, true).await;
    })
    .await;
}

/// Promise P1: a call that a write overlaps stores nothing, and is shared with no later query.
#[tokio::test(start_paused = true)]
async fn a_write_during_a_query_keeps_its_answer_from_later_ones() {
    on_both_backends(async |layer| {
        let origin = Contents::new().after(SECOND);
        let service = queries(layer).layer(origin.clone());
        let early = tokio::spawn(service.clone().oneshot(query("/q", "a")));
        settled().await;
        ask(&service, with_content("PUT", "/q", "")).await;
        let late = ask(&service, query("/q", "a")).await;
        let early = early.await.expect("no panic").expect("an answer");
        assert_eq!(collect(early).await.body, "QUERY a v0");
        assert_eq!(late.body, "QUERY a v1");
        settled().await;
        assert_eq!(ask(&service, query("/q", "a")).await.body, "QUERY a v1");
    })
    .await;
}

/// Promise: without the option a QUERY goes past the cache, as before.
#[tokio::test(start_paused = true)]
async fn a_query_bypasses_a_cache_without_the_option() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = layer.layer(origin.clone());
        for _ in 0..2 {
            let got = ask(&service, query("/q", "a")).await;
            assert_eq!(got.cache_status(), "fwd=method");
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}
