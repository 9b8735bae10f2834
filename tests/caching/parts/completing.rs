//! A request for more than is stored asks the origin for the missing part alone.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::sleep;
use tower::Layer;

use super::{
    DIGITS, LETTERS, Library, MINUTE, OTHER_TAG, Scripted, TAG, TEXT, asks, assert_part, part,
    span, whole,
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
            other.cache_status().contains("collapsed") || other.is_hit(),
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

/// Each answer to a request for bytes 3 to 9 of which 0 to 4 are held, of the tag `"a"`. If it is
/// about the cache's own range and not the missing part, the client's range is requested instead.
#[tokio::test(start_paused = true)]
async fn an_answer_other_than_the_missing_part_is_not_taken_for_it() {
    const WANTED: (u16, &str) = (206, "3456789");
    let answers: [(&str, Scripted, (u16, &str), usize); 10] = [
        (
            "the part",
            || part(DIGITS, 5..10, &[TAG, MINUTE]),
            WANTED,
            1,
        ),
        ("another", || part(DIGITS, 4..10, &[TAG, MINUTE]), WANTED, 2),
        ("shorter", || part(DIGITS, 5..9, &[TAG, MINUTE]), WANTED, 2),
        (
            "of another",
            || part(DIGITS, 5..10, &[OTHER_TAG, MINUTE]),
            WANTED,
            2,
        ),
        (
            "weak",
            || part(DIGITS, 5..10, &[("etag", "W/\"a\""), MINUTE]),
            WANTED,
            2,
        ),
        ("without tag", || part(DIGITS, 5..10, &[MINUTE]), WANTED, 2),
        (
            "no such part",
            || answer(416, &[("content-range", "bytes */5")], ""),
            WANTED,
            2,
        ),
        ("not modified", || answer(304, &[TAG], ""), WANTED, 2),
        ("a failed condition", || answer(412, &[], ""), WANTED, 2),
        ("an error", || answer(503, &[], "down"), (503, "down"), 1),
    ];
    for (case, second, expected, calls) in answers {
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
            let got = (answer.status.as_u16(), &*answer.body);
            assert_eq!(got, expected, "{case}");
            assert_eq!(origin.calls(), 1 + calls, "{case}");
            let repetitions = layer.handle().stats().repetitions;
            assert_eq!(repetitions as usize, calls - 1, "{case}");
        })
        .await;
    }
}

/// tower-http's `ServeDir` and Apache Traffic Server ignore `If-Range` (ATS #6691): of a file that
/// was replaced they send the missing range of the new one. The client gets its own range.
#[tokio::test(start_paused = true)]
async fn an_origin_that_ignores_if_range_costs_no_client_its_range() {
    on_both_backends(async |layer| {
        let version = Arc::new(AtomicUsize::new(0));
        let current = version.clone();
        let origin = Origin::at_once(move |request| {
            let (text, tag) = [(DIGITS, TAG), (LETTERS, OTHER_TAG)][current.load(SeqCst)];
            let range = request.headers().get("range");
            match range.and_then(|range| span(range.to_str().expect("text"), text)) {
                Some(range) => part(text, range, &[tag, MINUTE]),
                None => answer(200, &[tag, MINUTE], text),
            }
        });
        let service = layer.layer(origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        version.store(1, SeqCst);
        let replaced = send(&service, asks("bytes=3-9")).await;
        let status = "fwd=partial; stored; detail=part-is-another";
        assert_part(&replaced, "3-9", "defghij", status);
        settled().await;
        let hit = send(&service, asks("bytes=4-8")).await;
        assert_eq!((hit.is_hit(), &*hit.body), (true, "efghi"));
        // The whole is completed by the missing part of the new version, or fetched.
        let whole = send(&service, get("/a")).await;
        assert_eq!((whole.status.as_u16(), &*whole.body), (200, LETTERS));
    })
    .await;
}

/// The client's own `If-Range` is sent again, and a 416 to its own range is its response.
#[tokio::test(start_paused = true)]
async fn the_repeated_request_has_the_clients_own_range_and_condition() {
    on_both_backends(async |layer| {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let log = seen.clone();
        let origin = Origin::at_once(move |request| {
            let field = |name: &str| {
                let value = request.headers().get(name);
                value
                    .map_or("-", |value| value.to_str().expect("text"))
                    .to_owned()
            };
            log.lock()
                .expect("a log")
                .push(format!("{} {}", field("range"), field("if-range")));
            match &*field("range") {
                "bytes=0-4" => part(DIGITS, 0..5, &[TAG, MINUTE]),
                _ => answer(416, &[("content-range", "bytes */2")], "gone"),
            }
        });
        let service = layer.layer(origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let asked = with(asks("bytes=3-9"), "if-range", TAG.1);
        let got = send(&service, asked).await;
        assert_eq!((got.status.as_u16(), &*got.body), (416, "gone"));
        let seen = seen.lock().expect("a log").clone();
        assert_eq!(seen[1..], ["bytes=5-9 \"a\"", "bytes=3-9 \"a\""]);
    })
    .await;
}

/// Clients that wait for the missing part share the whole that is requested in its place.
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
        for answer in [one, two, three] {
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, DIGITS));
        }
        assert_eq!(origin.calls(), 3, "the part, the missing part, the whole");
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
