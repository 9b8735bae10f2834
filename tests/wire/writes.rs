//! Invalidation (RFC 9111 §4.4), POST (RFC 9110 §9.3.3) and groups (RFC 9875).

use crate::dialogue::{Step, case, get, hold, minute, reply, send};

fn stored(target: &'static str) -> Step {
    get(target)
        .origin(minute("one"))
        .sees(200, "one")
        .told("fwd=uri-miss; stored")
}

fn gone(target: &'static str) -> Step {
    get(target)
        .origin(minute("two"))
        .sees(200, "two")
        .told("fwd=uri-miss; stored")
}

#[tokio::test]
async fn unsafe_methods() {
    let write = |method| {
        send(method, "/a")
            .body("new")
            .origin(reply(200, "ok"))
            .sees(200, "ok")
    };
    let each = ["PUT", "POST", "PATCH", "DELETE", "PURGE", "FROBNICATE"];
    hold(each.map(|method| {
        case(
            "§4.4 every unsafe or unknown method",
            [
                stored("/a"),
                stored("/a?b"),
                write(method).told("fwd=method; detail=invalidated"),
                gone("/a"),
                gone("/a?b"),
            ],
        )
    }))
    .await;
    hold([
        case(
            "§4.4 what Location and Content-Location name, of the same origin",
            [
                stored("/b"),
                stored("/c"),
                stored("/d"),
                send("POST", "/a")
                    .origin(
                        reply(201, "ok")
                            .with("location", "/b")
                            .with("content-location", "/c"),
                    )
                    .sees(201, "ok"),
                gone("/b"),
                gone("/c"),
                send("POST", "/a")
                    .origin(reply(201, "ok").with("location", "http://other.example/d"))
                    .sees(201, "ok"),
                get("/d").sees(200, "one"),
            ],
        ),
        case(
            "§4.4 not for an error that says nothing changed, nor for safe methods",
            [
                stored("/a"),
                send("PUT", "/a").origin(reply(409, "no")).sees(409, "no"),
                send("OPTIONS", "/a").origin(reply(204, "")).sees(204, ""),
                get("/a").sees(200, "one").told("hit; ttl=60"),
                send("PUT", "/a").origin(reply(500, "?")).sees(500, "?"),
                get("/a").origin(minute("two")).sees(200, "two"),
            ],
        ),
        case(
            "9110 §9.3.3 a POST that says so serves GET",
            [
                send("POST", "/a")
                    .body("x")
                    .origin(minute("made").with("content-location", "/a"))
                    .sees(200, "made")
                    .told("fwd=method; stored; detail=invalidated"),
                get("/a").sees(200, "made").told("hit; ttl=60"),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn groups() {
    let member = |target| {
        let answers = minute("one").with("cache-groups", "\"team\", \"b\"");
        get(target)
            .origin(answers)
            .sees(200, "one")
            .told("fwd=uri-miss; stored")
    };
    hold([
        case(
            "RFC 9875 §2, §3",
            [
                member("/a"),
                member("/b"),
                stored("/c"),
                send("POST", "/x")
                    .origin(reply(200, "ok").with("cache-group-invalidation", "\"team\""))
                    .sees(200, "ok"),
                gone("/a"),
                gone("/b"),
                get("/c").sees(200, "one"),
            ],
        ),
        case(
            "RFC 9875 §3 not by a safe request, not by what is no List of Strings",
            [
                member("/a"),
                get("/x")
                    .origin(minute("x").with("cache-group-invalidation", "\"team\""))
                    .sees(200, "x"),
                send("POST", "/x")
                    .origin(reply(200, "ok").with("cache-group-invalidation", "team"))
                    .sees(200, "ok"),
                get("/a").sees(200, "one").told("hit; ttl=60"),
            ],
        ),
    ])
    .await;
}
