//! RFC 9111 §5.2 and related fields, seen from outside: directives of requests and responses, and
//! their effect.

use std::time::Duration;

use http::Request;
use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer, RequestDirective};

use crate::support::origin::{Origin, answer};
use crate::support::{Answer, get, in_memory, send, with};

type Line = (&'static str, &'static str);

fn origin(lines: &'static [Line]) -> Origin {
    Origin::at_once(move |_| answer(200, lines, "text"))
}

async fn stored(
    layer: &CacheLayer<MemoryBackend>,
    lines: &'static [Line],
) -> (Cache<Origin, MemoryBackend>, Origin) {
    let origin = origin(lines);
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(Duration::from_millis(1)).await;
    (service, origin)
}

fn asks(directives: &str) -> Request<()> {
    with(get("/a"), "cache-control", directives)
}

#[tokio::test(start_paused = true)]
async fn section_5_2_1_2_max_stale() {
    for (lines, directives, is_hit) in [
        (&[("cache-control", "max-age=60")][..], "max-stale", true),
        (&[("cache-control", "max-age=60")], "max-stale=40", true),
        (&[("cache-control", "max-age=60")], "max-stale=39", false),
        (
            &[("cache-control", "max-age=60")],
            "max-stale, no-cache",
            false,
        ),
        (
            &[("cache-control", "max-age=60, must-revalidate")],
            "max-stale",
            false,
        ),
        (
            &[("cache-control", "max-age=60, proxy-revalidate")],
            "max-stale",
            false,
        ),
        (&[("cache-control", "s-maxage=60")], "max-stale", false),
        (
            &[("cache-control", "max-age=60, no-cache"), ("etag", "\"a\"")],
            "max-stale",
            false,
        ),
    ] {
        let (service, origin) = stored(&in_memory(), lines).await;
        advance(Duration::from_secs(100)).await;
        let answer = send(&service, asks(directives)).await;
        assert_eq!(
            answer.is_hit(),
            is_hit,
            "{lines:?} {directives}: {}",
            answer.cache_status()
        );
        assert_eq!(origin.calls(), if is_hit { 1 } else { 2 });
        if is_hit {
            assert_eq!(answer.cache_status(), "hit; ttl=-40; detail=max-stale");
            assert_eq!(answer.header("age"), "100");
        }
    }
}

/// Each can be ignored, alone.
#[tokio::test(start_paused = true)]
async fn section_5_2_1_each_can_be_ignored() {
    use RequestDirective as D;
    let fresh: &[Line] = &[("cache-control", "max-age=60")];
    for (ignored, name, value, after, obeyed, otherwise) in [
        (
            D::MaxAge,
            "cache-control",
            "max-age=0",
            0,
            "fwd=request",
            "hit",
        ),
        (
            D::MinFresh,
            "cache-control",
            "min-fresh=99",
            0,
            "fwd=request",
            "hit",
        ),
        (
            D::NoCache,
            "cache-control",
            "no-cache",
            0,
            "fwd=request",
            "hit",
        ),
        (D::Pragma, "pragma", "no-cache", 0, "fwd=request", "hit"),
        (
            D::MaxStale,
            "cache-control",
            "max-stale",
            100,
            "hit",
            "fwd=stale",
        ),
        (
            D::OnlyIfCached,
            "cache-control",
            "only-if-cached",
            100,
            "detail=only-if-cached",
            "fwd=stale",
        ),
        (
            D::NoStore,
            "cache-control",
            "no-store",
            100,
            "fwd=stale; detail=request-no-store",
            "fwd=stale; stored",
        ),
    ] {
        for (layer, expected) in [
            (in_memory(), obeyed),
            (in_memory().ignore_request_directives([ignored]), otherwise),
        ] {
            let (service, _) = stored(&layer, fresh).await;
            advance(Duration::from_secs(after)).await;
            let answer = send(&service, with(get("/a"), name, value)).await;
            let said = answer.cache_status();
            assert!(said.starts_with(expected), "{ignored:?}: {said}");
        }
    }
}

/// Fields named by `no-cache` and `private` go to the first client only; all others are stored.
#[tokio::test(start_paused = true)]
async fn section_5_2_2_4_and_7_qualified_forms() {
    for control in [
        "max-age=60, private=\"x-user, set-cookie\"",
        "max-age=60, no-cache=\"x-user, set-cookie\"",
        "max-age=60, private=x-user, private=set-cookie",
    ] {
        let origin = Origin::new(move |_| async move {
            sleep(Duration::from_millis(5)).await;
            let lines = [
                ("cache-control", control),
                ("x-user", "alice"),
                ("set-cookie", "id=1"),
                ("x-else", "1"),
            ];
            Ok(answer(200, &lines, "text"))
        });
        let service = in_memory().layer(origin.clone());
        let (own, follower) = tokio::join!(send(&service, get("/a")), send(&service, get("/a")));
        sleep(Duration::from_millis(1)).await;
        let hit = send(&service, get("/a")).await;
        assert_eq!(origin.calls(), 1, "{control}");
        let names =
            |answer: &Answer| ["x-user", "set-cookie", "x-else"].map(|name| answer.header(name));
        assert_eq!(names(&own), ["alice", "id=1", "1"], "{control}");
        assert_eq!(
            names(&follower),
            ["", "", "1"],
            "{control}: {}",
            follower.cache_status()
        );
        assert_eq!(names(&hit), ["", "", "1"], "{control}");
        assert!(hit.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn section_5_2_2_3_must_understand() {
    for (status, control, is_hit) in [
        (200, "max-age=60, must-understand, no-store", true),
        (200, "max-age=60, no-store", false),
        (299, "max-age=60, must-understand", false),
        (299, "max-age=60", true),
    ] {
        let origin =
            Origin::at_once(move |_| answer(status, &[("cache-control", control)], "text"));
        let service = in_memory().layer(origin);
        send(&service, get("/a")).await;
        let again = send(&service, get("/a")).await;
        assert_eq!(
            again.is_hit(),
            is_hit,
            "{status} {control}: {}",
            again.cache_status()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rfc_8246_section_2_an_immutable_response_is_not_validated_while_it_is_fresh() {
    let (service, _) = stored(&in_memory(), &[("cache-control", "max-age=60, immutable")]).await;
    assert!(send(&service, asks("max-age=0")).await.is_hit());
    assert!(!send(&service, asks("no-cache")).await.is_hit());
    advance(Duration::from_secs(61)).await;
    assert!(!send(&service, asks("max-age=0")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn rfc_9213_a_targeted_field_takes_the_place_of_cache_control() {
    let lines: &[Line] = &[
        ("cdn-cache-control", "max-age=60"),
        ("cache-control", "no-store"),
        ("expires", "0"),
    ];
    let (service, _) = stored(&in_memory(), lines).await;
    let hit = send(&service, get("/a")).await;
    assert_eq!(hit.cache_status(), "hit; ttl=60");
    assert_eq!(
        hit.header("cache-control"),
        "no-store",
        "it is for those behind"
    );
    assert_eq!(hit.header("cdn-cache-control"), "max-age=60");
    let (service, _) = stored(&in_memory().targeted_cache_control([]), lines).await;
    assert!(!send(&service, get("/a")).await.is_hit());
    let own = in_memory().targeted_cache_control(["Our-Cache-Control", "CDN-Cache-Control"]);
    let both: &[Line] = &[
        ("cdn-cache-control", "max-age=60"),
        ("our-cache-control", "max-age=30"),
    ];
    let (service, _) = stored(&own, both).await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=30"
    );
    let (service, _) = stored(
        &in_memory(),
        &[
            ("cdn-cache-control", "max-age=60, ("),
            ("cache-control", "max-age=20"),
        ],
    )
    .await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=20"
    );
}
