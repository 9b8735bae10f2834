//! The resources that a write invalidates beside its own.

use std::sync::Arc;

use http::{Method, StatusCode};
use tower::{Layer, ServiceExt};
use tower_response_cache::key::Authority;

use super::origin;
use crate::support::origin::answer;
use crate::support::polling::poll_once;
use crate::support::{get, in_memory, is_stored, put, request, send, with};

#[tokio::test(start_paused = true)]
async fn location_and_content_location_of_the_same_authority_are_invalidated() {
    let paths = ["/a", "/b", "/c", "/d/e", "/other"];
    for (lines, gone) in [
        (&[][..], &["/a"][..]),
        (
            &[("location", "/b"), ("content-location", "/c")],
            &["/a", "/b", "/c"],
        ),
        (&[("location", "http://test.example/b")], &["/a", "/b"]),
        (
            &[("location", "http://test.example:80/b?q#f")],
            &["/a", "/b"],
        ),
        (&[("location", "http://other.example/b")], &["/a"]),
        (&[("location", "//other.example/b")], &["/a"]),
        (&[("location", "d/e")], &["/a", "/d/e"]),
        (&[("location", "/x/../d/./e")], &["/a", "/d/e"]),
        (&[("location", "mailto:b")], &["/a"]),
    ] {
        let service = in_memory().layer(origin(&Arc::default(), move |_| async move {
            Ok(answer(201, lines, ""))
        }));
        for path in paths {
            send(&service, get(path)).await;
        }
        send(&service, request(Method::POST, "/a")).await;
        for path in paths {
            assert_eq!(
                is_stored(&service, get(path)).await,
                !gone.contains(&path),
                "{path} {lines:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_authority_is_one_site_under_all_its_names() {
    let layer = in_memory().authority(Authority::fixed("site"));
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(201, &[("location", "http://127.0.0.1:3000/b")], ""))
    }));
    send(&service, get("/b")).await;
    let mut write = put("/a");
    let host = "127.0.0.1:3000".parse().expect("a field value");
    write.headers_mut().insert("host", host);
    send(&service, write).await;
    assert!(!is_stored(&service, get("/b")).await);
}

#[tokio::test(start_paused = true)]
async fn also_invalidate_names_further_resources_of_a_write() {
    let layer = in_memory().also_invalidate(|write| {
        assert!(write.status().is_some() && write.response_headers().is_some());
        let path = write.uri().path();
        let parent = &path[..path.rfind('/').unwrap_or(0)];
        vec![
            parent.to_owned(),
            format!("{}?{}", write.method(), write.headers().len()),
        ]
    });
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(200, &[], ""))
    }));
    for path in ["/items", "/items/1", "/items/2"] {
        send(&service, get(path)).await;
    }
    send(&service, put("/items/1")).await;
    assert!(!is_stored(&service, get("/items")).await);
    assert!(!is_stored(&service, get("/items/1")).await);
    assert!(is_stored(&service, get("/items/2")).await);
}

/// What the key hook makes of the target holds for what the write names, too.
#[tokio::test(start_paused = true)]
async fn names_in_the_answer_to_a_write_use_the_authority_of_the_write() {
    let layer = in_memory()
        .also_invalidate(|_| ["/list"])
        .key_by(|request, key| {
            let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
            let authority = format!("{tenant}@{}", key.authority());
            Some(key.with_authority(authority))
        });
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(
            201,
            &[
                ("location", "/other"),
                ("content-location", "http://test.example/third"),
            ],
            "",
        ))
    }));
    let mine = |ask| with(ask, "x-tenant", "t1");
    let stored = async |path: &str| {
        let only = with(mine(get(path)), "cache-control", "only-if-cached");
        send(&service, only).await.status == StatusCode::OK
    };
    let paths = ["/a", "/list", "/other", "/third", "/fourth"];
    for path in paths {
        send(&service, mine(get(path))).await;
    }
    send(&service, mine(put("/a"))).await;
    for path in paths {
        assert_eq!(stored(path).await, path == "/fourth", "{path}");
    }
    let handle = layer.handle();
    handle
        .invalidate_key("t1@test.example", "/fourth")
        .await
        .expect("acknowledged");
    assert!(!stored("/fourth").await);
}

/// The hook is the operator's: it may name other hosts of the same cache. Its panic costs only the
/// names it would have given.
#[tokio::test(start_paused = true)]
async fn the_hook_may_name_other_hosts_and_may_fail() {
    let to_other = || {
        let mut ask = get("/list");
        let other = "other.example".parse().expect("a field value");
        ask.headers_mut().insert("host", other);
        ask
    };
    let named = in_memory().also_invalidate(|_| ["http://other.example/list"]);
    let service = named.layer(origin(&Arc::default(), |_| async {
        Ok(answer(200, &[], ""))
    }));
    send(&service, to_other()).await;
    send(&service, put("/a")).await;
    assert!(!send(&service, to_other()).await.is_hit());

    let fails = in_memory()
        .max_detached_writes(0)
        .also_invalidate(|write| [write.status().expect("an answer").to_string()]);
    let service = fails.layer(origin(&Arc::default(), |_| std::future::pending()));
    send(&service, get("/a")).await;
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    assert!(!is_stored(&service, get("/a")).await);
}
