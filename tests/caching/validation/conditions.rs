//! Conditions of clients (RFC 9111 §4.3.2).

use http::{Method, StatusCode};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::stats::FetchReason;

use super::{MINUTE, MODIFIED, Site, TAG, asks, settled};
use crate::support::both::on_both_backends;
use crate::support::time::SECOND;
use crate::support::{get, request, send, send_all, with};

/// §4.3.2: what the client has is not sent again, and with the fields that RFC 9110 §15.4.5 wants.
#[tokio::test(start_paused = true)]
async fn a_clients_conditions_are_answered_from_the_stored_response() {
    on_both_backends(async |layer| {
        let lines = [
            TAG,
            MINUTE,
            MODIFIED,
            ("content-type", "text/plain"),
            ("content-location", "/a.txt"),
            ("vary", "accept"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("x-else", "1"),
        ];
        let site = Site::new(&lines, "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        for (name, value, status) in [
            ("if-none-match", "\"a\"", 304),
            ("if-none-match", "\"x\", W/\"a\"", 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "\"x\"", 200),
            ("if-modified-since", MODIFIED.1, 304),
            ("if-modified-since", "Sunday, 06-Nov-94 08:49:36 GMT", 200),
            ("if-match", "\"x\"", 200),
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let answer = send(&service, with(request(method, "/a"), name, value)).await;
                assert_eq!(answer.status, status, "{name}: {value}");
                assert!(
                    answer.cache_status().starts_with("hit; ttl="),
                    "{name}: {value}"
                );
                if status == 304 {
                    assert_eq!(answer.body, "");
                    for kept in [
                        "etag",
                        "date",
                        "cache-control",
                        "content-location",
                        "vary",
                        "expires",
                        "age",
                        "x-else",
                    ] {
                        assert!(answer.headers.contains_key(kept), "{kept}");
                    }
                    for gone in ["content-type", "content-length", "last-modified"] {
                        assert!(!answer.headers.contains_key(gone), "{gone}");
                    }
                }
            }
        }
        assert_eq!(site.calls(), 1);
    })
    .await;
}

/// A client's validators bring no 304 into the store, and cost no other client anything.
#[tokio::test(start_paused = true)]
async fn a_clients_validators_never_become_a_stored_304() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        let asked = |number| {
            if number % 2 == 0 {
                asks("\"a\"")
            } else {
                get("/a")
            }
        };
        for (number, answer) in send_all(&service, (0..100).map(asked))
            .await
            .iter()
            .enumerate()
        {
            let expected = if number % 2 == 0 {
                (StatusCode::NOT_MODIFIED, "")
            } else {
                (StatusCode::OK, "text")
            };
            assert_eq!((answer.status, &*answer.body), expected);
        }
        assert_eq!(site.calls(), 1, "one fill for all");
        assert_eq!(site.saw("if-none-match"), None);
        settled().await;
        assert!(send(&service, get("/a")).await.is_hit());
    })
    .await;
}

/// The client's own conditions are answered from what validation brings.
#[tokio::test(start_paused = true)]
async fn the_client_and_the_cache_have_conditions_of_their_own() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        for (tag, status, said) in [
            ("\"x\"", 200, "fwd=stale; fwd-status=304; stored"),
            ("\"a\"", 304, "fwd=stale; stored"),
        ] {
            advance(61 * SECOND).await;
            let answer = send(&service, asks(tag)).await;
            assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
            assert_eq!(
                (answer.status.as_u16(), &*answer.cache_status()),
                (status, said)
            );
            settled().await;
        }
        site.change(|page| page.lines[0].1 = "\"b\"");
        advance(61 * SECOND).await;
        let answer = send(&service, asks("\"b\"")).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
        assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=200; stored");
        settled().await;
        assert_eq!(send(&service, get("/a")).await.header("etag"), "\"b\"");
    })
    .await;
}

/// §5.2.1.4: a fresh response is validated, too, where a client insists.
#[tokio::test(start_paused = true)]
async fn a_request_with_no_cache_validates_a_fresh_response() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        let answer = send(&service, with(get("/a"), "cache-control", "no-cache")).await;
        assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
        assert_eq!(answer.body, "text");
        let said = "fwd=request; fwd-status=304; stored; detail=request-no-cache";
        assert_eq!(answer.cache_status(), said);
        assert_eq!(
            layer
                .handle()
                .stats()
                .fetches
                .get(FetchReason::RequestNoCache),
            1
        );
    })
    .await;
}
