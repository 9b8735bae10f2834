//! A request for more than is stored asks the origin for the missing part alone.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::sleep;
use tower::Layer;

use super::{
    DIGITS, Library, MINUTE, OTHER_TAG, Scripted, TAG, TEXT, asks, assert_part, part, whole,
};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, scripted};
use crate::support::time::settled;
use crate::support::{get, put, send, with};

#[tokio::test(start_paused = true)]
async fn parts_are_completed_and_put_together() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        for (range, content_range, body, status, asked) in [
            (
                "bytes=0-2",
                "0-2",
                "012",
                "fwd=uri-miss; stored",
                "bytes=0-2",
            ),
            (
                "bytes=6-7",
                "6-7",
                "67",
                "fwd=uri-miss; stored",
                "bytes=6-7",
            ),
            (
                "bytes=1-7",
                "1-7",
                "1234567",
                "fwd=partial; stored",
                "bytes=3-5 \"a\"",
            ),
            (
                "bytes=4-",
                "4-9",
                "456789",
                "fwd=partial; stored",
                "bytes=8-9 \"a\"",
            ),
        ] {
            let answer = send(&service, asks(range)).await;
            assert_part(&answer, content_range, body, status);
            assert_eq!(answer.header("content-type"), TEXT.1, "{range}");
            assert_eq!(library.asked(), [asked], "{range}");
            settled().await;
        }
        let whole = send(&service, get("/a")).await;
        assert_eq!(
            (whole.status.as_u16(), &*whole.body),
            (200, DIGITS),
            "all of it is there"
        );
        assert_eq!(whole.cache_status(), "hit; ttl=60");
        assert_eq!(whole.header("content-range"), "");
        assert!(library.asked().is_empty());
    })
    .await;
}

/// §3.4: "MAY be combined": the missing rest is one request, which all clients share.
#[tokio::test(start_paused = true)]
async fn the_whole_is_completed_by_the_missing_part() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-6")).await;
        settled().await;
        library.asked();
        let (one, other) = tokio::join!(send(&service, get("/a")), send(&service, get("/a")));
        assert_eq!((&*one.body, &*other.body), (DIGITS, DIGITS));
        assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
        assert_eq!(one.cache_status(), "fwd=partial; fwd-status=206; stored");
        assert!(
            other.cache_status().contains("collapsed"),
            "{}",
            other.cache_status()
        );
        assert_eq!(one.header("content-range"), "");
        assert_eq!(one.header("content-length"), "10");
        assert_eq!(library.asked(), ["bytes=7-9 \"a\""]);
        settled().await;
        let whole = send(&service, get("/a")).await;
        assert!(whole.is_hit() && whole.body == DIGITS);
    })
    .await;
}

/// Each answer to a request for bytes 3 to 9 of which 0 to 4 are held, of the tag `"a"`.
#[tokio::test(start_paused = true)]
async fn an_answer_other_than_the_missing_part_is_not_taken_for_it() {
    let answers: [(&str, Scripted, u16, &str); 8] = [
        (
            "the part",
            || part(DIGITS, 5..10, &[TAG, MINUTE]),
            206,
            "3456789",
        ),
        ("another", || part(DIGITS, 4..10, &[TAG, MINUTE]), 502, ""),
        ("shorter", || part(DIGITS, 5..9, &[TAG, MINUTE]), 502, ""),
        (
            "of another",
            || part(DIGITS, 5..10, &[OTHER_TAG, MINUTE]),
            502,
            "",
        ),
        (
            "weak",
            || part(DIGITS, 5..10, &[("etag", "W/\"a\""), MINUTE]),
            502,
            "",
        ),
        ("without tag", || part(DIGITS, 5..10, &[MINUTE]), 502, ""),
        (
            "no such part",
            || answer(416, &[("content-range", "bytes */5")], ""),
            502,
            "",
        ),
        ("an error", || answer(503, &[], "down"), 503, "down"),
    ];
    for (case, second, status, body) in answers {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                match request
                    .headers()
                    .get("range")
                    .map(http::HeaderValue::as_bytes)
                {
                    Some(b"bytes=0-4") => part(DIGITS, 0..5, &[TAG, MINUTE]),
                    Some(b"bytes=3-9") => part(DIGITS, 3..10, &[TAG, MINUTE]),
                    _ => second(),
                }
            });
            let service = layer.layer(origin.clone());
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let answer = send(&service, asks("bytes=3-9")).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (status, body),
                "{case}"
            );
            if status == 502 {
                let told = answer.cache_status();
                assert!(
                    told.starts_with("fwd=partial; fwd-status="),
                    "{case}: {told}"
                );
                assert!(told.ends_with("detail=part-is-another"), "{case}: {told}");
                let next = send(&service, asks("bytes=3-9")).await;
                assert_eq!(
                    &*next.body, "3456789",
                    "{case}: the next is asked for as it is"
                );
            }
        })
        .await;
    }
}

/// A client that waited for a contradictory answer requests the whole.
#[tokio::test(start_paused = true)]
async fn a_part_that_cannot_be_completed_costs_one_attempt() {
    on_both_backends(async |layer| {
        let origin = Origin::new(|request| async move {
            sleep(Duration::from_millis(50)).await;
            let range = request.headers().get("range");
            Ok(match range.map(http::HeaderValue::as_bytes) {
                Some(b"bytes=0-4") => part(DIGITS, 0..5, &[TAG, MINUTE]),
                Some(_) => part(DIGITS, 5..9, &[TAG, MINUTE]),
                None => answer(200, &[TAG, MINUTE], DIGITS),
            })
        });
        let service = layer.layer(origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let asks_all = || send(&service, get("/a"));
        let (one, two, three) = tokio::join!(asks_all(), asks_all(), asks_all());
        let failed = [one, two, three].map(|answer| answer.status == 502);
        assert_eq!(
            failed.iter().filter(|failed| **failed).count(),
            1,
            "{failed:?}"
        );
        assert_eq!(origin.calls(), 3);
    })
    .await;
}

/// A part that ends early is an error at its end, not a shorter one with the wrong bytes behind it.
#[tokio::test(start_paused = true)]
async fn a_missing_part_that_ends_early_fails() {
    for (frames, is_whole) in [
        (&["56", "789"][..], true),
        (&["56", "78"], false),
        (&["5", "67890"], false),
        (&["56789", "0"], false),
        (&["56", "789", "", "0"], false),
        (&[], false),
    ] {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                if request.headers()["range"] == "bytes=0-4" {
                    return part(DIGITS, 0..5, &[TAG, MINUTE]);
                }
                let mut response = part(DIGITS, 5..10, &[TAG, MINUTE]);
                let (sender, body) = scripted();
                for frame in frames {
                    sender
                        .send(Ok(Frame::data(Bytes::from_static(frame.as_bytes()))))
                        .expect("open");
                }
                *response.body_mut() = body;
                response.headers_mut().remove("content-length");
                response
            });
            let service = layer.layer(origin.clone());
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let answer = whole(&service, asks("bytes=3-9")).await;
            let expected = is_whole.then_some("3456789");
            let got = answer.as_ref().map(|answer| &*answer.body);
            assert_eq!(got, expected, "{frames:?}");
            settled().await;
            let next = whole(&service, asks("bytes=3-9")).await;
            assert_eq!(
                next.is_some_and(|next| next.is_hit()),
                is_whole,
                "{frames:?}"
            );
        })
        .await;
    }
}

/// Conditions on parts that do not hold are the origin's to answer.
#[tokio::test(start_paused = true)]
async fn if_range_is_compared_strongly_with_the_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let asks_if = |tag: &str| with(asks("bytes=0-3"), "if-range", tag);
        assert!(send(&service, asks_if("\"a\"")).await.is_hit());
        library.asked();
        let other = send(&service, asks_if("\"b\"")).await;
        assert_eq!((other.status.as_u16(), &*other.body), (200, DIGITS));
        assert_eq!(library.asked(), ["bytes=0-3 \"b\""]);
    })
    .await;
}

/// What has changed, and is too large to be stored, is fetched whole once, and not for every part
/// that is wanted of it.
#[tokio::test(start_paused = true)]
async fn a_part_is_not_completed_again_by_the_whole() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.max_body(6).layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        let sizes = [10, 5, 5, 5];
        for (request, size) in sizes.into_iter().enumerate() {
            let answer = send(&service, asks("bytes=3-7")).await;
            assert_eq!(answer.body.len(), size, "request {request}");
            settled().await;
        }
        let asked = library.asked();
        assert_eq!(asked[1..], ["bytes=5-7 \"a\"", "bytes=3-7"], "then hits");
    })
    .await;
}
