//! Which responses a group has, and which requests invalidate it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::sync::Notify;
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::key::Sites;
use tower_response_cache::stats::Refusal;

use super::{layer, memory, on, write};
use crate::support::origin::{Origin, OriginError, Response, answer, data, scripted};
use crate::support::{collect, get, is_stored, request, send, with};

/// Answers with the fields and the status that the request asks for by `x-` fields.
fn obedient() -> Origin {
    Origin::at_once(obey)
}

fn obey(request: &Request<()>) -> Response {
    let of = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| value.to_str().expect("text"))
    };
    let mut lines = vec![("cache-control", of("x-control").unwrap_or("max-age=3600"))];
    for (name, value) in [
        ("cache-groups", of("x-groups")),
        ("cache-group-invalidation", of("x-invalidates")),
        ("content-location", of("x-location")),
    ] {
        lines.extend(value.map(|value| (name, value)));
    }
    let status = of("x-status").map_or(200, |status| status.parse().expect("a status"));
    answer(status, &lines, "an answer")
}

/// A GET whose answer is in these groups.
fn member(path: &str, groups: &str) -> Request<()> {
    with(get(path), "x-groups", groups)
}

/// RFC 9875 §3: the method must be unsafe, the status may be any.
#[tokio::test(start_paused = true)]
async fn groups_named_by_the_answer_to_an_unsafe_request_are_invalidated() {
    #[rustfmt::skip]
    let rows = [
        ("POST", "200", r#""one""#, true),
        ("PUT", "204", r#""x", "one";y=1"#, true),
        ("PATCH", "303", r#""one""#, true),
        ("DELETE", "404", r#""one""#, true),
        ("POST", "422", r#""one""#, true),
        ("POST", "500", r#""one""#, true),
        ("BREW", "418", r#""one""#, true),
        ("GET", "200", r#""one""#, false),
        ("HEAD", "200", r#""one""#, false),
        ("OPTIONS", "200", r#""one""#, false),
        ("QUERY", "200", r#""one""#, false),
        ("POST", "200", r#""One""#, false),
        ("POST", "200", r#""on", "one ""#, false),
        ("POST", "200", "one", false),
        ("POST", "200", r#""one", two"#, false),
    ];
    for (method, status, groups, is_invalidated) in rows {
        let service = layer().layer(obedient());
        let case = format!("{method} {status} {groups}");
        let [a, b, other] = [
            ("/a", r#""one""#),
            ("/b?q", r#""two", "one""#),
            ("/other", r#""two""#),
        ]
        .map(|(path, groups)| member(path, groups));
        for request in [&a, &b, &other] {
            let stored = send(&service, request.clone()).await;
            assert_eq!(
                stored.headers["cache-groups"],
                request.headers()["x-groups"]
            );
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let write = with(request(method, "/write"), "x-invalidates", groups);
        let written = send(&service, with(write, "x-status", status)).await;
        assert_eq!(
            written.headers["cache-group-invalidation"], groups,
            "{case}"
        );
        for member in [a, b] {
            assert_eq!(
                is_stored(&service, member.clone()).await,
                !is_invalidated,
                "{case}"
            );
            send(&service, member.clone()).await;
        }
        assert!(is_stored(&service, other).await, "{case}");
    }
}

/// A group belongs to one site and one scope; its name is the text between the quotes.
#[tokio::test]
async fn a_group_is_its_origin_s_and_its_name_s() {
    let backend = memory();
    let layer = CacheLayer::new(backend).sites(Sites::ByAuthority);
    let service = layer.layer(obedient());
    let scoped = layer.scope("x").layer(obedient());
    let names = [
        r#""a, b""#,
        r#""a""#,
        r#""b""#,
        r#""a,b""#,
        r#"" a""#,
        r#""\"a""#,
        r#""""#,
    ];
    let members = || {
        (0..)
            .zip(names)
            .map(|(n, name)| member(&format!("/{n}"), name))
    };
    let elsewhere = on("other.example", member("/there", r#""a""#));
    for (n, _) in names.iter().enumerate() {
        for member in members() {
            send(&service, member).await;
        }
        send(&service, elsewhere.clone()).await;
        send(&scoped, member("/scoped", r#""a""#)).await;
        send(&service, write(names[n])).await;
        for (m, member) in members().enumerate() {
            assert_eq!(
                is_stored(&service, member).await,
                m != n,
                "{} {}",
                names[m],
                names[n]
            );
        }
        assert!(
            is_stored(&service, elsewhere.clone()).await,
            "another authority's"
        );
        assert!(
            is_stored(&scoped, member("/scoped", r#""a""#)).await,
            "another scope's"
        );
    }
}

/// By hand, any name can be said.
#[tokio::test]
async fn a_handle_invalidates_a_group_by_authority_and_name() {
    let layer = layer().sites(Sites::ByAuthority);
    let (service, handle) = (layer.layer(obedient()), layer.handle());
    let requests = [member("/a", r#""a, b""#), member("/b", r#""b""#)];
    for request in &requests {
        send(&service, request.clone()).await;
    }
    for (authority, name) in [
        ("test.example", "a"),
        ("test.example", "a, b\n"),
        ("test.example", "\"b\""),
        ("other.example", "b"),
        ("", "b"),
    ] {
        let done = handle.invalidate_group(authority, name).await;
        done.expect("acknowledged");
        for request in &requests {
            assert!(
                is_stored(&service, request.clone()).await,
                "{authority} {name:?}"
            );
        }
    }
    let done = handle.invalidate_group("test.example", "b").await;
    done.expect("acknowledged");
    assert!(is_stored(&service, requests[0].clone()).await);
    assert!(!is_stored(&service, requests[1].clone()).await);
}

fn names(count: usize, length: usize) -> Vec<String> {
    let name = |n| format!("\"{n:0length$}\"");
    (0..count).map(name).collect()
}

#[tokio::test]
async fn many_and_long_groups_are_kept_track_of_or_not_stored() {
    let layer = layer();
    let service = layer.layer(obedient());
    let most = names(64, 256);
    for group in [&most[0], &most[31], &most[63]] {
        send(&service, member("/a", &most.join(", "))).await;
        assert!(is_stored(&service, get("/a")).await);
        send(&service, write(group)).await;
        assert!(!is_stored(&service, get("/a")).await, "{group}");
    }
    for too_much in [names(65, 8), names(1, 257)] {
        let answer = send(&service, member("/b", &too_much.join(", "))).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=groups");
        assert!(!is_stored(&service, get("/b")).await);
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Groups), 2);
}

/// Too much is safe, too little is not.
#[tokio::test]
async fn a_write_that_names_too_many_groups_clears_everything() {
    let service = layer().layer(obedient());
    let elsewhere = || on("other.example", get("/other"));
    for (count, is_cleared) in [(256, false), (257, true)] {
        send(&service, member("/a", r#""0255""#)).await;
        send(&service, elsewhere()).await;
        let written = send(&service, write(&names(count, 4).join(","))).await;
        assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
        assert!(!is_stored(&service, get("/a")).await);
        assert_eq!(is_stored(&service, elsewhere()).await, !is_cleared);
    }
}

/// A stale response may replace an error; an invalidated one may not.
#[tokio::test(start_paused = true)]
async fn an_invalidated_member_is_never_used_stale() {
    let control = "max-age=1, stale-while-revalidate=60, stale-if-error=60";
    let service = layer().layer(Origin::new(|request: Request<()>| async move {
        match request.headers().get("x-fails") {
            Some(_) => Err(OriginError("down")),
            None => Ok(obey(&request)),
        }
    }));
    let request = || with(member("/a", r#""one""#), "x-control", control);
    send(&service, request()).await;
    advance(Duration::from_secs(2)).await;
    let failing = || with(request(), "x-fails", "1");
    let stale = send(&service, failing()).await;
    assert!(
        stale.is_hit(),
        "it may be used stale: {}",
        stale.cache_status()
    );
    send(&service, write(r#""one""#)).await;
    let failed = service.clone().oneshot(failing()).await;
    assert_eq!(failed.err(), Some(OriginError("down")));
}

/// The groups of a fill are not known yet when it is overtaken, and later requests do not join it.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_being_fetched_is_neither_stored_nor_shared() {
    let layer = layer();
    let version = Arc::new(AtomicU64::new(1));
    let service = layer.layer(Origin::new(move |request: Request<()>| {
        let version = version.clone();
        async move {
            if request.method() == Method::POST {
                version.fetch_add(1, Ordering::SeqCst);
                return Ok(obey(&request));
            }
            let version = version.load(Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            let lines = [
                ("cache-control", "max-age=60"),
                ("cache-groups", r#""one""#),
            ];
            Ok(answer(200, &lines, version.to_string()))
        }
    }));
    let later = async {
        sleep(Duration::from_millis(500)).await;
        send(&service, write(r#""one""#)).await;
        let both = (send(&service, get("/a")), send(&service, get("/a")));
        tokio::join!(both.0, both.1)
    };
    let (early, (late, joins)) = tokio::join!(send(&service, get("/a")), later);
    assert_eq!([early.body, late.body, joins.body], ["1", "2", "2"]);
    assert_eq!(send(&service, get("/a")).await.body, "2");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Superseded), 1);
    assert_eq!(layer.handle().stats().stores, 1);
}

/// Also while its body is on its way, when its groups are known.
#[tokio::test]
async fn a_member_whose_body_is_on_its_way_is_not_stored() {
    let (body, answered) = scripted();
    let answered = std::sync::Mutex::new(Some(answered));
    let layer = layer();
    let service = layer.layer(Origin::at_once(move |request| {
        let (head, empty) = obey(request).into_parts();
        let body = match request.uri().path() {
            "/a" => answered.lock().expect("no panic").take().unwrap_or(empty),
            _ => empty,
        };
        Response::from_parts(head, body)
    }));
    let response = service.clone().oneshot(member("/a", r#""one""#)).await;
    send(&service, write(r#""one""#)).await;
    body.send(data("old")).expect("somebody reads");
    drop(body);
    assert_eq!(collect(response.expect("an answer")).await.body, "old");
    assert!(!is_stored(&service, get("/a")).await);
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Superseded), 1);
}

/// What only the late answer of a dropped write names.
#[tokio::test(start_paused = true)]
async fn a_dropped_write_invalidates_the_groups_that_its_answer_names() {
    let answers = Arc::new(Notify::new());
    let layer = layer();
    let service = layer.layer({
        let answers = answers.clone();
        Origin::new(move |request: Request<()>| {
            let answers = answers.clone();
            async move {
                if request.method() == Method::POST {
                    answers.notified().await;
                }
                Ok(obey(&request))
            }
        })
    });
    for status in ["200", "409", "503"] {
        send(&service, member("/a", r#""one""#)).await;
        let write = service
            .clone()
            .oneshot(with(write(r#""one""#), "x-status", status));
        drop(tokio::time::timeout(Duration::from_secs(1), write).await);
        assert!(
            is_stored(&service, get("/a")).await,
            "nobody has named its group"
        );
        answers.notify_one();
        sleep(Duration::from_secs(1)).await;
        assert!(!is_stored(&service, get("/a")).await, "{status}");
    }
}

/// A write of unknown outcome may commit later than it answers.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_keeps_members_from_being_stored_for_a_while() {
    let layer = layer().write_grace_window(Duration::from_secs(5));
    let service = layer.layer(obedient());
    send(&service, with(write(r#""one""#), "x-status", "503")).await;
    let within = send(&service, member("/a", r#""two", "one""#)).await;
    assert_eq!(within.cache_status(), "fwd=uri-miss; detail=write-grace");
    assert!(!is_stored(&service, get("/a")).await);
    assert_eq!(layer.handle().stats().refusals.get(Refusal::WriteGrace), 1);
    send(&service, member("/b", r#""two""#)).await;
    assert!(is_stored(&service, get("/b")).await, "of another group");
    advance(Duration::from_secs(6)).await;
    send(&service, member("/a", r#""two", "one""#)).await;
    assert!(is_stored(&service, get("/a")).await);
}

#[tokio::test]
async fn a_response_stored_by_write_through_is_a_member() {
    let service = layer().write_through(true).layer(obedient());
    let put = |groups| {
        let put = with(request(Method::PUT, "/a"), "x-location", "/a");
        with(put, "x-groups", groups)
    };
    let put_through = send(&service, put(r#""one""#)).await;
    assert_eq!(
        put_through.cache_status(),
        "fwd=method; stored; detail=invalidated"
    );
    assert!(is_stored(&service, get("/a")).await);
    send(&service, write(r#""one""#)).await;
    assert!(!is_stored(&service, get("/a")).await);
    // A response that invalidates its own group is not stored.
    let both = with(put(r#""one", "two""#), "x-invalidates", r#""two""#);
    let written = send(&service, both).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    assert!(!is_stored(&service, get("/a")).await);
    let other = with(put(r#""one""#), "x-invalidates", r#""two""#);
    assert!(
        send(&service, other)
            .await
            .cache_status()
            .contains("stored")
    );
    assert!(is_stored(&service, get("/a")).await);
}
