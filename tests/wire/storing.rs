//! Responses that are stored, their keys, and the fields that are sent again (RFC 9111 §2, §3,
//! §4.1).

use tower_response_cache::key::QueryRules;

use crate::dialogue::{case, get, hold, minute, reply, send};

#[tokio::test]
async fn hits() {
    hold([
        case(
            "RFC 9111 §4, RFC 9211 §2",
            [
                get("/a")
                    .origin(minute("one"))
                    .sees(200, "one")
                    .lacking("age")
                    .told("fwd=uri-miss; stored"),
                get("/a")
                    .sees(200, "one")
                    .having("age", "0")
                    .having("content-length", "3")
                    .told("hit; ttl=60"),
                send("HEAD", "/a")
                    .having("content-length", "3")
                    .told("hit; ttl=60"),
            ],
        ),
        case(
            "§5.1 an upstream's Age counts",
            [
                get("/a")
                    .origin(minute("one").with("age", "20"))
                    .sees(200, "one")
                    .having("age", "20"),
                get("/a")
                    .sees(200, "one")
                    .having("age", "20")
                    .told("hit; ttl=40"),
            ],
        ),
        case(
            "RFC 9211 §2 an upstream's own is kept before ours",
            [
                get("/a")
                    .origin(minute("one").with("cache-status", "origin; hit"))
                    .sees(200, "one")
                    .told("origin; hit, fwd=uri-miss; stored"),
                get("/a").sees(200, "one").told("origin; hit, hit; ttl=60"),
            ],
        ),
        case(
            "9110 §15.3.5 empty ones",
            [
                get("/a").origin(minute("")).sees(200, ""),
                get("/a").sees(200, "").having("content-length", "0"),
                get("/b")
                    .origin(reply(204, "").with("cache-control", "max-age=60"))
                    .sees(204, ""),
                get("/b")
                    .sees(204, "")
                    .lacking("content-length")
                    .told("hit; ttl=60"),
            ],
        ),
        case(
            "§3.1 hop-by-hop fields are not stored",
            [
                get("/a")
                    .origin(
                        minute("one")
                            .with("x-kept", "1")
                            .with("proxy-authenticate", "Basic"),
                    )
                    .sees(200, "one"),
                get("/a")
                    .sees(200, "one")
                    .having("x-kept", "1")
                    .lacking("proxy-authenticate"),
            ],
        ),
        case(
            "9110 §6.5 trailers",
            [
                get("/a")
                    .with("te", "trailers")
                    .origin(minute("one").with("trailer", "x-sum").trailer("x-sum", "7"))
                    .sees(200, "one")
                    .trailing("x-sum", "7"),
                get("/a")
                    .with("te", "trailers")
                    .sees(200, "one")
                    .trailing("x-sum", "7")
                    .lacking("x-sum")
                    .told("hit; ttl=60"),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn fields_for_one_client_alone() {
    hold([
        case(
            "§3.5 Authorization",
            [
                get("/a")
                    .with("authorization", "a")
                    .origin(minute("one"))
                    .sees(200, "one"),
                get("/a").origin(minute("two")).sees(200, "two"),
                get("/b")
                    .with("authorization", "a")
                    .origin(reply(200, "one").with("cache-control", "public, max-age=60"))
                    .sees(200, "one")
                    .told("fwd=uri-miss; stored"),
                get("/b").sees(200, "one"),
            ],
        ),
        case(
            "Set-Cookie, Cookie",
            [
                get("/a")
                    .origin(minute("one").with("set-cookie", "a=b"))
                    .sees(200, "one"),
                get("/a").origin(minute("two")).sees(200, "two"),
                get("/b")
                    .with("cookie", "a=b")
                    .origin(reply(200, "one"))
                    .sees(200, "one"),
                get("/b").origin(minute("two")).sees(200, "two"),
            ],
        ),
        case(
            "§3 errors need explicit freshness",
            [
                get("/a").origin(reply(500, "no")).sees(500, "no"),
                get("/a").origin(reply(404, "no")).sees(404, "no"),
                get("/a")
                    .origin(reply(404, "no").with("cache-control", "max-age=60"))
                    .sees(404, "no")
                    .told("fwd=uri-miss; stored"),
                get("/a").sees(404, "no").told("hit; ttl=60"),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn variants() {
    let by_language = |body| minute(body).with("vary", "accept-language");
    let by_coding = |body| minute(body).with("vary", "Accept-Encoding");
    let in_german = || get("/a").with("accept-language", "de");
    hold([
        case(
            "§4.1 each request its own",
            [
                in_german()
                    .origin(by_language("eins"))
                    .sees(200, "eins")
                    .told("fwd=uri-miss; stored"),
                get("/a")
                    .origin(by_language("one"))
                    .sees(200, "one")
                    .told("fwd=vary-miss; stored"),
                get("/a")
                    .with("accept-language", "")
                    .origin(by_language(""))
                    .sees(200, ""),
                in_german().sees(200, "eins").told("hit; ttl=60"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
                get("/a")
                    .with("accept-language", "DE;q=1.0")
                    .sees(200, "eins"),
            ],
        ),
        case(
            "§4.1 of equal meaning",
            [
                get("/a")
                    .with("accept-encoding", "gzip, br;q=0.5")
                    .origin(
                        by_coding("zip")
                            .with("content-encoding", "gzip")
                            .with("etag", "\"z\""),
                    )
                    .sees(200, "zip"),
                get("/a")
                    .with("accept-encoding", "br;q=0.50 , GZIP")
                    .sees(200, "zip")
                    .having("content-encoding", "gzip")
                    .having("etag", "\"z\""),
                get("/a")
                    .with("accept-encoding", "gz ip;;q=a")
                    .origin(by_coding("raw"))
                    .sees(200, "raw"),
                get("/a")
                    .with("accept-encoding", "gz ip;;q=a")
                    .sees(200, "raw")
                    .told("hit; ttl=60"),
            ],
        ),
        case(
            "§4.1 a star",
            [
                get("/a")
                    .origin(minute("one").with("vary", "accept, *"))
                    .sees(200, "one")
                    .told("fwd=uri-miss; detail=vary"),
                get("/a").origin(minute("two")).sees(200, "two"),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn keys() {
    hold([
        case(
            "each query of its own",
            [
                get("/a").origin(minute("none")).sees(200, "none"),
                get("/a?").origin(minute("empty")).sees(200, "empty"),
                get("/a?x").origin(minute("x")).sees(200, "x"),
                get("/a?x=").origin(minute("x=")).sees(200, "x="),
                get("/a?x=1&x=2").origin(minute("12")).sees(200, "12"),
                get("/a?x=2&x=1").origin(minute("21")).sees(200, "21"),
                get("/A").origin(minute("A")).sees(200, "A"),
                get("/a").sees(200, "none"),
                get("/a?x=1&x=2").sees(200, "12").told("hit; ttl=60"),
            ],
        ),
        case(
            "what is ignored",
            [
                get("/a?x=1&utm_source=b")
                    .origin(minute("one"))
                    .sees(200, "one"),
                get("/a?x=1").sees(200, "one"),
                get("/a?utm_source=c&x=1").sees(200, "one"),
            ],
        )
        .layer(|layer| layer.query(QueryRules::all().ignoring(["utm_*"]))),
    ])
    .await;
}
