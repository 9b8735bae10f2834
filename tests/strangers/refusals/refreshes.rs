//! Refreshes of a stale response go on, whatever the requests of single clients get.

use http::{Method, Request};
use tokio::time::{Instant, advance, sleep};
use tower::Layer;

use super::{FOR_ALL, burst, layer, personal, refusing};
use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, gets, send, with};

/// Stale while it is revalidated: a client whose response is its own gets that, and the others'
/// refreshes go on.
#[tokio::test(start_paused = true)]
async fn a_refused_kind_ends_no_refreshes_of_others() {
    let origin = personal("cookie", &[("cache-control", "private")]);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    for _ in 0..3 {
        advance(SECOND * 12).await;
        send(&service, with(get("/a"), "cookie", "id=1")).await;
        sleep(SLOW * 2).await;
        let stale = send(&service, get("/a")).await;
        assert!(
            stale.cache_status().contains("stale-while-revalidate"),
            "{stale:?}"
        );
        sleep(SLOW * 2).await;
        let fresh = send(&service, get("/a")).await;
        assert!(fresh.is_hit() && fresh.body != stale.body, "{fresh:?}");
    }
}

/// A fresh response for ten seconds, as `status` to requests with `x-bad`.
fn failing(status: u16) -> Origin {
    slow(
        move |request, call| match request.headers().contains_key("x-bad") {
            true => answer(status, &[], "bad"),
            false => answer(200, &[("cache-control", FOR_ALL)], format!("call {call}")),
        },
    )
}

/// The number of refreshes within a minute, in which a client without anything special asks once a
/// second, and a stranger's request comes every four seconds.
async fn refreshes(origin: &Origin, stranger: Option<Request<()>>) -> usize {
    let layer = layer();
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    for second in 0..60 {
        if let Some(stranger) = &stranger
            && second % 4 == 0
        {
            send(&service, clone_of(stranger)).await;
        }
        send(&service, get("/a")).await;
        advance(SECOND).await;
        settle().await;
    }
    let stored = layer.handle().stats().stores;
    usize::try_from(stored).expect("few") - 1
}

fn clone_of(request: &Request<()>) -> Request<()> {
    let mut clone = Request::new(());
    *clone.method_mut() = request.method().clone();
    *clone.uri_mut() = request.uri().clone();
    *clone.headers_mut() = request.headers().clone();
    clone
}

/// What a client forces, or asks for itself alone, says nothing of a refresh.
#[tokio::test(start_paused = true)]
async fn a_failing_request_of_one_client_ends_no_refreshes() {
    let expected = refreshes(&failing(503), None).await;
    assert!(expected >= 5, "{expected}");
    let bad = || with(get("/a"), "x-bad", "1");
    let head = || {
        let mut head = bad();
        *head.method_mut() = Method::HEAD;
        head
    };
    for (case, stranger) in [
        ("no-cache", with(bad(), "cache-control", "no-cache")),
        ("max-age", with(bad(), "cache-control", "max-age=0")),
        ("min-fresh", with(bad(), "cache-control", "min-fresh=1000")),
        ("no-store", with(bad(), "cache-control", "no-store")),
        ("cookie", with(bad(), "cookie", "id=1")),
        ("authorization", with(bad(), "authorization", "Basic x")),
        ("if-match", with(bad(), "if-match", "\"x\"")),
        ("head", with(head(), "cache-control", "no-cache")),
    ] {
        for status in [503, 429, 400] {
            let count = refreshes(&failing(status), Some(clone_of(&stranger))).await;
            assert!(
                count + 1 >= expected,
                "{case} {status}: {count} of {expected}"
            );
        }
    }
}

/// An origin whose page has an entity tag, and is another one for clients with `x-preview`.
fn with_previews() -> Origin {
    slow(|request, call| match request.headers().get("x-preview") {
        Some(_) => answer(
            200,
            &[("cache-control", "private"), ("etag", "\"2\"")],
            "odd",
        ),
        None => {
            let lines = [("cache-control", FOR_ALL), ("etag", "\"1\"")];
            answer(200, &lines, format!("call {call}"))
        }
    })
}

/// Refreshes that are refused to one client end neither those of others nor their use of the stale
/// response.
#[tokio::test(start_paused = true)]
async fn a_refused_refresh_ends_neither_sharing_nor_later_refreshes() {
    let origin = with_previews();
    let layer = layer().uncacheable_ttl(SECOND * 1000);
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    for condition in [None, Some("\"1\""), None] {
        advance(SECOND * 12).await;
        let odd = send(&service, with(get("/a"), "x-preview", "1")).await;
        assert!(odd.cache_status().contains("stale-while-revalidate"));
        sleep(SLOW * 2).await;
        send(&service, with(get("/a"), "x-preview", "1")).await;
        sleep(SLOW * 2).await;
        let others = gets(100).map(|request| match condition {
            Some(tag) => with(request, "if-none-match", tag),
            None => request,
        });
        let (calls, answers) = burst(&service, &origin, others.collect()).await;
        assert_eq!((calls, answers[0].is_hit()), (1, true), "{condition:?}");
        advance(SECOND * 12).await;
        let stale = send(&service, get("/a")).await;
        assert!(stale.cache_status().contains("stale-while-revalidate"));
        sleep(SLOW * 2).await;
        settle().await;
    }
}

/// G6: a few odd requests per expiry, each of which refreshes the page with its own fields.
#[tokio::test(start_paused = true)]
async fn refused_refreshes_of_odd_requests_make_no_other_wait() {
    for (status, line) in [
        (200, ("cache-control", "no-store")),
        (404, ("x-says", "no")),
        (400, ("x-says", "no")),
        (200, ("set-cookie", "id=1")),
    ] {
        for values in [
            &["1", "1"][..],
            &["1", "2"],
            &["1", "2", "3", "4", "5", "6", "7"],
        ] {
            let origin = refusing(
                "x-odd",
                (status, [line]),
                "max-age=1, stale-while-revalidate=3600",
            );
            let service = layer().layer(origin.clone());
            send(&service, get("/a")).await;
            let mut waited = 0;
            for _ in 0..20 {
                sleep(SECOND * 2).await;
                for value in values {
                    send(&service, with(get("/a"), "x-odd", value)).await;
                    sleep(SLOW * 2).await;
                }
                let begun = Instant::now();
                let got = send(&service, get("/a")).await;
                assert_eq!(got.body, "page");
                waited += usize::from(begun.elapsed() >= SLOW);
                sleep(SLOW * 2).await;
                let after = send(&service, get("/a")).await;
                let is_stale = after.cache_status().contains("stale");
                assert!(after.is_hit() && !is_stale, "{after:?}");
            }
            println!("{status} {values:?}: {waited} of 20");
            assert_eq!(waited, 0, "{status} {values:?}");
        }
    }
}

/// One refused refresh says nothing of those for other requests: they get a stale response, and the
/// next one of them refreshes it.
#[tokio::test(start_paused = true)]
async fn a_refused_refresh_makes_no_other_request_wait() {
    for (status, line) in [
        (200, ("cache-control", "no-store")),
        (404, ("x-says", "no")),
    ] {
        let origin = refusing(
            "x-odd",
            (status, [line]),
            "max-age=1, stale-while-revalidate=3600",
        );
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        for _ in 0..20 {
            sleep(SECOND * 2).await;
            send(&service, with(get("/a"), "x-odd", "1")).await;
            sleep(SLOW * 2).await;
            let begun = Instant::now();
            let got = send(&service, get("/a")).await;
            assert!(got.is_hit() && begun.elapsed() < SLOW, "{got:?}");
        }
    }
}
