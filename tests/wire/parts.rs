//! Ranges (RFC 9110 §14) and parts (RFC 9111 §3.3, §3.4).

use crate::dialogue::{Reply, Step, case, get, hold, minute, reply, send};

const A: &str = "\"a\"";
const DIGITS: &str = "0123456789";

fn digits() -> Reply {
    minute(DIGITS).with("etag", A)
}

fn part(range: &'static str, body: &'static str) -> Reply {
    let part = reply(206, body).with("content-range", range);
    part.with("etag", A).with("cache-control", "max-age=60")
}

fn first_four() -> Step {
    get("/a")
        .with("range", "bytes=0-3")
        .origin(part("bytes 0-3/10", "0123"))
        .sees(206, "0123")
        .told("fwd=uri-miss; stored")
}

#[tokio::test]
async fn parts_of_the_whole() {
    let all = || get("/a").origin(digits()).sees(200, DIGITS);
    hold([
        case(
            "9110 §14.1.2, §15.3.7.1, §15.5.17",
            [
                all(),
                get("/a")
                    .with("range", "bytes=2-4")
                    .sees(206, "234")
                    .having("content-range", "bytes 2-4/10")
                    .having("content-length", "3")
                    .having("etag", A)
                    .told("hit; ttl=60"),
                get("/a").with("range", "bytes=-2").sees(206, "89"),
                get("/a").with("range", "bytes=8-").sees(206, "89"),
                get("/a")
                    .with("range", "bytes=0-99999999999999999999")
                    .sees(206, DIGITS),
                get("/a")
                    .with("range", "bytes=10-")
                    .sees(416, "")
                    .having("content-range", "bytes */10"),
                get("/a").with("range", "lines=1-2").sees(200, DIGITS),
                get("/a").with("range", "bytes=5-2").sees(200, DIGITS),
                send("HEAD", "/a")
                    .with("range", "bytes=2-4")
                    .sees(200, "")
                    .having("content-length", "10"),
            ],
        ),
        case(
            "9110 §13.1.5 If-Range is compared strongly",
            [
                all(),
                get("/a")
                    .with("range", "bytes=0-1")
                    .with("if-range", A)
                    .sees(206, "01"),
                get("/a")
                    .with("range", "bytes=0-1")
                    .with("if-range", "W/\"a\"")
                    .sees(200, DIGITS),
                get("/a")
                    .with("range", "bytes=0-1")
                    .with("if-range", "\"b\"")
                    .sees(200, DIGITS),
                get("/a")
                    .with("range", "bytes=0-1")
                    .with("if-none-match", A)
                    .sees(304, ""),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_origins_parts() {
    hold([
        case(
            "§3.3, §3.4 stored, combined, completed",
            [
                first_four(),
                get("/a")
                    .with("range", "bytes=1-2")
                    .sees(206, "12")
                    .having("content-range", "bytes 1-2/10")
                    .told("hit; ttl=60"),
                get("/a")
                    .with("range", "bytes=2-6")
                    .origin(part("bytes 4-6/10", "456"))
                    .asked("range", "bytes=4-6")
                    .asked("if-range", A)
                    .sees(206, "23456")
                    .having("content-range", "bytes 2-6/10")
                    .having("content-length", "5")
                    .told("fwd=partial; stored"),
                get("/a")
                    .origin(part("bytes 7-9/10", "789"))
                    .asked("range", "bytes=7-9")
                    .sees(200, DIGITS)
                    .lacking("content-range")
                    .having("content-length", "10")
                    .told("fwd=partial; fwd-status=206; stored"),
                get("/a").sees(200, DIGITS).told("hit; ttl=60"),
            ],
        ),
        case(
            "§3.4 what changed meanwhile is answered whole",
            [
                first_four(),
                get("/a")
                    .with("range", "bytes=2-6")
                    .origin(minute("abcdefghij").with("etag", "\"b\""))
                    .sees(200, "abcdefghij")
                    .told("fwd=partial; stored"),
                get("/a").with("range", "bytes=2-6").sees(206, "cdefg"),
            ],
        ),
        case(
            "a 206 that nobody asked for is stored for nobody",
            [
                get("/a")
                    .origin(part("bytes 0-3/10", "0123"))
                    .sees(206, "0123")
                    .told("fwd=uri-miss; detail=status"),
                get("/a").origin(digits()).sees(200, DIGITS),
            ],
        ),
    ])
    .await;
}
