//! Which responses have a lifetime, and how long it is.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::Ttl;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::clock::Moment;

use super::{Lines, saying};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{get, in_memory, send, with};

/// Sun, 06 Nov 1994 08:49:37 GMT, by the cache's clock.
fn in_1994() -> Moment {
    let now = Duration::from_secs(784_111_777);
    Moment::new(now, SystemTime::UNIX_EPOCH + now)
}

/// RFC 6585 §3 to §6: MUST NOT be stored by a cache.
#[tokio::test(start_paused = true)]
async fn a_status_whose_definition_forbids_storing_is_never_stored() {
    let lines: Lines = &[
        ("cache-control", "public, max-age=60"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"a\""),
    ];
    // The others answer the connection, the request's conditions or its credentials for a proxy.
    for status in [
        428, 429, 431, 511, 226, 407, 408, 412, 416, 417, 421, 425, 426,
    ] {
        on_both_backends(async |layer| {
            let layer = layer
                .ttl(60 * SECOND)
                .ttl_by(|_, _| Some(Ttl::UntilInvalidated));
            let origin = saying(status, lines);
            let service = layer.layer(origin.clone());
            for calls in 1..=3 {
                let got = send(&service, get("/a")).await;
                assert_eq!(
                    got.cache_status(),
                    "fwd=uri-miss; detail=status",
                    "{status}"
                );
                settled().await;
                assert_eq!(origin.calls(), calls, "{status}");
            }
        })
        .await;
    }
}

/// RFC 9110 §15.1, RFC 9111 §4.2.2.
#[tokio::test(start_paused = true)]
async fn heuristics_are_for_their_statuses_and_for_public_responses() {
    let modified = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        let origin = Origin::at_once(move |_| answer(status, &[modified], ""));
        let service = in_memory().clock(in_1994).layer(origin);
        send(&service, get("/a")).await;
        let got = send(&service, get("/a")).await;
        assert_eq!(got.cache_status(), "hit; ttl=100", "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 403, 418, 451, 500, 502, 599] {
        for (control, expected) in [
            ("x=1", "fwd=uri-miss; detail=no-lifetime"),
            ("public", "hit; ttl=100"),
        ] {
            let lines = [modified, ("cache-control", control)];
            let origin = Origin::at_once(move |_| answer(status, &lines, ""));
            let service = in_memory().clock(in_1994).layer(origin);
            send(&service, get("/a")).await;
            let got = send(&service, get("/a")).await;
            assert_eq!(got.cache_status(), expected, "{status} {control}");
        }
    }
}

/// An error page may be as old as the site: its age does not tell how long the error lasts.
#[tokio::test(start_paused = true)]
async fn a_heuristic_lifetime_of_an_error_is_short() {
    let old = ("last-modified", "Sun, 06 Nov 1988 08:32:57 GMT");
    for (status, expected) in [(200, "hit; ttl=86400"), (404, "hit; ttl=600")] {
        let origin = Origin::at_once(move |_| answer(status, &[old], ""));
        let service = in_memory().clock(in_1994).layer(origin);
        send(&service, get("/a")).await;
        assert_eq!(send(&service, get("/a")).await.cache_status(), expected);
    }
}

/// RFC 9111 §5.3, §4.2: an `Expires` that is no date is in the past, also one in another zone.
#[tokio::test(start_paused = true)]
async fn an_expires_of_another_form_is_in_the_past() {
    for (expires, is_hit) in [
        ("Sun, 06 Nov 1994 08:50:37 GMT", true),
        ("Sunday, 06-Nov-94 08:50:37 GMT", true),
        ("Sun Nov  6 08:50:37 1994", true),
        ("sun, 06 nov 1994 08:50:37 gmt", true),
        ("Sun, 06 Nov 94 08:50:37 GMT", false),
        ("Sun 06 Nov 1994 08:50:37 GMT", false),
        ("Sun, 06 Nov 1994 08:50:37 UTC", false),
        ("Sun, 06 Nov 1994 08:50:37 AoE", false),
        ("Sun, 06-Nov-1994 08:50:37 GMT", false),
        ("Sun, 06 Nov 1994 8:50:37 GMT", false),
        ("Sun, 6 Nov 1994 08:50:37 GMT", false),
        ("Sun,  06  Nov 1994 08:50:37 GMT", false),
        ("Sunday, 06 Nov 1994 08:50:37 GMT", false),
        ("1994-11-06T08:50:37Z", false),
        ("0", false),
    ] {
        let origin = Origin::at_once(move |_| answer(200, &[("expires", expires)], ""));
        // An expired response is not given a lifetime of the layer's.
        let layer = in_memory().ttl(60 * SECOND).clock(in_1994);
        let service = layer.layer(origin);
        send(&service, get("/a")).await;
        assert_eq!(
            send(&service, get("/a")).await.is_hit(),
            is_hit,
            "{expires}"
        );
    }
}

/// RFC 9110 §5.6.7, §6.6.1, §13.1.3: an unreadable date is as good as none.
#[tokio::test(start_paused = true)]
async fn a_date_of_another_form_is_none() {
    let modified = ("last-modified", "Sun, 6 Nov 1994 08:32:57 GMT");
    let origin = Origin::at_once(move |_| answer(200, &[modified], ""));
    let service = in_memory().clock(in_1994).layer(origin);
    let got = send(&service, get("/a")).await;
    assert_eq!(got.cache_status(), "fwd=uri-miss; detail=no-lifetime");

    // The response is as old as its arrival.
    let late = [
        ("date", "Sun, 06 Nov 1994 08:40:37 UTC"),
        ("cache-control", "max-age=60"),
    ];
    let origin = Origin::at_once(move |_| answer(200, &late, ""));
    let service = in_memory().clock(in_1994).layer(origin);
    send(&service, get("/a")).await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=60"
    );
    let since = "if-modified-since";
    for (value, status) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("Sun, 06 Nov 1994 08:49:37 UTC", 200),
        ("Sun, 6 Nov 1994 08:49:37 GMT", 200),
        ("Sun, 06-Nov-1994 08:49:37 GMT", 200),
    ] {
        let got = send(&service, with(get("/a"), since, value)).await;
        assert_eq!(got.status, status, "{value}");
    }

    // Neither kept for validation nor sent to the origin.
    let unreadable = [modified, ("cache-control", "max-age=60")];
    let origin = Origin::at_once(move |request| {
        assert!(!request.headers().contains_key(since));
        answer(200, &unreadable, "")
    });
    let service = in_memory().layer(origin.clone());
    send(&service, get("/a")).await;
    send(&service, with(get("/a"), "cache-control", "no-cache")).await;
    assert_eq!(origin.calls(), 2);
}

/// buildbot #5220: a directive that was meant to forbid storing is no permission.
#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_read_whole_gets_no_lifetime_of_ours() {
    let modified = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
    for unclear in [
        ("cache-control", "no-cache; no-store"),
        ("cache-control", "private; max-age=0"),
        ("cache-control", "nostore"),
        ("cache-control", "no_store"),
        ("cache-control", "no-cach"),
        ("cache-control", "public, no store"),
        ("cache-control", "max-age: 30"),
        ("cache-control", "maxage=30"),
        ("pragma", "no-cache"),
        ("cdn-cache-control", "no-store;"),
    ] {
        for lines in [&[unclear][..], &[unclear, modified]] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().expect("a field value"));
            }
            let origin = Origin::at_once(move |_| {
                let mut response = answer(200, &[], "");
                response.headers_mut().extend(headers.clone());
                response
            });
            let layer = in_memory().clock(in_1994).ttl(60 * SECOND);
            for layer in [
                layer.clone(),
                layer.ttl_by(|_, _| Some(Ttl::UntilInvalidated)),
            ] {
                let service = layer.layer(origin.clone());
                send(&service, get("/a")).await;
                let got = send(&service, get("/a")).await;
                let expected = "fwd=uri-miss; detail=unreadable-directives";
                assert_eq!(got.cache_status(), expected, "{lines:?}");
            }
        }
    }
}

/// A directive that was meant to forbid stale use is no permission either.
#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_read_whole_gets_no_stale_window_of_ours() {
    for (line, is_served) in [
        ("max-age=10", true),
        ("max-age=10, foo=bar", true),
        ("max-age=10, must_revalidate", false),
        ("max-age=10, mustrevalidate", false),
        ("max-age=10, proxy-revalidat", false),
        ("max-age=10, must-revalidate; public", false),
        // A window of its own is stated.
        ("max-age=10, mustrevalidate, stale-if-error=60", true),
    ] {
        let origin = slow(move |_, call| match call {
            1 => answer(200, &[("cache-control", line)], "text"),
            _ => answer(503, &[], "down"),
        });
        let layer = in_virtual_time(MemoryBackend::default()).stale_if_error(60 * SECOND);
        let service = layer.layer(origin);
        send(&service, get("/a")).await;
        settled().await;
        advance(20 * SECOND).await;
        let got = send(&service, get("/a")).await;
        assert_eq!(got.status == 200, is_served, "{line}");
    }
}

/// RFC 9111 §5.2.3: an unknown directive is ignored, and a stated lifetime counts.
#[tokio::test(start_paused = true)]
async fn an_unknown_directive_or_a_stated_lifetime_is_clear() {
    for (line, ttl) in [
        ("foo=bar", 60),
        ("immutable, community=\"UCI\"", 60),
        ("pre-check=0, post-check=0", 60),
        ("no-cache=\"x-user\"", 60),
        ("nostore, max-age=30", 30),
        ("max-age=30; public, s-maxage=20", 20),
    ] {
        let origin = Origin::at_once(move |_| answer(200, &[("cache-control", line)], ""));
        let service = in_memory().ttl(60 * SECOND).layer(origin);
        send(&service, get("/a")).await;
        let got = send(&service, get("/a")).await;
        assert_eq!(got.cache_status(), format!("hit; ttl={ttl}"), "{line}");
    }
}

/// RFC 9110 §15.5.2, §15.5.4: a refusal of one client's credentials answers no other's.
#[tokio::test(start_paused = true)]
async fn a_stored_refusal_is_not_for_requests_with_credentials() {
    for status in [401, 403] {
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-auth-token",
            "x-access-token",
            "proxy-authorization",
        ] {
            on_both_backends(async |layer| {
                let origin = Origin::at_once(move |request| match request.headers().get(name) {
                    Some(_) => answer(200, &[("cache-control", "private")], "welcome"),
                    None => answer(status, &[("cache-control", "max-age=60")], "who?"),
                });
                let service = layer.layer(origin.clone());
                send(&service, get("/a")).await;
                settled().await;
                let got = send(&service, with(get("/a"), name, "x")).await;
                assert_eq!(
                    (got.status.as_u16(), &*got.body),
                    (200, "welcome"),
                    "{name}"
                );
                assert_eq!(got.cache_status(), "fwd=request; detail=private");
                assert!(send(&service, get("/a")).await.is_hit(), "{name}");
                assert_eq!(origin.calls(), 2);
            })
            .await;
        }
    }
}

/// A follower with credentials does not share it either.
#[tokio::test(start_paused = true)]
async fn a_refusal_in_flight_is_not_shared_with_requests_with_credentials() {
    let origin = slow(|request, _| match request.headers().get("authorization") {
        Some(_) => answer(200, &[("cache-control", "max-age=60, public")], "welcome"),
        None => answer(401, &[("cache-control", "max-age=60, public")], "who?"),
    });
    let service = in_memory().layer(origin.clone());
    let with_credentials = with(get("/a"), "authorization", "x");
    let (one, other) = tokio::join!(send(&service, get("/a")), send(&service, with_credentials));
    assert_eq!((&*one.body, &*other.body), ("who?", "welcome"));
    assert_eq!(origin.calls(), 2);
}

/// RFC 9110 §13.2.1: a 304 is about a success, and confirms no stored error.
#[tokio::test(start_paused = true)]
async fn a_stored_error_is_never_confirmed_by_a_304() {
    for status in [404, 301, 410] {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                let conditions = ["if-modified-since", "if-none-match"];
                if conditions
                    .iter()
                    .any(|name| request.headers().contains_key(*name))
                {
                    return answer(304, &[], "");
                }
                let lines = [
                    ("cache-control", "max-age=60"),
                    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                    ("etag", "\"page\""),
                ];
                answer(status, &lines, "")
            });
            let service = layer.layer(origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            advance(61 * SECOND).await;
            let got = send(&service, get("/a")).await;
            assert_eq!(got.status, status);
            assert!(
                !got.cache_status().contains("304"),
                "{}",
                got.cache_status()
            );
        })
        .await;
    }
}

/// RFC 9211 §2.4: a lifetime beyond all numbers is a large one.
#[tokio::test(start_paused = true)]
async fn the_longest_durations_neither_overflow_nor_turn_negative() {
    let origin = Origin::at_once(|request| match request.uri().path() {
        "/error" => answer(503, &[("cache-control", "max-age=1")], ""),
        _ => answer(200, &[], "text"),
    });
    on_both_backends(async |layer| {
        let most = Duration::MAX;
        let layer = layer
            .ttl(most)
            .negative_ttl(most)
            .stale_while_revalidate(most)
            .stale_if_error(most)
            .stale_if_unreachable(most)
            .revalidation_window(most)
            .early_refresh(1.0);
        for layer in [layer.clone(), layer.ttl_jitter(1.0)] {
            let service = layer.layer(origin.clone());
            for path in ["/a", "/error"] {
                send(&service, get(path)).await;
                settled().await;
                advance(10 * SECOND).await;
                let got = send(&service, get(path)).await;
                settled().await;
                let said = got.cache_status();
                if path == "/a" && !said.contains("ttl=0") && !said.contains("detail") {
                    assert_eq!(said, "hit; ttl=999999999999999");
                }
                let aged = with(get(path), "cache-control", "max-stale, max-age=4294967296");
                send(&service, aged).await;
            }
        }
    })
    .await;
}

/// RFC 9111 §5.2.2.10, RFC 5861 §3: as Next.js sends it.
#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_counts_beside_s_maxage_where_that_is_allowed() {
    for line in [
        "s-maxage=1, stale-while-revalidate=59",
        "s-maxage=1,stale-while-revalidate=31535999",
        "public, max-age=0, s-maxage=1, stale-while-revalidate=59",
    ] {
        for (is_allowed, expected) in [(false, "fwd=stale; stored"), (true, "hit; ttl=-")] {
            let origin = Origin::at_once(move |_| answer(200, &[("cache-control", line)], ""));
            let layer = in_virtual_time(MemoryBackend::default());
            let service = layer
                .stale_despite_s_maxage(is_allowed)
                .layer(origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            advance(10 * SECOND).await;
            let said = send(&service, get("/a")).await.cache_status();
            assert!(said.starts_with(expected), "{line}: {said}");
            settled().await;
            assert_eq!(origin.calls(), 2);
        }
    }
}
