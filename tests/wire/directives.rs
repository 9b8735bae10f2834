//! `Cache-Control` of both sides (RFC 9111 §5.2, RFC 5861, RFC 8246, RFC 9213).

use std::time::Duration;

use crate::dialogue::{Step, case, get, hold, minute, reply, send, stale};

const A: &str = "\"a\"";

#[tokio::test]
async fn a_requests() {
    let old = || minute("one").with("age", "20");
    let first = || get("/a").origin(old()).sees(200, "one");
    let asks = |directive| get("/a").with("cache-control", directive);
    hold([
        case(
            "§5.2.1.1 max-age",
            [
                first(),
                asks("max-age=30").sees(200, "one").told("hit; ttl=40"),
                asks("max-age=10")
                    .origin(old())
                    .sees(200, "one")
                    .told("fwd=request; stored; detail=request-max-age"),
            ],
        ),
        case(
            "§5.2.1.2 max-stale",
            [
                get("/a")
                    .origin(stale("one").with("etag", A))
                    .sees(200, "one"),
                asks("max-stale")
                    .sees(200, "one")
                    .told("hit; ttl=0; detail=max-stale"),
                asks("max-stale=100").sees(200, "one"),
                get("/a")
                    .origin(reply(304, "").with("etag", A))
                    .sees(200, "one"),
            ],
        ),
        case(
            "§5.2.1.3 min-fresh",
            [
                first(),
                asks("min-fresh=30").sees(200, "one"),
                asks("min-fresh=50")
                    .origin(old())
                    .sees(200, "one")
                    .told("fwd=request; stored; detail=request-min-fresh"),
            ],
        ),
        case(
            "§5.2.1.4 no-cache, §5.4 Pragma",
            [
                get("/a")
                    .origin(minute("one").with("etag", A))
                    .sees(200, "one"),
                asks("no-cache")
                    .origin(
                        reply(304, "")
                            .with("etag", A)
                            .with("cache-control", "max-age=60"),
                    )
                    .asked("if-none-match", A)
                    .sees(200, "one"),
                get("/a")
                    .with("pragma", "no-cache")
                    .origin(minute("two"))
                    .sees(200, "two"),
                get("/a").sees(200, "two").told("hit; ttl=60"),
            ],
        ),
        case(
            "§5.2.1.5 no-store",
            [
                asks("no-store")
                    .origin(minute("one"))
                    .sees(200, "one")
                    .told("fwd=uri-miss; detail=request-no-store"),
                get("/a").origin(minute("two")).sees(200, "two"),
                asks("no-store").sees(200, "two").told("hit; ttl=60"),
            ],
        ),
        case(
            "§5.2.1.7 only-if-cached",
            [
                asks("only-if-cached")
                    .sees(504, "")
                    .told("detail=only-if-cached"),
                get("/a").origin(minute("one")).sees(200, "one"),
                asks("only-if-cached").sees(200, "one"),
            ],
        ),
        case(
            "they can be ignored",
            [
                get("/a").origin(minute("one")).sees(200, "one"),
                asks("no-cache").sees(200, "one"),
                asks("max-age=0").sees(200, "one"),
            ],
        )
        .layer(|layer| layer.ignore_client_freshness(true)),
    ])
    .await;
}

/// Twice the same: stored or not.
fn twice(directives: &'static str, is_stored: bool) -> [Step; 2] {
    let answers = reply(200, "one").with("cache-control", directives);
    let first = get("/a").origin(answers.clone()).sees(200, "one");
    let second = get("/a").sees(200, "one");
    match is_stored {
        true => [first.told("fwd=uri-miss; stored"), second],
        false => [first, second.origin(answers)],
    }
}

#[tokio::test]
async fn a_responses() {
    hold([
        case("§5.2.2.1 max-age", twice("max-age=60", true)),
        case("§5.2.2.5 no-store", twice("no-store, max-age=60", false)),
        case("§5.2.2.7 private", twice("private, max-age=60", false)),
        case("§5.2.2.10 s-maxage", twice("max-age=0, s-maxage=60", true)),
        case(
            "§5.2.2.10 s-maxage of nothing",
            twice("max-age=60, s-maxage=0", false),
        ),
        case(
            "§5.2.2.3 must-understand",
            twice("must-understand, no-store, max-age=60", true),
        ),
        case(
            "§4.2.1 the shortest of several",
            twice("max-age=60, max-age=0", false),
        ),
        case("§5.2.2 letter case", twice("Max-Age=60, NO-STORE", false)),
    ])
    .await;
    hold([
        case(
            "§5.2.2.7 private names fields",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with("cache-control", "max-age=60, private=\"x-own\"")
                            .with("x-own", "mine"),
                    )
                    .sees(200, "one")
                    .having("x-own", "mine")
                    .told("fwd=uri-miss; stored"),
                get("/a").sees(200, "one").lacking("x-own"),
            ],
        ),
        case(
            "RFC 8246 immutable",
            [
                get("/a")
                    .origin(reply(200, "one").with("cache-control", "max-age=60, immutable"))
                    .sees(200, "one"),
                get("/a")
                    .with("cache-control", "max-age=0")
                    .sees(200, "one")
                    .told("hit; ttl=60"),
            ],
        ),
        case(
            "RFC 9213 CDN-Cache-Control",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with("cache-control", "no-store")
                            .with("cdn-cache-control", "max-age=60"),
                    )
                    .sees(200, "one"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
                get("/b")
                    .origin(minute("one").with("cdn-cache-control", "max-age=60, =;"))
                    .sees(200, "one"),
                get("/b")
                    .sees(200, "one")
                    .having("cache-control", "max-age=60"),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn stale_responses() {
    hold([
        case(
            "RFC 5861 §3 stale-while-revalidate",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with("cache-control", "max-age=60, stale-while-revalidate=60")
                            .with("age", "70"),
                    )
                    .sees(200, "one"),
                get("/a")
                    .origin(minute("two"))
                    .sees(200, "one")
                    .told("hit; ttl=-10; detail=stale-while-revalidate"),
                get("/a").sees(200, "two").told("hit; ttl=60"),
            ],
        ),
        case(
            "RFC 5861 §4 stale-if-error",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with("cache-control", "max-age=60, stale-if-error=60")
                            .with("age", "70"),
                    )
                    .sees(200, "one"),
                get("/a")
                    .origin(reply(503, "down"))
                    .sees(200, "one")
                    .lacking("warning")
                    .told("fwd=stale; fwd-status=503; ttl=-10; detail=stale-if-error"),
            ],
        ),
        case(
            "§5.2.2.2 must-revalidate forbids it",
            [
                get("/a")
                    .origin(
                        reply(200, "one")
                            .with(
                                "cache-control",
                                "max-age=60, must-revalidate, stale-if-error=60",
                            )
                            .with("age", "70")
                            .with("etag", A),
                    )
                    .sees(200, "one"),
                get("/a")
                    .with("cache-control", "max-stale")
                    .origin(reply(503, "down"))
                    .sees(503, "down"),
            ],
        ),
        case(
            "an option, for all",
            [
                get("/a")
                    .origin(minute("one").with("age", "70").with("etag", A))
                    .sees(200, "one"),
                get("/a").origin(reply(500, "down")).sees(200, "one"),
                send("HEAD", "/a").sees(200, ""),
            ],
        )
        .layer(|layer| layer.stale_if_error(Duration::from_secs(60))),
    ])
    .await;
}
