//! Fields that belong to the content of one message.

use tokio::time::advance;
use tower::Layer;

use super::{Lines, saying};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, settled};
use crate::support::{get, in_memory, send, with};

const DIGITS: &str = "0123456789";

/// Fields of a 200.
const FIELDS: Lines = &[
    ("cache-control", "max-age=60"),
    ("cdn-cache-control", "max-age=60"),
    ("etag", "\"a\""),
    ("content-type", "text/plain"),
    ("content-encoding", "gzip"),
    ("content-language", "de"),
    ("content-location", "/a.txt"),
    ("content-digest", "sha-256=:d2hvbGU=:"),
    ("content-md5", "d2hvbGU="),
    ("repr-digest", "sha-256=:d2hvbGU=:"),
    ("digest", "sha-256=d2hvbGU="),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("expires", "Sun, 06 Nov 2044 08:49:37 GMT"),
    ("vary", "accept-encoding"),
    ("access-control-allow-origin", "*"),
];

fn digits() -> Origin {
    Origin::at_once(|_| answer(200, FIELDS, DIGITS))
}

/// RFC 9530 §2, §3: a digest of the content is not one of a part, a digest of the representation
/// is.
#[tokio::test(start_paused = true)]
async fn a_part_has_no_digest_of_the_whole_content() {
    on_both_backends(async |layer| {
        let service = layer.layer(digits());
        send(&service, get("/a")).await;
        settled().await;
        for range in ["bytes=2-5", "bytes=0-9", "bytes=0-1,4-5"] {
            let part = send(&service, with(get("/a"), "range", range)).await;
            assert_eq!(
                (part.status.as_u16(), part.is_hit()),
                (206, true),
                "{range}"
            );
            for name in ["content-digest", "content-md5"] {
                assert_eq!(part.header(name), "", "{range} {name}");
            }
            for name in ["repr-digest", "digest", "etag", "content-encoding", "vary"] {
                assert_ne!(part.header(name), "", "{range} {name}");
            }
        }
        let whole = send(&service, get("/a")).await;
        assert_eq!(whole.header("content-digest"), "sha-256=:d2hvbGU=:");
        let tagged = with(get("/a"), "if-none-match", "\"a\"");
        let none = send(&service, tagged).await;
        assert_eq!(none.status, 304);
        assert_eq!(
            none.header("content-digest") + &none.header("content-md5"),
            ""
        );
    })
    .await;
}

/// RFC 9110 §15.5.17: a 416 is no representation, and not the stored one's cache may keep it.
#[tokio::test(start_paused = true)]
async fn a_416_has_no_field_of_the_representation() {
    on_both_backends(async |layer| {
        let service = layer.layer(digits());
        send(&service, get("/a")).await;
        settled().await;
        let none = send(&service, with(get("/a"), "range", "bytes=10-")).await;
        assert_eq!((none.status.as_u16(), none.is_hit()), (416, true));
        assert_eq!(none.header("content-range"), "bytes */10");
        assert_eq!(none.header("content-length"), "0");
        for (name, _) in FIELDS {
            let expected = match *name {
                "vary" => "accept-encoding",
                "access-control-allow-origin" => "*",
                _ => "",
            };
            assert_eq!(none.header(name), expected, "{name}");
        }
        assert_eq!(send(&service, get("/a")).await.body, DIGITS);
    })
    .await;
}

/// The digest of a part that the origin sent is none of the whole that parts are put together to.
#[tokio::test(start_paused = true)]
async fn a_whole_made_of_parts_has_no_digest_of_one() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let range = request.headers().get("range").map(|value| value.as_bytes());
            let (part, range) = match range {
                Some(b"bytes=0-4") => ("01234", "bytes 0-4/10"),
                _ => ("56789", "bytes 5-9/10"),
            };
            let lines = [
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("content-range", range),
                ("content-digest", "sha-256=:cGFydA==:"),
                ("repr-digest", "sha-256=:d2hvbGU=:"),
            ];
            answer(206, &lines, part)
        });
        let service = layer.layer(origin.clone());
        for range in ["bytes=0-4", "bytes=5-9"] {
            let part = send(&service, with(get("/a"), "range", range)).await;
            assert_eq!(part.header("content-digest"), "sha-256=:cGFydA==:");
            settled().await;
        }
        let whole = send(&service, get("/a")).await;
        assert_eq!((&*whole.body, origin.calls()), (DIGITS, 2));
        assert_eq!(whole.header("content-digest"), "");
        assert_eq!(whole.header("repr-digest"), "sha-256=:d2hvbGU=:");
    })
    .await;
}

/// RFC 9111 §3.2: a 304 describes content that it does not carry.
#[tokio::test(start_paused = true)]
async fn digests_of_a_304_never_replace_those_of_the_stored_content() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let is_conditional = request.headers().contains_key("if-none-match");
            let lines = [
                ("cache-control", "max-age=60"),
                ("etag", "W/\"a\""),
                (
                    "content-digest",
                    if is_conditional {
                        "sha-256=:bmV3:"
                    } else {
                        "sha-256=:b2xk:"
                    },
                ),
                ("content-md5", if is_conditional { "bmV3" } else { "b2xk" }),
                (
                    "repr-digest",
                    if is_conditional {
                        "sha-256=:bmV3:"
                    } else {
                        "sha-256=:b2xk:"
                    },
                ),
                ("x-new", if is_conditional { "1" } else { "0" }),
            ];
            match is_conditional {
                true => answer(304, &lines, ""),
                false => answer(200, &lines, "text"),
            }
        });
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        for _ in 0..2 {
            let got = send(&service, get("/a")).await;
            settled().await;
            assert_eq!(got.header("x-new"), "1", "it is updated");
            assert_eq!(got.header("content-digest"), "sha-256=:b2xk:");
            assert_eq!(got.header("content-md5"), "b2xk");
            assert_eq!(got.header("repr-digest"), "sha-256=:b2xk:");
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

/// A 200 that is replayed whole keeps all of its fields.
#[tokio::test(start_paused = true)]
async fn a_whole_response_keeps_its_fields() {
    let service = in_memory().layer(saying(200, FIELDS));
    send(&service, get("/a")).await;
    let got = send(&service, get("/a")).await;
    assert!(got.is_hit());
    for (name, value) in FIELDS {
        assert_eq!(got.header(name), *value, "{name}");
    }
}
