//! The parts that are stored, for which requests, and their lifetime.

use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use tokio::time::advance;
use tower::Layer;

use super::{
    DIGITS, LETTERS, Library, Line, MINUTE, Scripted, TAG, TEXT, asks, assert_part, part, ranges,
};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, data, scripted};
use crate::support::time::settled;
use crate::support::{get, put, send, with};

#[tokio::test(start_paused = true)]
async fn a_part_answers_ranges_within_it() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        assert_part(
            &send(&service, asks("bytes=2-7")).await,
            "2-7",
            "234567",
            "fwd=uri-miss; stored",
        );
        settled().await;
        advance(Duration::from_secs(5)).await;
        for (range, content_range, body) in [
            ("bytes=2-7", "2-7", "234567"),
            ("bytes=3-4", "3-4", "34"),
            ("bytes=7-7", "7-7", "7"),
        ] {
            let answer = send(&service, asks(range)).await;
            assert_part(&answer, content_range, body, "hit; ttl=55");
            assert_eq!(answer.header("age"), "5");
            assert_eq!(answer.header("etag"), TAG.1);
            assert_eq!(answer.header("content-type"), TEXT.1);
        }
        let none = send(&service, asks("bytes=10-")).await;
        assert_eq!(
            (none.status.as_u16(), none.header("content-range")),
            (416, "bytes */10".into())
        );
        let several = send(&service, asks("bytes=2-3,6-7")).await;
        assert!(several.is_hit() && several.header("content-type").starts_with("multipart/"));
        for (range, status) in [("bytes=2-3", 206), ("bytes=0-3", 504)] {
            let only = with(asks(range), "cache-control", "only-if-cached");
            assert_eq!(send(&service, only).await.status, status, "{range}");
        }
        let same = send(&service, with(asks("bytes=2-3"), "if-none-match", TAG.1)).await;
        assert_eq!(same.status, 304);
        assert_eq!(library.asked(), ["bytes=2-7"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_write_takes_the_parts_along() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&service, put("/a")).await;
        library.asked();
        let part = send(&service, asks("bytes=0-4")).await;
        assert_part(&part, "0-4", "abcde", "fwd=uri-miss; stored");
        assert_eq!(library.asked(), ["bytes=0-4"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_part_that_a_write_overtook_is_not_stored() {
    on_both_backends(async |layer| {
        let (sender, body) = scripted();
        let body = Mutex::new(Some(body));
        let origin = Origin::at_once(move |request| match request.method() {
            &Method::PUT => answer(204, &[], ""),
            _ => {
                let mut response = part(DIGITS, 0..5, &[TAG, MINUTE]);
                if let Some(body) = body.lock().expect("not poisoned").take() {
                    *response.body_mut() = body;
                    response.headers_mut().remove("content-length");
                }
                response
            }
        });
        let service = layer.layer(origin.clone());
        let slow = send(&service, asks("bytes=0-4"));
        let write = async {
            settled().await;
            send(&service, put("/a")).await;
            sender.send(data("01234")).expect("it reads");
            drop(sender);
        };
        let (slow, ()) = tokio::join!(slow, write);
        assert_eq!(slow.body, "01234");
        settled().await;
        let again = send(&service, asks("bytes=0-4")).await;
        assert_eq!(again.cache_status(), "fwd=uri-miss; stored");
    })
    .await;
}

/// None of these is stored, and without a strong validator nothing is combined with stored parts.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_single_part_is_not_stored() {
    const MULTIPART: Line = ("content-type", "multipart/byteranges; boundary=x");
    let answers: [(&str, Scripted); 8] = [
        ("several parts", || {
            answer(206, &[TAG, MINUTE, MULTIPART], "--x--")
        }),
        ("unknown length", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-4/*")],
                "01234",
            )
        }),
        ("nonsense", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 4-0/10")],
                "01234",
            )
        }),
        ("too short", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-9/10")],
                "01234",
            )
        }),
        ("too long", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-1/10")],
                "01234",
            )
        }),
        ("no-store", || {
            part(DIGITS, 0..5, &[TAG, ("cache-control", "no-store")])
        }),
        ("no lifetime", || part(DIGITS, 0..5, &[TAG])),
        ("a cookie", || {
            part(DIGITS, 0..5, &[TAG, MINUTE, ("set-cookie", "a=b")])
        }),
    ];
    for (case, first) in answers {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |_| first());
            let service = layer.layer(origin.clone());
            for _ in 0..2 {
                let answer = send(&service, asks("bytes=0-4")).await;
                assert!(!answer.is_hit(), "{case}");
                settled().await;
            }
            let whole = send(&service, get("/a")).await;
            assert!(!whole.is_hit(), "{case}");
            assert_eq!(origin.calls(), 3, "{case}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unrequested_part_is_not_stored() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| part(DIGITS, 0..5, &[TAG, MINUTE]));
        let service = layer.layer(origin.clone());
        for _ in 0..2 {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=status");
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn parts_belong_to_their_variant() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let lines = [TAG, MINUTE, ("vary", "accept-language")];
            match request
                .headers()
                .get("accept-language")
                .map(http::HeaderValue::as_bytes)
            {
                Some(b"de") => part(LETTERS, 0..5, &lines),
                _ => part(DIGITS, 0..5, &lines),
            }
        });
        let service = layer.layer(origin.clone());
        let german = || with(asks("bytes=0-4"), "accept-language", "de");
        for (request, body, is_hit) in [
            (asks("bytes=0-4"), "01234", false),
            (german(), "abcde", false),
            (asks("bytes=0-4"), "01234", true),
            (german(), "abcde", true),
        ] {
            let answer = send(&service, request).await;
            assert_eq!((&*answer.body, answer.is_hit()), (body, is_hit));
            settled().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_option_stores_no_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.store_parts(false).layer(library.origin.clone());
        for _ in 0..2 {
            let answer = send(&service, asks("bytes=0-4")).await;
            assert_part(&answer, "0-4", "01234", "fwd=uri-miss; detail=status");
            settled().await;
        }
        assert_eq!(library.asked(), ["bytes=0-4", "bytes=0-4"]);
    })
    .await;
}

/// A shared stored part does not permit sharing another part that one client fetched.
#[tokio::test(start_paused = true)]
async fn each_part_has_its_own_permission_to_be_stored() {
    const PUBLIC: Line = ("cache-control", "public, max-age=60");
    const CDN: Line = ("cdn-cache-control", "max-age=60");
    let cases: [(&str, Line, Line, &[Line]); 5] = [
        (
            "authorization",
            ("authorization", "Basic YQ=="),
            PUBLIC,
            &[TAG],
        ),
        ("cookie", ("cookie", "a=b"), MINUTE, &[TAG]),
        (
            "private",
            ("accept", "*/*"),
            CDN,
            &[TAG, ("cache-control", "private")],
        ),
        (
            "no-store",
            ("accept", "*/*"),
            CDN,
            &[TAG, ("cache-control", "no-store")],
        ),
        (
            "a cookie",
            ("accept", "*/*"),
            MINUTE,
            &[TAG, MINUTE, ("set-cookie", "a=b")],
        ),
    ];
    for (case, asked, first, own) in cases {
        for wants in [Some("bytes=3-7"), Some("bytes=7-9"), None] {
            on_both_backends(async |layer| {
                let service = layer.layer(ranges(move |request| {
                    let is_first = request.headers()["range"] == "bytes=0-4";
                    match is_first {
                        true => vec![TAG, first],
                        false => [own, &[("x-user", "alice")]].concat(),
                    }
                }));
                send(&service, asks("bytes=0-4")).await;
                settled().await;
                let request = wants.map_or_else(|| get("/a"), asks);
                let own = send(&service, with(request, asked.0, asked.1)).await;
                assert_eq!(own.header("x-user"), "alice", "{case} {wants:?}");
                settled().await;
                let others = send(&service, wants.map_or_else(|| get("/a"), asks)).await;
                assert!(
                    !others.is_hit(),
                    "{case} {wants:?}: {}",
                    others.cache_status()
                );
                let held = send(&service, asks("bytes=0-4")).await;
                assert!(held.is_hit() && held.header("x-user").is_empty(), "{case}");
            })
            .await;
        }
    }
}

/// A tag of a part's bytes would be none of the whole's.
#[tokio::test(start_paused = true)]
async fn parts_get_no_tag_of_their_own() {
    on_both_backends(async |layer| {
        let service = layer.generate_etags(true).layer(ranges(|_| vec![MINUTE]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let part = send(&service, asks("bytes=1-3")).await;
        assert!(part.is_hit() && part.header("etag").is_empty());
        let other = send(&service, asks("bytes=3-7")).await;
        assert_eq!((&*other.body, other.status.as_u16()), ("34567", 206));
    })
    .await;
}

/// As the whole would be.
#[tokio::test(start_paused = true)]
async fn parts_have_the_lifetime_that_the_options_give() {
    on_both_backends(async |layer| {
        let layer = layer.ttl(Duration::from_secs(7));
        let service = layer.layer(ranges(|_| vec![TAG]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let hit = send(&service, asks("bytes=0-4")).await;
        assert_part(&hit, "0-4", "01234", "hit; ttl=7");
    })
    .await;
}
