//! The life of a stored response to QUERY: as that of a GET.

use std::sync::{Arc, Mutex};

use http::Request;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::RequestResult;

use super::{MAX, queries};
use crate::support::both::on_both_backends;
use crate::support::collect;
use crate::support::contents::{Contents, ask, line, query, versioned};
use crate::support::origin::{OriginBody, answer};
use crate::support::time::{SECOND, in_time, in_virtual_time, settled};

/// Promise P2: requests with one content share a call, and those with another one do not wait for it.
#[tokio::test(start_paused = true)]
async fn concurrent_queries_share_a_call_by_their_content() {
    on_both_backends(async |layer| {
        let origin = Contents::new().after(SECOND);
        let service = queries(layer).layer(origin.clone());
        let asking: Vec<_> = (0..20)
            .map(|number| {
                let service = service.clone();
                let content = ["a", "b"][number % 2];
                (content, tokio::spawn(service.oneshot(query("/q", content))))
            })
            .collect();
        for (content, asked) in asking {
            let response = in_time(asked).await.expect("no panic");
            let got = collect(response.expect("an answer")).await;
            assert_eq!(got.body, format!("QUERY {content} v0"));
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

/// RFC 10008: a condition is about the answer to the question. The cache answers it.
#[tokio::test(start_paused = true)]
async fn conditions_and_ranges_of_a_query_are_answered_from_the_store() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = queries(layer).layer(origin.clone());
        ask(&service, query("/q", "a")).await;
        settled().await;
        let asked = async |request: Request<OriginBody>| {
            let got = ask(&service, request).await;
            (got.status.as_u16(), got.body)
        };
        let condition = |tag: &str| line(query("/q", "a"), "if-none-match", tag);
        assert_eq!(asked(condition("\"a-0\"")).await, (304, String::new()));
        assert_eq!(
            asked(condition("\"b-0\"")).await,
            (200, "QUERY a v0".to_owned())
        );
        let range = line(query("/q", "a"), "range", "bytes=0-4");
        assert_eq!(asked(range).await, (206, "QUERY".to_owned()));
        assert_eq!(origin.calls(), 1);
    })
    .await;
}

/// RFC 9111 §4.3: a stale response is validated by a QUERY with its content.
#[tokio::test(start_paused = true)]
async fn a_stale_response_is_validated_by_the_same_question() {
    let layer = queries(in_virtual_time(MemoryBackend::default()));
    let origin = Contents::answering(|heard, writes| versioned(heard, writes, "max-age=10"));
    let service = layer.layer(origin.clone());
    ask(&service, query("/q", "a")).await;
    settled().await;
    tokio::time::sleep(SECOND * 20).await;
    let got = ask(&service, query("/q", "a")).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "QUERY a v0"));
    let heard = origin.last();
    assert_eq!((origin.calls(), heard.method.as_str()), (2, "QUERY"));
    assert_eq!(heard.headers["if-none-match"], "\"a-0\"");
    assert_eq!(heard.content.as_deref(), Ok("a"));
    settled().await;
    assert!(ask(&service, query("/q", "a")).await.is_hit());
}

/// RFC 5861 §3: the refresh in the background asks the same question.
#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_sends_the_content() {
    let layer = queries(in_virtual_time(MemoryBackend::default()));
    let origin = Contents::answering(|heard, writes| {
        versioned(heard, writes, "max-age=10, stale-while-revalidate=60")
    });
    let service = layer.layer(origin.clone());
    ask(&service, query("/q", "a")).await;
    settled().await;
    tokio::time::sleep(SECOND * 20).await;
    assert!(ask(&service, query("/q", "a")).await.is_hit());
    settled().await;
    let heard = origin.last();
    assert_eq!((origin.calls(), heard.method.as_str()), (2, "QUERY"));
    assert_eq!(heard.content.as_deref(), Ok("a"));
}

/// Promise P3: a service that rejects the cache's own condition gets the QUERY once more, with its
/// content and without the condition.
#[tokio::test(start_paused = true)]
async fn a_repeated_query_has_its_content() {
    let layer = queries(in_virtual_time(MemoryBackend::default()));
    let origin =
        Contents::answering(
            |heard, writes| match heard.headers.contains_key("if-none-match") {
                true => answer(412, &[], ""),
                false => versioned(heard, writes, "max-age=10"),
            },
        );
    let service = layer.layer(origin.clone());
    ask(&service, query("/q", "a")).await;
    settled().await;
    tokio::time::sleep(SECOND * 20).await;
    let got = ask(&service, query("/q", "a")).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "QUERY a v0"));
    let heard = origin.last();
    assert_eq!((origin.calls(), heard.method.as_str()), (3, "QUERY"));
    assert_eq!(heard.content.as_deref(), Ok("a"));
    assert_eq!(layer.handle().stats().repetitions, 1);
}

/// Promise: the functions of the application see the method that the client has sent.
#[tokio::test(start_paused = true)]
async fn hooks_see_a_query() {
    on_both_backends(async |layer| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let seen = seen.clone();
            move |request: &http::request::Parts| {
                let method = request.method.to_string();
                seen.lock().expect("no panic").push((name, method));
            }
        };
        let (skip, store_if, ttl_by) = (note("skip"), note("store_if"), note("ttl_by"));
        let (key_by, private_by) = (note("key_by"), note("private_by"));
        let layer = queries(layer)
            .skip(move |request| {
                skip(request);
                false
            })
            .key_by(move |request, key| {
                key_by(request);
                Some(key)
            })
            .private_by(move |request| {
                private_by(request);
                None::<String>
            })
            .ttl_by(move |request, _| {
                ttl_by(request);
                None
            })
            .store_if(move |request, _| {
                store_if(request);
                true
            });
        let service = layer.layer(Contents::new());
        ask(&service, query("/q", "a")).await;
        settled().await;
        let mut seen = seen.lock().expect("no panic").clone();
        seen.sort();
        seen.dedup();
        let names = ["key_by", "private_by", "skip", "store_if", "ttl_by"];
        assert_eq!(seen, names.map(|name| (name, "QUERY".to_owned())));
    })
    .await;
}

/// Promise P9: with partitions, the answer for one client reaches no other one that asks the same.
#[tokio::test(start_paused = true)]
async fn a_question_of_a_client_has_an_answer_in_its_partition() {
    on_both_backends(async |layer| {
        let origin = Contents::answering(|heard, _| {
            let client = heard.headers["x-client"].to_str().expect("text").to_owned();
            let content = heard.content.clone().expect("content");
            answer(
                200,
                &[("cache-control", "private, max-age=60")],
                format!("{content} for {client}"),
            )
        });
        let layer = queries(layer)
            .private_by(|request| Some(request.headers.get("x-client")?.to_str().ok()?.to_owned()));
        let service = layer.layer(origin.clone());
        for round in 0..2 {
            for client in ["alice", "bob"] {
                for content in ["a", "b"] {
                    let request = line(query("/q", content), "x-client", client);
                    let got = ask(&service, request).await;
                    settled().await;
                    assert_eq!(got.body, format!("{content} for {client}"));
                    assert_eq!(got.is_hit(), round == 1, "{}", got.cache_status());
                }
            }
        }
    })
    .await;
}

/// Promise: a QUERY that goes past the cache has all of its cookies.
#[tokio::test(start_paused = true)]
async fn ignored_cookies_come_back_where_a_query_is_passed_on() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = queries(layer)
            .ignore_request_cookies(["_ga"])
            .layer(origin.clone());
        for (content, cookies) in [("a", None), (&*"x".repeat(MAX + 1), Some("_ga=1"))] {
            ask(&service, line(query("/q", content), "cookie", "_ga=1")).await;
            let heard = origin.last().headers;
            let heard = heard
                .get("cookie")
                .map(|value| value.to_str().expect("text"));
            assert_eq!(heard, cookies);
        }
    })
    .await;
}

/// Promise: two layers of one cache store a QUERY once, and do not wait for each other.
#[tokio::test(start_paused = true)]
async fn stacked_layers_read_a_query_once() {
    on_both_backends(async |layer| {
        let layer = queries(layer).read_only_posts(|request| request.uri.path() == "/read");
        let origin = Contents::new();
        let service = layer.layer(layer.clone().layer(origin.clone()));
        for method in ["QUERY", "POST"] {
            for round in 0..2 {
                let request = crate::support::contents::with_content(method, "/read", "a");
                let got = in_time(ask(&service, request)).await;
                settled().await;
                assert_eq!(got.body, format!("{method} a v0"));
                assert_eq!(got.is_hit(), round == 1, "{}", got.cache_status());
            }
        }
        let requests = layer.handle().stats().requests;
        assert_eq!((origin.calls(), requests.get(RequestResult::Miss)), (2, 2));
    })
    .await;
}
