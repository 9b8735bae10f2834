//! Validators, conditions and validation (RFC 9110 §13, RFC 9111 §4.3).

use crate::dialogue::{case, get, hold, minute, reply, send, stale};

const A: &str = "\"a\"";
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[tokio::test]
async fn a_clients_conditions() {
    let tagged = || minute("one").with("etag", A).with("last-modified", OLD);
    hold([
        case(
            "9110 §13.1.2 If-None-Match",
            [
                get("/a").origin(tagged()).sees(200, "one"),
                get("/a")
                    .with("if-none-match", A)
                    .sees(304, "")
                    .having("etag", A)
                    .having("cache-control", "max-age=60")
                    .having("age", "0")
                    .lacking("content-length")
                    .lacking("last-modified")
                    .told("hit; ttl=60"),
                get("/a").with("if-none-match", "W/\"a\"").sees(304, ""),
                get("/a")
                    .with("if-none-match", "\"x\", \"a\"")
                    .sees(304, ""),
                get("/a").with("if-none-match", "*").sees(304, ""),
                get("/a").with("if-none-match", "\"x\"").sees(200, "one"),
                send("HEAD", "/a").with("if-none-match", A).sees(304, ""),
                get("/a").sees(200, "one").having("content-length", "3"),
            ],
        ),
        case(
            "9110 §13.1.3 If-Modified-Since in all forms of dates; §13.2.2 after If-None-Match",
            [
                get("/a").origin(tagged()).sees(200, "one"),
                get("/a").with("if-modified-since", OLD).sees(304, ""),
                get("/a")
                    .with("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")
                    .sees(304, ""),
                get("/a")
                    .with("if-modified-since", "Sun Nov  6 08:49:37 1994")
                    .sees(304, ""),
                get("/a")
                    .with("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")
                    .sees(200, "one"),
                get("/a")
                    .with("if-modified-since", "yesterday")
                    .sees(200, "one"),
                get("/a")
                    .with("if-modified-since", OLD)
                    .with("if-none-match", "\"x\"")
                    .sees(200, "one"),
            ],
        ),
        case(
            "§4.3.2 a client's validators bring no 304 into the store",
            [
                get("/a")
                    .with("if-none-match", A)
                    .origin(tagged())
                    .not_asked("if-none-match")
                    .sees(304, "")
                    .told("fwd=uri-miss; fwd-status=200; stored"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
            ],
        ),
        case(
            "9110 §13.1.1 If-Match is the origin's, §13.1.4 so is If-Unmodified-Since",
            [
                get("/a").origin(tagged()).sees(200, "one"),
                get("/a")
                    .with("if-unmodified-since", "Sun, 06 Nov 1994 08:00:00 GMT")
                    .sees(200, "one"),
                get("/a").with("if-match", "\"x\"").sees(200, "one"),
                get("/b")
                    .with("if-match", "\"x\"")
                    .origin(reply(412, ""))
                    .asked("if-match", "\"x\"")
                    .sees(412, ""),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn validation() {
    hold([
        case(
            "§4.3.4 a 304 freshens",
            [
                get("/a")
                    .origin(
                        stale("one")
                            .with("etag", A)
                            .with("x-kept", "1")
                            .with("x-new", "1"),
                    )
                    .sees(200, "one")
                    .told("fwd=uri-miss; stored"),
                get("/a")
                    .origin(
                        reply(304, "")
                            .with("etag", A)
                            .with("cache-control", "max-age=90")
                            .with("x-new", "2")
                            .with("content-length", "77"),
                    )
                    .asked("if-none-match", A)
                    .sees(200, "one")
                    .having("x-kept", "1")
                    .having("x-new", "2")
                    .having("content-length", "3")
                    .told("fwd=stale; fwd-status=304; stored"),
                get("/a")
                    .sees(200, "one")
                    .having("x-new", "2")
                    .told("hit; ttl=90"),
            ],
        ),
        case(
            "§4.3.1 Last-Modified is a validator, too",
            [
                get("/a")
                    .origin(stale("one").with("last-modified", OLD))
                    .sees(200, "one"),
                get("/a")
                    .origin(reply(304, "").with("cache-control", "max-age=60"))
                    .asked("if-modified-since", OLD)
                    .sees(200, "one"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
            ],
        ),
        case(
            "§4.3.3 a full response replaces what is stored",
            [
                get("/a")
                    .origin(stale("one").with("etag", A))
                    .sees(200, "one"),
                get("/a")
                    .origin(minute("two").with("etag", "\"b\""))
                    .asked("if-none-match", A)
                    .sees(200, "two"),
                get("/a").sees(200, "two"),
            ],
        ),
        case(
            "§4.3.4 a 304 about something else is not believed",
            [
                get("/a")
                    .origin(stale("one").with("etag", A))
                    .sees(200, "one"),
                get("/a")
                    .origin(reply(304, "").with("etag", "\"b\""))
                    .origin(minute("two").with("etag", "\"b\""))
                    .asked("if-none-match", A)
                    .sees(200, "two")
                    .told("fwd=stale; stored; detail=not-modified-is-another"),
                get("/a").sees(200, "two").told("hit; ttl=60"),
            ],
        ),
        case(
            "§5.2.2.4 no-cache is validated each time",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with("cache-control", "no-cache")
                            .with("etag", A),
                    )
                    .sees(200, "one"),
                get("/a")
                    .origin(reply(304, "").with("etag", A))
                    .asked("if-none-match", A)
                    .sees(200, "one"),
                get("/a")
                    .with("if-none-match", A)
                    .origin(reply(304, "").with("etag", A))
                    .sees(304, ""),
            ],
        ),
        case(
            "§4.3.5 HEAD",
            [
                get("/a")
                    .origin(stale("one").with("etag", A))
                    .sees(200, "one"),
                send("HEAD", "/a")
                    .origin(minute("").with("etag", A).with("content-length", "3"))
                    .having("content-length", "3"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
                send("HEAD", "/a")
                    .having("content-length", "3")
                    .told("hit; ttl=60"),
            ],
        ),
    ])
    .await;
}
