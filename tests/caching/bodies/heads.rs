//! Answers to HEAD, and answers without a body.

use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;

use super::{on_both_backends, tell};
use crate::support::both::AnyBackend;
use crate::support::origin::{Origin, answer, cacheable, data, scripted};
use crate::support::time::settled;
use crate::support::{get, put, request, send, with};

/// The wall clock when a test begins.
const TODAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

async fn miss_and_hit(
    layer: &CacheLayer<AnyBackend>,
    origin: Origin,
) -> [crate::support::Answer; 2] {
    let service = layer.layer(origin);
    let miss = send(&service, get("/a")).await;
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert!(!miss.is_hit() && hit.header("cache-status").contains("cache; hit"));
    [miss, hit]
}

fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    let lines = headers.get_all(name).iter();
    lines.map(|line| line.as_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn status_and_all_header_lines_come_again_in_their_order() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let mut response = answer(
                410,
                &[
                    ("cache-control", "public"),
                    ("link", "</1>"),
                    ("x-empty", ""),
                    ("link", "</2>"),
                    ("cache-control", "max-age=3600"),
                    ("link", "</1>"),
                    ("content-type", "text/plain"),
                ],
                "gone",
            );
            let obsolete = http::HeaderValue::from_bytes(b"caf\xe9\t!").expect("a value");
            response.headers_mut().append("x-bytes", obsolete);
            response
        });
        for answer in miss_and_hit(&layer, origin).await {
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (410, "gone")
            );
            assert_eq!(lines(&answer.headers, "link"), [b"</1>", b"</2>", b"</1>"]);
            assert_eq!(answer.header("cache-control"), "public, max-age=3600");
            assert_eq!(lines(&answer.headers, "x-empty"), [b""]);
            assert_eq!(lines(&answer.headers, "x-bytes"), [b"caf\xe9\t!"]);
            assert_eq!(answer.header("content-type"), "text/plain");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn frames_come_again_as_one_body_with_its_length() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let (script, body) = scripted();
            ["in ", "", "three ", "parts"]
                .iter()
                .for_each(|part| tell(&script, data(part)));
            cacheable("").map(|_| body)
        });
        let [miss, hit] = miss_and_hit(&layer, origin).await;
        assert_eq!(miss.header("content-length"), "");
        assert_eq!(hit.header("content-length"), "14");
        assert_eq!(hit.body, "in three parts");
        assert_eq!(hit.body, miss.body);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_date_is_stamped_on_receipt() {
    on_both_backends(async |layer| {
        let service = layer.layer(Origin::at_once(|_| cacheable("")));
        let miss = send(&service, get("/a")).await;
        sleep(Duration::from_secs(5)).await;
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit());
        assert_eq!([miss.header("date"), hit.header("date")], [TODAY, TODAY]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_date_of_the_response_is_kept_and_determines_the_age() {
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:07 GMT";
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let lines = [("cache-control", "max-age=3600"), ("date", EARLIER)];
            answer(200, &lines, "")
        });
        let [miss, hit] = miss_and_hit(&layer, origin).await;
        assert_eq!(
            [miss.header("date"), hit.header("date")],
            [EARLIER, EARLIER]
        );
        assert_eq!([miss.header("age"), hit.header("age")], ["", "30"]);
        assert_eq!(hit.cache_status(), "hit; ttl=3570");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn age_is_on_hits_only_and_counts_seconds() {
    on_both_backends(async |layer| {
        let service = layer.layer(Origin::at_once(|_| cacheable("")));
        let age = async |request| send(&service, request).await.header("age");
        assert_eq!(age(get("/a")).await, "", "a miss");
        sleep(Duration::from_millis(1999)).await;
        assert_eq!(age(get("/a")).await, "1");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(age(get("/a")).await, "2");
        assert_eq!(age(request(Method::HEAD, "/a")).await, "2");
        let asks_anew = with(get("/a"), "cache-control", "no-cache");
        assert_eq!(age(asks_anew).await, "", "fetched");
        assert_eq!(age(request(Method::OPTIONS, "/a")).await, "", "passed");
        assert_eq!(age(put("/a")).await, "", "written");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_age_is_added_to_our_own() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let lines = [("cache-control", "max-age=3600"), ("age", "100")];
            answer(200, &lines, "")
        });
        let service = layer.layer(origin.clone());
        let miss = send(&service, get("/a")).await;
        assert_eq!(lines(&miss.headers, "age"), [b"100"], "kept");
        sleep(Duration::from_secs(5)).await;
        let hit = send(&service, get("/a")).await;
        assert_eq!(lines(&hit.headers, "age"), [b"105"]);
        assert_eq!(hit.cache_status(), "hit; ttl=3495");
        sleep(Duration::from_secs(3495)).await;
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=stale; stored"
        );
    })
    .await;
}

/// It may have aged on its way.
#[tokio::test(start_paused = true)]
async fn the_time_a_response_took_counts_as_age() {
    on_both_backends(async |layer| {
        let origin = Origin::new(async |_| {
            sleep(Duration::from_secs(3)).await;
            Ok(cacheable(""))
        });
        let [_, hit] = miss_and_hit(&layer, origin).await;
        assert_eq!(hit.header("age"), "3");
        assert_eq!(hit.cache_status(), "hit; ttl=3597");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_cache_status_is_kept_and_appended_to() {
    on_both_backends(async |layer| {
        for layer in [
            layer.clone().scope("named"),
            layer.scope("off").cache_status(false),
        ] {
            let origin = Origin::at_once(|_| {
                let lines = [
                    ("cache-control", "max-age=3600"),
                    ("cache-status", "far; fwd=stale"),
                    ("cache-status", "near; hit; ttl=9"),
                ];
                answer(200, &lines, "")
            });
            let service = layer.layer(origin.clone());
            let mut own = Vec::new();
            for _ in 0..3 {
                let answer = send(&service, get("/a")).await;
                let status = lines(&answer.headers, "cache-status");
                assert_eq!(status[..2], [&b"far; fwd=stale"[..], b"near; hit; ttl=9"]);
                own.extend(status[2..].iter().map(|line| line.to_vec()));
                settled().await;
            }
            assert_eq!(origin.calls(), 1);
            let expected: [&[u8]; 3] = [
                b"tower-response-cache; fwd=uri-miss; stored",
                b"tower-response-cache; hit; ttl=3600",
                b"tower-response-cache; hit; ttl=3600",
            ];
            assert!(own.is_empty() || own == expected);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_cache_status_is_added_where_that_is_disabled() {
    on_both_backends(async |layer| {
        let service = layer
            .cache_status(false)
            .layer(Origin::at_once(|_| cacheable("")));
        for age in ["", "0"] {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.header("age"), age);
            assert!(!answer.headers.contains_key("cache-status"));
            settled().await;
        }
        assert!(
            !send(&service, put("/a"))
                .await
                .headers
                .contains_key("cache-status")
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fields_of_one_connection_are_not_replayed() {
    const OF_THE_CONNECTION: [(&str, &str); 9] = [
        ("connection", "close, X-Hop"),
        ("connection", "x-other-hop"),
        ("x-hop", "1"),
        ("x-other-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
    ];
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let others = [("cache-control", "max-age=3600"), ("x-end-to-end", "1")];
            answer(200, &[&OF_THE_CONNECTION[..], &others].concat(), "")
        });
        let [miss, hit] = miss_and_hit(&layer, origin).await;
        for (name, _) in OF_THE_CONNECTION {
            assert!(
                miss.headers.contains_key(name),
                "{name}: not ours to remove"
            );
            assert!(!hit.headers.contains_key(name), "{name}");
        }
        assert_eq!(hit.header("x-end-to-end"), "1");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn head_of_a_hit_has_the_length_of_the_get() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| {
            let (script, body) = scripted();
            tell(&script, data("chunked"));
            cacheable("").map(|_| body)
        });
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        let head = send(&service, request(Method::HEAD, "/a")).await;
        assert!(head.is_hit());
        assert_eq!(head.header("content-length"), "7");
        assert_eq!(head.body, "");
        assert_eq!(origin.calls(), 1);
    })
    .await;
}
