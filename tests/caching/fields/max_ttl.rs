//! `max_ttl`: how long a response is fresh at most, wherever its lifetime comes from.

use std::time::{Duration, SystemTime};

use tokio::time::advance;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::clock::Moment;
use tower_response_cache::{CacheLayer, Ttl};

use super::{Lines, saying};
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{get, in_memory, put, send};

const HOUR: Duration = Duration::from_secs(3600);

/// Sun, 06 Nov 1994 08:49:37 GMT, by the cache's clock.
fn in_1994() -> Moment {
    let now = Duration::from_secs(784_111_777);
    Moment::new(now, SystemTime::UNIX_EPOCH + now)
}

#[tokio::test(start_paused = true)]
async fn it_caps_every_kind_of_lifetime() {
    let plain: fn(CacheLayer<MemoryBackend>) -> CacheLayer<MemoryBackend> = |layer| layer;
    let cases: [(Lines, fn(_) -> _, &str); 8] = [
        (&[("cache-control", "s-maxage=3600")], plain, "hit; ttl=60"),
        (&[("cache-control", "max-age=3600")], plain, "hit; ttl=60"),
        (
            &[("cdn-cache-control", "max-age=3600")],
            plain,
            "hit; ttl=60",
        ),
        (
            &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")],
            plain,
            "hit; ttl=60",
        ),
        (
            &[("last-modified", "Sun, 06 Nov 1993 08:49:37 GMT")],
            plain,
            "hit; ttl=60",
        ),
        (&[], |layer| layer.ttl(HOUR), "hit; ttl=60"),
        (
            &[],
            |layer| layer.ttl_by(|_, _| Some(Ttl::UntilInvalidated)),
            "hit; ttl=60",
        ),
        (&[("cache-control", "max-age=30")], plain, "hit; ttl=30"),
    ];
    for (lines, set, expected) in cases {
        let layer = set(in_memory().clock(in_1994).max_ttl(60 * SECOND));
        let service = layer.layer(saying(200, lines));
        let first = send(&service, get("/a")).await;
        let hit = send(&service, get("/a")).await;
        assert_eq!(hit.cache_status(), expected, "{lines:?}");
        for name in ["cache-control", "cdn-cache-control", "expires"] {
            assert_eq!(hit.header(name), first.header(name), "{lines:?}");
        }
    }
}

/// What another cache has kept for hours is fresh here for as long as anything else. Its age is
/// told as it is.
#[tokio::test(start_paused = true)]
async fn it_counts_from_the_receipt() {
    let lines: Lines = &[("cache-control", "max-age=3600"), ("age", "1000")];
    let layer = in_virtual_time(MemoryBackend::default()).max_ttl(60 * SECOND);
    let origin = saying(200, lines);
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    for (passed, expected) in [(0, "hit; ttl=60"), (59, "hit; ttl=1")] {
        advance(passed * SECOND).await;
        let hit = send(&service, get("/a")).await;
        assert_eq!(hit.cache_status(), expected);
        assert_eq!(hit.header("age"), (1000 + passed).to_string());
    }
    advance(SECOND).await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=stale; stored"
    );
    assert_eq!(origin.calls(), 2);
}

/// A 304 is a receipt: it gives another minute, and no more.
#[tokio::test(start_paused = true)]
async fn it_caps_an_update_by_304() {
    let origin = Origin::at_once(|request| {
        let lines = [("etag", "\"1\""), ("cache-control", "max-age=3600")];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines, ""),
            false => answer(200, &lines, "x"),
        }
    });
    let layer = in_virtual_time(MemoryBackend::default()).max_ttl(60 * SECOND);
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    for calls in 2..=3 {
        advance(60 * SECOND).await;
        assert_eq!(send(&service, get("/a")).await.body, "x");
        settled().await;
        assert_eq!(origin.calls(), calls);
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "hit; ttl=60"
        );
    }
    assert_eq!(layer.handle().stats().validations, 2);
}

#[tokio::test(start_paused = true)]
async fn it_caps_what_a_write_stores() {
    let lines: Lines = &[
        ("content-location", "/a"),
        ("cache-control", "max-age=3600"),
    ];
    let layer = in_virtual_time(MemoryBackend::default());
    let service = layer
        .write_through(true)
        .max_ttl(60 * SECOND)
        .layer(saying(200, lines));
    send(&service, put("/a")).await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=60"
    );
}

/// The stale windows begin where the cap ends the lifetime; with zero nothing is ever fresh.
#[tokio::test(start_paused = true)]
async fn stale_windows_begin_after_it() {
    let lines: Lines = &[("cache-control", "max-age=3600, stale-while-revalidate=60")];
    for (cap, stale) in [
        (10, "hit; ttl=-1; detail=stale-while-revalidate"),
        (0, "hit; ttl=-11; detail=stale-while-revalidate"),
    ] {
        let layer = in_virtual_time(MemoryBackend::default()).max_ttl(cap * SECOND);
        let service = layer.layer(saying(200, lines));
        send(&service, get("/a")).await;
        advance(11 * SECOND).await;
        assert_eq!(send(&service, get("/a")).await.cache_status(), stale);
    }
    let layer = in_virtual_time(MemoryBackend::default()).max_ttl(Duration::ZERO);
    let service = layer.layer(saying(200, &[("cache-control", "max-age=3600")]));
    let got = send(&service, get("/a")).await;
    assert_eq!(got.cache_status(), "fwd=uri-miss; detail=expired");
}
