//! RFC 9110 §14: ranges of a stored response are answered from it; parts that an origin sends are
//! never taken for the whole.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, put, request, send, with};

type Line = (&'static str, &'static str);

const TAG: Line = ("etag", "\"a\"");

const MINUTE: Line = ("cache-control", "max-age=60");

const TEXT: Line = ("content-type", "text/plain");

const DIGITS: &str = "0123456789";

/// An origin that knows no ranges, but conditions.
fn digits() -> Origin {
    Origin::at_once(|request| match request.headers().get("if-none-match") {
        _ if request.method() == Method::PUT => answer(204, &[], ""),
        Some(tag) if tag == TAG.1 => answer(304, &[TAG], ""),
        _ => answer(200, &[TAG, MINUTE, TEXT], DIGITS),
    })
}

fn asks(range: &str) -> Request<()> {
    with(get("/a"), "range", range)
}

#[tokio::test(start_paused = true)]
async fn parts_are_answered_from_the_whole() {
    on_both_backends(async |layer| {
        let origin = digits();
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        for (range, status, content_range, body) in [
            ("bytes=2-5", 206, "bytes 2-5/10", "2345"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=5-", 206, "bytes 5-9/10", "56789"),
            ("bytes=0-99999999999999999999", 206, "bytes 0-9/10", DIGITS),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=5-2", 200, "", DIGITS),
            ("lines=1-2", 200, "", DIGITS),
            ("bytes=0-5,4-6", 200, "", DIGITS),
        ] {
            let part = send(&service, asks(range)).await;
            assert_eq!(part.status, status, "{range}");
            assert_eq!(part.header("content-range"), content_range, "{range}");
            assert_eq!(part.body, body, "{range}");
            assert_eq!(
                part.header("content-length"),
                body.len().to_string(),
                "{range}"
            );
            assert_eq!(part.cache_status(), "hit; ttl=60", "{range}");
            let tag = if status == 416 { "" } else { TAG.1 };
            assert_eq!(part.header("etag"), tag, "{range}");
            assert!(part.headers.contains_key("date") && part.headers.contains_key("age"));
        }
        assert_eq!(origin.calls(), 1);
        assert_eq!(
            send(&service, get("/a")).await.body,
            DIGITS,
            "it is still whole"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_parts_are_multipart() {
    let service = CacheLayer::new(MemoryBackend::default()).layer(digits());
    send(&service, get("/a")).await;
    let parts = send(&service, asks("bytes=0-1,4-5")).await;
    assert_eq!(parts.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(parts.header("content-range"), "");
    let media_type = parts.header("content-type");
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("multipart");
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let expected = format!(
        "{}{}\r\n--{boundary}--\r\n",
        part("0-1", "01"),
        part("4-5", "45")
    );
    assert_eq!(parts.body, expected);
    assert_eq!(parts.header("content-length"), expected.len().to_string());
    let single = send(&service, asks("bytes=0-1,99-")).await;
    assert_eq!(
        single.header("content-range"),
        "bytes 0-1/10",
        "one part is never multipart"
    );
}

/// RFC 9110 §13.1.5, §13.2.2
#[tokio::test(start_paused = true)]
async fn conditions_go_before_ranges() {
    let service = CacheLayer::new(MemoryBackend::default()).layer(digits());
    send(&service, get("/a")).await;
    for (name, value, status) in [
        ("if-range", "\"a\"", 206),
        ("if-range", "\"b\"", 200),
        ("if-range", "W/\"a\"", 200),
        ("if-none-match", "\"a\"", 304),
        ("if-none-match", "\"b\"", 206),
        ("if-match", "\"b\"", 206),
    ] {
        let answer = send(&service, with(asks("bytes=2-5"), name, value)).await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let head = with(request(Method::HEAD, "/a"), "range", "bytes=2-5");
    let head = send(&service, head).await;
    assert_eq!(
        (head.status.as_u16(), &*head.header("content-length")),
        (200, "10")
    );
}

/// A stale response is validated as a whole; the range is then cut from the confirmed response.
#[tokio::test(start_paused = true)]
async fn a_range_of_a_stale_response_is_validated_first() {
    on_both_backends(async |layer| {
        let origin = digits();
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(Duration::from_secs(61)).await;
        let part = send(&service, asks("bytes=2-5")).await;
        assert_eq!((part.status.as_u16(), &*part.body), (206, "2345"));
        assert_eq!(part.cache_status(), "fwd=stale; fwd-status=304; stored");
        settled().await;
        let whole = send(&service, get("/a")).await;
        assert_eq!((whole.is_hit(), &*whole.body), (true, DIGITS));
        send(&service, put("/a")).await;
        assert!(!send(&service, asks("bytes=2-5")).await.is_hit());
    })
    .await;
}

/// An origin's 206 is stored as a part (see `parts`), until the whole response is stored.
#[tokio::test(start_paused = true)]
async fn a_206_is_never_stored_as_the_whole() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| match request.headers().get("range") {
            Some(_) => answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 2-5/10")],
                "2345",
            ),
            None => answer(200, &[TAG, MINUTE], DIGITS),
        });
        let service = layer.layer(origin.clone());
        let part = send(&service, asks("bytes=2-5")).await;
        assert_eq!((part.status.as_u16(), &*part.body), (206, "2345"));
        assert_eq!(part.cache_status(), "fwd=uri-miss; stored");
        settled().await;
        let whole = send(&service, get("/a")).await;
        assert_eq!(
            (&*whole.body, &*whole.cache_status()),
            (DIGITS, "fwd=uri-miss; stored")
        );
        settled().await;
        let part = send(&service, asks("bytes=2-5")).await;
        assert_eq!((part.is_hit(), &*part.body), (true, "2345"));
    })
    .await;
}
