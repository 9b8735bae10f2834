//! Conditions that the cache added never cost a client its response: the request is repeated as
//! the client sent it.

use std::time::Duration;

use http::header::IF_NONE_MATCH;
use http::{Request, StatusCode};
use tokio::time::{advance, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder};
use tower_response_cache::backend::MemoryBackend;

use super::{MINUTE, MODIFIED, Site, TAG, asks, settled};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, OriginError, Response, answer};
use crate::support::time::{SECOND, in_virtual_time};
use crate::support::{get, gets, in_memory, is_stored, request, send, send_all, with};

const WEAK: (&str, &str) = ("etag", "W/\"a\"");
const STRICT: (&str, &str) = ("cache-control", "max-age=60, must-revalidate");
const ANOTHER_DATE: (&str, &str) = ("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT");

/// Stock nginx with `gzip on`, Envoy #31420: the 304 has the strong form of the weak tag that is
/// stored. It confirms the response, which keeps its tag (RFC 9111 §4.3.4, RFC 9110 §13.1.2).
#[tokio::test(start_paused = true)]
async fn a_304_with_the_strong_form_of_a_stored_weak_tag_confirms_the_response() {
    on_both_backends(async |layer| {
        let site = Site::new(&[WEAK, STRICT], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.unchanged = vec![TAG, STRICT]);
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
        assert_eq!(
            answer.header("etag"),
            WEAK.1,
            "the bytes are not those of the strong tag"
        );
        assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=304; stored");
        assert_eq!(site.calls(), 2);
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert_eq!((hit.is_hit(), &*hit.header("etag")), (true, WEAK.1));
        assert_eq!(layer.handle().stats().repetitions, 0);
    })
    .await;
}

/// RFC 9111 §4.3.4: a 304 about another response must not update the stored one. The client gets
/// the response all the same.
#[tokio::test(start_paused = true)]
async fn a_304_that_does_not_fit_is_followed_by_an_unconditional_request() {
    for (case, stored, unchanged) in [
        ("another tag", TAG, ("etag", "\"b\"")),
        ("another weak tag", WEAK, ("etag", "W/\"b\"")),
        ("another date", MODIFIED, ANOTHER_DATE),
        ("a tag that is not stored", MODIFIED, TAG),
    ] {
        on_both_backends(async |layer| {
            let site = Site::new(&[stored, STRICT], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            site.change(|page| page.unchanged = vec![unchanged, ("x-poison", "1")]);
            advance(61 * SECOND).await;
            let asked = with(get("/a"), "x-client", "1");
            let answer = send(&service, asked).await;
            assert_eq!(
                (answer.status, &*answer.body),
                (StatusCode::OK, "text"),
                "{case}"
            );
            assert_eq!(answer.header("x-poison"), "", "{case}");
            assert_eq!(
                answer.cache_status(),
                "fwd=stale; stored; detail=not-modified-is-another",
                "{case}"
            );
            assert_eq!(site.calls(), 3, "{case}");
            assert_eq!(site.saw("if-none-match"), None, "{case}");
            assert_eq!(site.saw("if-modified-since"), None, "{case}");
            assert_eq!(site.saw("x-client").as_deref(), Some("1"), "{case}");
            settled().await;
            assert!(send(&service, get("/a")).await.is_hit(), "{case}");
            let stats = layer.handle().stats();
            assert_eq!((stats.contradictions.total(), stats.repetitions), (1, 1));
        })
        .await;
    }
}

/// A client that has the new version gets a 304, from the whole response of the repeated call.
#[tokio::test(start_paused = true)]
async fn the_clients_own_condition_is_answered_from_the_repeated_response() {
    let site = Site::new(&[TAG, STRICT], "text");
    let service = in_memory().layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
    advance(61 * SECOND).await;
    let answer = send(&service, asks("\"a\"")).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert_eq!(answer.header("etag"), TAG.1);
    settled().await;
    assert!(send(&service, get("/a")).await.is_hit());
}

/// The repeated call belongs to the fill: all who wait for it share its response.
#[tokio::test(start_paused = true)]
async fn followers_share_the_repeated_call() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, STRICT], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
        advance(61 * SECOND).await;
        let answers = send_all(&service, gets(5)).await;
        for answer in &answers {
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
        }
        assert_eq!(site.calls(), 3);
    })
    .await;
}

/// A refresh in the background is repeated as any other fill.
#[tokio::test(start_paused = true)]
async fn a_background_refresh_is_repeated() {
    on_both_backends(async |layer| {
        let site = Site::new(
            &[
                TAG,
                ("cache-control", "max-age=60, stale-while-revalidate=60"),
            ],
            "text",
        );
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| {
            page.unchanged = vec![("etag", "\"b\"")];
            page.text = "new";
        });
        advance(61 * SECOND).await;
        assert_eq!(send(&service, get("/a")).await.body, "text", "stale");
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert_eq!((hit.is_hit(), &*hit.body), (true, "new"));
        assert_eq!(site.calls(), 3);
    })
    .await;
}

/// Cancelling the repeated call leaves nothing behind; with followers it goes on.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_the_repeated_call_ends_it_for_itself_alone() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, STRICT], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
        advance(61 * SECOND).await;
        let leaves = timeout(Duration::from_millis(15), send(&service, get("/a")));
        let (left, stays) = tokio::join!(leaves, send(&service, get("/a")));
        assert!(left.is_err());
        assert_eq!((stays.status, &*stays.body), (StatusCode::OK, "text"));
        assert_eq!(site.calls(), 3);
        settled().await;
        assert_eq!(layer.handle().stats().in_flight.fills, 0);
    })
    .await;
}

/// The repeated call may have to wait for others, however full the queue is: without the condition
/// of the cache there would be one call.
#[tokio::test(start_paused = true)]
async fn a_full_queue_does_not_turn_the_repeated_call_away() {
    let site = Site::new(&[TAG, STRICT], "text");
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(site.origin.clone());
    let layer = in_memory().max_waiting_fills(1);
    let service = layer.layer(inner);
    send(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
    advance(61 * SECOND).await;
    let (a, b) = tokio::join!(send(&service, get("/a")), send(&service, get("/b")));
    for answer in [a, b] {
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
    }
    assert_eq!(layer.handle().stats().repetitions, 1);
}

/// RFC 9111 §4.2.3: the age is counted from the call that brought the response.
#[tokio::test(start_paused = true)]
async fn the_age_is_counted_from_the_repeated_call() {
    let origin = Origin::new(|request: Request<()>| async move {
        let is_validation = request.headers().contains_key(IF_NONE_MATCH);
        sleep(if is_validation {
            7 * SECOND
        } else {
            2 * SECOND
        })
        .await;
        Ok(match is_validation {
            true => answer(304, &[("etag", "\"b\"")], ""),
            false => answer(200, &[TAG, STRICT, ("age", "0")], "text"),
        })
    });
    let service = in_virtual_time(MemoryBackend::default()).layer(origin);
    send(&service, get("/a")).await;
    settled().await;
    sleep(61 * SECOND).await;
    send(&service, get("/a")).await;
    settled().await;
    assert_eq!(send(&service, get("/a")).await.header("age"), "2");
}

/// What a write invalidates meanwhile is not stored: the fence is older than both calls.
#[tokio::test(start_paused = true)]
async fn a_write_during_either_call_keeps_the_response_out_of_the_store() {
    for after in [5, 15] {
        on_both_backends(async |layer| {
            let site = Site::new(&[TAG, STRICT], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            site.change(|page| page.unchanged = vec![("etag", "\"b\"")]);
            advance(61 * SECOND).await;
            let write = async {
                sleep(Duration::from_millis(after)).await;
                layer.handle().invalidate("/a").await.expect("invalidated");
            };
            let (got, ()) = tokio::join!(send(&service, get("/a")), write);
            assert_eq!((got.status, &*got.body), (StatusCode::OK, "text"));
            settled().await;
            assert!(!is_stored(&service, get("/a")).await, "after {after} ms");
        })
        .await;
    }
}

/// An origin that answers conditions with 304 about another response, and everything else with
/// `second`.
fn contradicting(
    cache_control: &'static str,
    second: impl Fn() -> Result<Response, OriginError> + Send + Sync + 'static,
) -> Origin {
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let order = std::sync::atomic::Ordering::SeqCst;
    Origin::new(move |request: Request<()>| {
        let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
        std::future::ready(match is_first.swap(false, order) {
            true => Ok(answer(
                200,
                &[TAG, ("cache-control", cache_control)],
                "text",
            )),
            false if is_conditional => Ok(answer(304, &[("etag", "\"b\"")], "")),
            false => second(),
        })
    })
}

/// RFC 9111 §4.2.4: the rules for stale responses are those of a first call.
#[tokio::test(start_paused = true)]
async fn a_failure_of_the_repeated_call_is_one_of_a_first_call() {
    for (case, cache_control, second, status, body) in [
        ("an error", "max-age=60, must-revalidate", 503, 503, "down"),
        (
            "a stale response may be used",
            "max-age=60, stale-if-error=600",
            503,
            200,
            "text",
        ),
        (
            "the same for no response",
            "max-age=60, stale-if-error=600",
            0,
            200,
            "text",
        ),
        (
            "another error",
            "max-age=60, stale-if-error=600",
            404,
            404,
            "down",
        ),
    ] {
        let origin = contradicting(cache_control, move || match second {
            0 => Err(OriginError("nobody there")),
            status => Ok(answer(status, &[], "down")),
        });
        let service = in_memory().layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        let got = send(&service, get("/a")).await;
        assert_eq!((got.status.as_u16(), &*got.body), (status, body), "{case}");
        assert_eq!(origin.calls(), 3, "{case}");
    }
}

/// RFC 9110 §15.4.5: a 304 is of no use to a client that sent no condition. One that insists on it
/// is a bad gateway (§15.6.3).
#[tokio::test(start_paused = true)]
async fn a_client_without_conditions_gets_no_304() {
    for method in ["GET", "HEAD"] {
        for (case, seconds, status) in [("once", 200, 200), ("twice", 304, 502)] {
            on_both_backends(async |layer| {
                let calls = std::sync::atomic::AtomicUsize::new(0);
                let origin = Origin::at_once(move |_| {
                    match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                        0 => answer(304, &[TAG, MINUTE], ""),
                        _ => answer(seconds, &[TAG, MINUTE], ""),
                    }
                });
                let service = layer.layer(origin.clone());
                let asked = request(method.parse().expect("a method"), "/a");
                let got = send(&service, asked).await;
                assert_eq!(got.status.as_u16(), status, "{method} {case}");
                assert_eq!(origin.calls(), 2, "{method} {case}");
                assert_eq!(layer.handle().stats().repetitions, 1, "{method} {case}");
            })
            .await;
        }
    }
}

/// RFC 9110 §15.4.5, §13.1.1: a 304 answers `If-None-Match` and `If-Modified-Since`, nothing else.
#[tokio::test(start_paused = true)]
async fn a_range_or_another_condition_asks_for_no_304() {
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("if-match", "\"a\""),
        ("if-unmodified-since", MODIFIED.1),
    ] {
        let origin = Origin::at_once(|_| answer(304, &[TAG], ""));
        let service = in_memory().layer(origin.clone());
        let got = send(&service, with(get("/a"), name, value)).await;
        assert_eq!((got.status.as_u16(), origin.calls()), (502, 2), "{name}");
    }
}

/// A cache may take a client's condition off; a 304 to it is the client's all the same.
#[tokio::test(start_paused = true)]
async fn a_304_that_the_client_asked_for_is_not_withheld() {
    let origin = Origin::at_once(|_| answer(304, &[TAG], ""));
    let service = in_memory().layer(origin.clone());
    let got = send(&service, asks(TAG.1)).await;
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
    assert_eq!(origin.calls(), 2);
}

/// A 412 or 416 to a condition of the cache is none of the client's.
#[tokio::test(start_paused = true)]
async fn a_refused_condition_of_the_cache_is_taken_back() {
    for refusal in [412, 416] {
        on_both_backends(async |layer| {
            let is_first = std::sync::atomic::AtomicBool::new(true);
            let origin = Origin::at_once(move |request| {
                let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
                match is_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    false if is_conditional => answer(refusal, &[], "refused"),
                    _ => answer(200, &[TAG, STRICT], "text"),
                }
            });
            let service = layer.layer(origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            advance(61 * SECOND).await;
            let got = send(&service, get("/a")).await;
            assert_eq!(
                (got.status.as_u16(), &*got.body),
                (200, "text"),
                "{refusal}"
            );
            assert_eq!(origin.calls(), 3, "{refusal}");
        })
        .await;
    }
}

/// PostgREST answers 416 to a query, and others 412 to fields of their own: where the cache added
/// nothing, these are the service's own responses.
#[tokio::test(start_paused = true)]
async fn a_412_or_416_to_an_unchanged_request_is_the_services_own() {
    for status in [412, 416] {
        let origin = Origin::at_once(move |_| answer(status, &[], "why"));
        let service = in_memory().layer(origin.clone());
        let got = send(&service, get("/a?offset=1000")).await;
        assert_eq!((got.status.as_u16(), &*got.body), (status, "why"));
        assert_eq!(origin.calls(), 1);
    }
}

/// RFC 9111 §4.3.1: conditions for a response that is for one client alone are that client's.
#[tokio::test(start_paused = true)]
async fn a_clients_condition_on_an_uncacheable_key_reaches_the_origin_unchanged() {
    for (case, first) in [
        ("nothing stored", [TAG, ("cache-control", "private")]),
        ("a stale response stored", [("etag", "\"old\""), MINUTE]),
    ] {
        for (name, value) in [
            ("if-none-match", "\"a\", W/\"z\""),
            ("if-modified-since", MODIFIED.1),
        ] {
            on_both_backends(async |layer| {
                let private = [TAG, MODIFIED, ("cache-control", "private")];
                let site = Site::new(&first, "text");
                let service = layer.layer(site.origin.clone());
                send(&service, get("/a")).await;
                settled().await;
                advance(61 * SECOND).await;
                site.change(|page| page.lines = private.to_vec());
                for _ in 0..3 {
                    send(&service, get("/a")).await;
                    settled().await;
                }
                // From here on the key is remembered as uncacheable.
                site.change(|page| {
                    page.lines[0].1 = "\"a\", W/\"z\"";
                    page.unchanged = vec![("x-own", "1")];
                });
                let got = send(&service, with(get("/a"), name, value)).await;
                assert_eq!(site.saw(name).as_deref(), Some(value), "{case}");
                assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{case} {name}");
                assert_eq!(got.header("x-own"), "1", "{case} {name}");
            })
            .await;
        }
    }
}
