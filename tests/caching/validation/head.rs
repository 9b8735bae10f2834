//! What a HEAD says of stored responses (RFC 9111 §4.3.5): it updates the one entry that it
//! describes, or makes it stale. It removes nothing, and no other entry changes.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::{advance, sleep};
use tower::Layer;

use super::{MINUTE, Site, TAG, settled};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, in_memory, is_stored, request, send, with};

const VARY: (&str, &str) = ("vary", "accept-encoding");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn head(path: &str) -> Request<()> {
    with(request(Method::HEAD, path), "cache-control", "no-cache")
}

/// RFC 9111 §4.3.5: the one that is described gets the fields of the HEAD.
#[tokio::test(start_paused = true)]
async fn head_updates_the_entry_that_it_describes() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE, ("x-version", "1")], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        site.change(|page| page.lines = vec![TAG, MINUTE, ("x-version", "2")]);
        let answer = send(&service, request(Method::HEAD, "/a")).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""));
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit(), "{}", hit.cache_status());
        assert_eq!((&*hit.body, &*hit.header("x-version")), ("text", "2"));
    })
    .await;
}

/// RFC 9111 §4.3.5: a validator or a length that differs makes the entry stale. It can still be
/// validated, and is used where stale responses may be.
#[tokio::test(start_paused = true)]
async fn head_about_another_version_makes_the_entry_stale_and_removes_nothing() {
    for (case, line) in [
        ("another tag", ("etag", "\"b\"")),
        ("another length", ("content-length", "5")),
        (
            "another date",
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ),
    ] {
        on_both_backends(async |layer| {
            let site = Site::new(&[TAG, MINUTE], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            site.change(|page| page.lines = vec![line, MINUTE]);
            send(&service, head("/a")).await;
            settled().await;
            site.change(|page| page.lines = vec![TAG, MINUTE]);
            let got = send(&service, get("/a")).await;
            assert_eq!(site.saw("if-none-match").as_deref(), Some(TAG.1), "{case}");
            let status = "fwd=stale; fwd-status=304; stored";
            assert_eq!(
                (&*got.cache_status(), &*got.body),
                (status, "text"),
                "{case}"
            );
        })
        .await;
    }
}

/// A stale entry may be used as any other stale response, for example where the service fails.
#[tokio::test(start_paused = true)]
async fn an_entry_that_a_head_made_stale_serves_in_place_of_errors() {
    let site = Site::new(
        &[TAG, ("cache-control", "max-age=60, stale-if-error=60")],
        "text",
    );
    let service = in_memory().layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.lines[0].1 = "\"b\"");
    send(&service, head("/a")).await;
    settled().await;
    site.change(|page| page.status = Some(500));
    let got = send(&service, get("/a")).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "text"));
    assert!(
        got.cache_status().ends_with("detail=stale-if-error"),
        "{}",
        got.cache_status()
    );
}

/// HEAD without a validator says nothing about the stored response.
#[tokio::test(start_paused = true)]
async fn head_without_a_validator_changes_nothing() {
    let site = Site::new(&[MINUTE, ("x-version", "1")], "text");
    let service = in_memory().layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.lines = vec![MINUTE, ("x-version", "2")]);
    assert_eq!(send(&service, head("/a")).await.header("x-version"), "2");
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert_eq!((hit.is_hit(), &*hit.header("x-version")), (true, "1"));
}

/// An origin that compresses GET where it may, and never HEAD (expressjs/compression #117).
fn compressing(of_head: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::at_once(move |request| {
        let is_zipped = request.headers().contains_key("accept-encoding");
        match (request.method() == Method::HEAD, is_zipped) {
            (true, _) => answer(200, of_head, ""),
            (false, true) => answer(200, &[("etag", "W/\"a\""), VARY, GZIP, MINUTE], "zip"),
            (false, false) => answer(200, &[("etag", "W/\"a\""), VARY, MINUTE], "identity"),
        }
    })
}

fn zipped(request: Request<()>) -> Request<()> {
    with(request, "accept-encoding", "gzip")
}

/// expressjs/compression #117: the HEAD is answered uncompressed and smaller. It describes neither
/// the compressed variant nor other queries.
#[tokio::test(start_paused = true)]
async fn head_in_another_coding_leaves_all_variants_and_queries() {
    for of_head in [
        &[("etag", "W/\"b\""), VARY, MINUTE, ("content-length", "2")][..],
        &[("content-length", "8"), MINUTE],
        &[("etag", "\"a\""), VARY, MINUTE, ("content-encoding", "br")],
    ] {
        on_both_backends(async |layer| {
            let service = layer.layer(compressing(of_head));
            for request in [
                zipped(get("/a")),
                get("/a"),
                zipped(get("/a?b")),
                get("/a?b"),
            ] {
                send(&service, request).await;
                settled().await;
            }
            send(&service, zipped(head("/a"))).await;
            settled().await;
            for request in [
                zipped(get("/a")),
                get("/a"),
                zipped(get("/a?b")),
                get("/a?b"),
            ] {
                assert!(is_stored(&service, request).await, "{of_head:?}");
            }
        })
        .await;
    }
}

/// The variant that the HEAD selects and describes may become stale, that one alone.
#[tokio::test(start_paused = true)]
async fn head_makes_no_other_variant_or_query_stale() {
    on_both_backends(async |layer| {
        let of_head = &[("etag", "W/\"a\""), VARY, MINUTE, ("content-length", "2")];
        let service = layer.layer(compressing(of_head));
        for request in [
            zipped(get("/a")),
            get("/a"),
            zipped(get("/a?b")),
            get("/a?b"),
        ] {
            send(&service, request).await;
            settled().await;
        }
        send(&service, head("/a")).await;
        settled().await;
        for request in [zipped(get("/a")), zipped(get("/a?b")), get("/a?b")] {
            assert!(is_stored(&service, request).await);
        }
        let described = send(&service, get("/a")).await;
        assert!(described.cache_status().starts_with("fwd=stale"));
    })
    .await;
}

/// A stranger's HEAD decides nothing: a response that could not be stored for all says nothing of
/// the stored one.
#[tokio::test(start_paused = true)]
async fn head_with_a_private_response_changes_nothing() {
    for private in ["private", "no-store"] {
        on_both_backends(async |layer| {
            let site = Site::new(&[TAG, MINUTE], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            let own = vec![("etag", "\"own\""), ("cache-control", private)];
            site.change(|page| page.lines = own);
            send(&service, with(head("/a"), "cookie", "user=1")).await;
            settled().await;
            assert!(is_stored(&service, get("/a")).await, "{private}");
        })
        .await;
    }
}

/// An origin whose HEAD takes longer than its GET.
fn with_slow_head(version: impl Fn(&Method) -> &'static str + Send + Sync + 'static) -> Origin {
    Origin::new(move |request: Request<()>| {
        let tag = version(request.method());
        let is_head = request.method() == Method::HEAD;
        async move {
            sleep(Duration::from_millis(if is_head { 50 } else { 1 })).await;
            let lines = [
                ("etag", tag),
                ("cache-control", "max-age=60, stale-while-revalidate=60"),
            ];
            Ok(answer(200, &lines, if is_head { "" } else { tag }))
        }
    })
}

/// A newer response that was stored during the HEAD is not replaced by the older one.
#[tokio::test(start_paused = true)]
async fn head_never_puts_an_older_entry_in_place_of_a_newer_one() {
    for same in [true, false] {
        on_both_backends(async |layer| {
            let gets = std::sync::atomic::AtomicUsize::new(0);
            let origin = with_slow_head(move |method| match *method {
                Method::HEAD if same => "\"one\"",
                Method::HEAD => "\"two\"",
                _ => match gets.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                    0 => "\"one\"",
                    _ => "\"two\"",
                },
            });
            let service = layer.layer(origin);
            send(&service, get("/a")).await;
            settled().await;
            let reloads = async {
                sleep(Duration::from_millis(10)).await;
                send(&service, with(get("/a"), "cache-control", "no-cache")).await;
            };
            tokio::join!(send(&service, head("/a")), reloads);
            settled().await;
            let hit = send(&service, get("/a")).await;
            let status = hit.cache_status();
            assert_eq!(hit.body, "\"two\"", "{status}");
            assert!(status.starts_with("hit; ttl="), "{status}");
        })
        .await;
    }
}

/// No stale read after a write: an entry that was invalidated during the HEAD does not come back.
#[tokio::test(start_paused = true)]
async fn head_never_brings_back_what_a_write_invalidated() {
    for tag in ["\"one\"", "\"two\""] {
        on_both_backends(async |layer| {
            let origin = with_slow_head(move |method| match *method {
                Method::HEAD => tag,
                _ => "\"one\"",
            });
            let service = layer.layer(origin);
            send(&service, get("/a")).await;
            settled().await;
            let writes = async {
                sleep(Duration::from_millis(10)).await;
                layer.handle().invalidate("/a").await.expect("invalidated");
            };
            tokio::join!(send(&service, head("/a")), writes);
            settled().await;
            assert!(!is_stored(&service, get("/a")).await);
            let got = send(&service, get("/a")).await;
            assert_eq!(got.cache_status(), "fwd=uri-miss; stored");
        })
        .await;
    }
}
