//! Answers to writes that are stored.

use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::support::origin::{Origin, answer, data, scripted};
use crate::support::{get, in_memory, is_stored, put, request, send, with};

#[tokio::test(start_paused = true)]
async fn write_through_stores_an_answer_that_is_the_representation() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const NAMED: (&str, &str) = ("content-location", "/a");
    for (case, method, status, lines, asked, stored) in [
        ("PUT", "PUT", 200, &[FRESH, NAMED][..], &[][..], "/a"),
        ("PATCH", "PATCH", 200, &[FRESH, NAMED], &[], "/a"),
        (
            "POST makes another",
            "POST",
            201,
            &[FRESH, ("location", "/new"), ("content-location", "/new")],
            &[],
            "/new",
        ),
        (
            "a query",
            "POST",
            200,
            &[FRESH, ("content-location", "/a?q=1")],
            &[],
            "/a?q=1",
        ),
        (
            "absolute",
            "PUT",
            200,
            &[FRESH, ("content-location", "http://test.example/a")],
            &[],
            "/a",
        ),
        (
            "cookie, explicit",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("cookie", "id=1")],
            "/a",
        ),
        (
            "other authority",
            "PUT",
            200,
            &[FRESH, ("content-location", "http://x.example/a")],
            &[],
            "",
        ),
        (
            "other resource than PUT's",
            "PUT",
            200,
            &[FRESH, ("content-location", "/b")],
            &[],
            "",
        ),
        ("unnamed", "PUT", 200, &[FRESH], &[], ""),
        ("NAMED twice", "PUT", 200, &[FRESH, NAMED, NAMED], &[], ""),
        ("202", "PUT", 202, &[FRESH, NAMED], &[], ""),
        ("204", "PUT", 204, &[FRESH, NAMED], &[], ""),
        ("DELETE", "DELETE", 200, &[FRESH, NAMED], &[], ""),
        ("no lifetime", "PUT", 200, &[NAMED], &[], ""),
        (
            "no-store",
            "PUT",
            200,
            &[("cache-control", "no-store"), NAMED],
            &[],
            "",
        ),
        (
            "private",
            "PUT",
            200,
            &[("cache-control", "private, max-age=60"), NAMED],
            &[],
            "",
        ),
        (
            "set-cookie",
            "PUT",
            200,
            &[FRESH, NAMED, ("set-cookie", "a=b")],
            &[],
            "",
        ),
        (
            "authorization",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("authorization", "x")],
            "",
        ),
        (
            "vary: *",
            "PUT",
            200,
            &[FRESH, NAMED, ("vary", "*")],
            &[],
            "",
        ),
        (
            "request no-store",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("cache-control", "no-store")],
            "",
        ),
    ] {
        let layer = in_memory().write_through(true);
        let service = layer.layer(Origin::at_once(move |_| answer(status, lines, "text")));
        let mut write = request(method.parse().expect("a method"), "/a");
        for (name, value) in asked {
            write = with(write, name, value);
        }
        let written = send(&service, write).await;
        assert_eq!(written.body, "text", "{case}");
        assert_eq!(
            written.cache_status().contains("; stored"),
            !stored.is_empty(),
            "{case}"
        );
        assert_eq!(
            written.header("location").is_empty(),
            method != "POST" || status != 201,
            "{case}"
        );
        for path in ["/a", "/b", "/new", "/a?q=1"] {
            assert_eq!(
                is_stored(&service, get(path)).await,
                path == stored,
                "{case}: {path}"
            );
        }
        if !stored.is_empty() {
            let hit = send(&service, get(stored)).await;
            assert_eq!(
                (hit.status, hit.body.as_str()),
                (StatusCode::OK, "text"),
                "{case}"
            );
            assert_eq!(hit.header("location"), "", "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn write_through_varies_by_the_writes_own_fields() {
    let lines = [
        ("cache-control", "max-age=60"),
        ("content-location", "/a"),
        ("vary", "accept-language"),
    ];
    let service = in_memory()
        .write_through(true)
        .layer(Origin::at_once(move |_| answer(200, &lines, "text")));
    send(&service, with(put("/a"), "accept-language", "de")).await;
    let german = with(get("/a"), "accept-language", "de");
    assert!(send(&service, german).await.is_hit());
    let english = with(get("/a"), "accept-language", "en");
    assert_eq!(
        send(&service, english).await.cache_status(),
        "fwd=vary-miss; stored"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_through_body_that_fails_reaches_the_client_as_an_error_and_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let service = in_memory()
        .write_through(true)
        .layer(Origin::at_once(move |_| {
            let lines = [
                ("cache-control", "max-age=60"),
                ("content-location", "/a"),
                ("content-length", "4"),
            ];
            let body = response.lock().expect("a lock").take().expect("one call");
            answer(200, &lines, "").map(|_| body)
        }));
    body.send(data("te")).expect("a reader");
    body.send(Err("connection lost".into())).expect("a reader");
    let response = service.clone().oneshot(put("/a")).await.expect("a head");
    let failed = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(failed.expect_err("an error").to_string(), "connection lost");
    assert!(!is_stored(&service, get("/a")).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_or_too_large_size_is_not_collected_for_write_through() {
    for announced in [None, Some("2000000")] {
        let (body, response) = scripted();
        let response = std::sync::Mutex::new(Some(response));
        let service = in_memory()
            .write_through(true)
            .layer(Origin::at_once(move |_| {
                let mut lines = vec![("cache-control", "max-age=60"), ("content-location", "/a")];
                lines.extend(announced.map(|length| ("content-length", length)));
                let body = response.lock().expect("a lock").take().expect("one call");
                answer(200, &lines, "").map(|_| body)
            }));
        // The head comes although the body has not begun.
        let response = service.clone().oneshot(put("/a")).await.expect("a head");
        drop(body);
        drop(response);
        assert!(!is_stored(&service, get("/a")).await);
    }
}

/// A write-through that begins within the grace of an earlier write may answer with what that one's
/// late commit changes.
#[tokio::test(start_paused = true)]
async fn a_write_through_that_begins_in_a_grace_is_not_stored() {
    let service =
        in_memory()
            .write_through(true)
            .layer(Origin::new(|request: Request<()>| async move {
                if request.headers().contains_key("x-fails") {
                    return Ok(answer(504, &[], ""));
                }
                sleep(Duration::from_secs(6)).await;
                let lines = [("cache-control", "max-age=60"), ("content-location", "/a")];
                Ok(answer(200, &lines, "text"))
            }));
    send(&service, with(put("/a"), "x-fails", "1")).await;
    let written = send(&service, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    assert!(!is_stored(&service, get("/a")).await);
    send(&service, put("/a")).await;
    assert!(is_stored(&service, get("/a")).await);
}

/// Hooks that decide by extensions see those of the write when its answer is to be stored.
#[tokio::test(start_paused = true)]
async fn write_through_asks_the_hooks_with_the_writes_extensions() {
    #[derive(Clone)]
    struct User;
    let layer = in_memory()
        .write_through(true)
        .skip(|request| request.extensions.get::<User>().is_some());
    let lines = [
        ("cache-control", "max-age=60"),
        ("content-location", "/profile"),
    ];
    let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "secret")));
    let mut write = put("/profile");
    write.extensions_mut().insert(User);
    send(&service, write).await;
    assert!(!is_stored(&service, get("/profile")).await);
}
