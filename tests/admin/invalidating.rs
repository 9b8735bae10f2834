//! An operator invalidates, and is told whether the backend has acknowledged it.

use http::StatusCode;
use serde_json::json;
use tower::Layer;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::Sites;
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use super::calls::{Answer, TOKEN, call, post, request};
use crate::support::both::on_both_backends;
use crate::support::dying::dying;
use crate::support::logs::Logs;
use crate::support::origin::{Origin, with_group};
use crate::support::{get, is_stored, send, with};

fn admin<B: Backend>(handle: CacheHandle<B>) -> Admin {
    Admin::new(handle).token(TOKEN)
}

async fn purge(admin: &Admin, path: &str, lines: &[(&str, &str)]) -> Answer {
    let token = format!("Bearer {TOKEN}");
    let lines = [lines, &[("authorization", &*token)]].concat();
    call(admin, request("PURGE", path, &lines, "")).await
}

const PATHS: [&str; 5] = ["/a", "/b?q=1", "/g/1", "/g/2", "/c"];

async fn stored<B: Backend>(service: &Cache<Origin, B>) -> Vec<&'static str> {
    let mut stored = Vec::new();
    for path in PATHS {
        if is_stored(service, get(path)).await {
            stored.push(path);
        }
    }
    stored
}

#[tokio::test]
async fn uris_groups_and_all_are_removed_by_post_and_by_purge() {
    on_both_backends(async |layer| {
        let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
        let fill = async || {
            for path in PATHS {
                send(&service, get(path)).await;
            }
        };
        fill().await;
        let wanted = json!({"type": "uri", "selectors": ["/a", "http://any.example/b?other"]});
        let done = post(&admin, "/invalidate", &wanted).await;
        assert_eq!(
            (done.status, &done.json()["invalidated"]),
            (StatusCode::OK, &json!(2))
        );
        assert_eq!(stored(&service).await, ["/g/1", "/g/2", "/c"]);
        let wanted = json!({"type": "group", "selectors": ["stock", "none"], "purge": true});
        assert_eq!(post(&admin, "/invalidate", &wanted).await.status, 200);
        assert_eq!(stored(&service).await, ["/c"]);
        let done = post(&admin, "/invalidate", &json!({"type": "all"})).await;
        assert_eq!(
            (done.status, &done.json()["invalidated"]),
            (StatusCode::OK, &json!(1))
        );
        assert!(stored(&service).await.is_empty());

        fill().await;
        assert_eq!(purge(&admin, "/%61", &[]).await.status, 200);
        let done = purge(&admin, "/b", &[]).await.json();
        assert_eq!(
            done["selectors"],
            json!(["http://127.0.0.1:9090/b"]),
            "what it meant"
        );
        assert_eq!(
            purge(&admin, "/", &[("surrogate-key", "none  stock")])
                .await
                .status,
            200
        );
        assert_eq!(stored(&service).await, ["/c"]);
    })
    .await;
}

#[tokio::test]
async fn prefixes_are_those_of_the_layer() {
    let layer = CacheLayer::new(MemoryBackend::default()).group_prefixes(["/g/", "/c"]);
    let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
    for path in PATHS {
        send(&service, get(path)).await;
    }
    let wanted = json!({"type": "prefix", "selectors": ["/g/", "/a"]});
    let answer = post(&admin, "/invalidate", &wanted).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("/a"), "{}", answer.text);
    assert_eq!(
        stored(&service).await,
        PATHS,
        "nothing of a request that is wrong"
    );
    let wanted = json!({"type": "prefix", "selectors": ["//g/"]});
    assert_eq!(post(&admin, "/invalidate", &wanted).await.status, 200);
    assert_eq!(stored(&service).await, ["/a", "/b?q=1", "/c"]);
    let wanted = json!({"type": "prefix", "selectors": ["/c"], "purge": false});
    assert_eq!(post(&admin, "/invalidate", &wanted).await.status, 200);
    assert_eq!(
        send(&service, get("/c")).await.cache_status(),
        "fwd=stale; stored"
    );
}

#[tokio::test]
async fn without_purge_responses_become_stale_and_are_validated() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let (origin, admin) = (with_group(), admin(layer.handle()));
    let service = layer.layer(origin.clone());
    for (kind, selectors) in [
        ("uri", json!(["/g/1"])),
        ("group", json!(["stock"])),
        ("all", json!([])),
    ] {
        send(&service, get("/g/1")).await;
        let wanted = json!({"type": kind, "selectors": selectors, "purge": false});
        assert_eq!(
            post(&admin, "/invalidate", &wanted).await.status,
            200,
            "{kind}"
        );
        let answer = send(&service, get("/g/1")).await;
        assert_eq!(answer.cache_status(), "fwd=stale; stored", "{kind}");
    }
}

#[tokio::test]
async fn an_operator_finds_each_invalidation_in_the_log() {
    let logs = Logs::from_level(tracing::Level::INFO);
    let (backend, switch) = dying(MemoryBackend::default());
    let admin = admin(CacheLayer::new(backend).handle());
    let wanted = json!({"type": "group", "selectors": ["a", "b"], "purge": false});
    for _ in 0..2 {
        post(&admin, "/invalidate", &wanted).await;
        switch.revive();
    }
    let lines = logs.lines("by an operator");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("not acknowledged"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("INFO") && lines[1].contains("count=2"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("kind=Group") && lines[1].contains("is_hard=false"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn content_that_means_nothing_is_refused_and_does_nothing() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
    send(&service, get("/a")).await;
    let many: Vec<_> = (0..1001).map(|_| "/a").collect();
    for (wanted, says) in [
        (json!({}), "type"),
        (json!([]), "invalid content"),
        (json!({"type": "everything"}), "everything"),
        (json!({"type": "uri"}), "selectors"),
        (json!({"type": "uri", "selectors": []}), "selectors"),
        (
            json!({"type": "uri", "selectors": ["no path"]}),
            "not a URI",
        ),
        (json!({"type": "uri", "selectors": [7]}), "invalid content"),
        (json!({"type": "uri", "selectors": "/a"}), "invalid content"),
        (json!({"type": "uri", "selectors": many}), "1001"),
        (json!({"type": "all", "selectors": ["/a"]}), "no selectors"),
        (json!({"type": "all", "purge": "yes"}), "a boolean"),
        (json!({"type": "all", "soft": true}), "unknown field `soft`"),
        (
            json!({"type": "uri", "selectors": ["/a"], "host": "x"}),
            "unknown field `host`",
        ),
    ] {
        let answer = post(&admin, "/invalidate", &wanted).await;
        assert_eq!(answer.status, 400, "{wanted}");
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        assert!(error.contains(says), "{wanted}: {error}");
    }
    let answer = purge(&admin, "/a", &[("surrogate-key", "stock")]).await;
    assert_eq!(answer.status, 400);
    let answer = purge(&admin, "/", &[("surrogate-key", " ")]).await;
    assert_eq!(answer.status, 400);
    // As with other caches, where it means everything.
    for lines in [&[][..], &[("host", "a.example")]] {
        let answer = purge(&admin, "*", lines).await;
        assert_eq!(answer.status, 400);
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        assert!(error.contains("POST /invalidate"), "{error}");
    }
    assert_eq!(stored(&service).await, ["/a"]);
}

/// Whoever sends one expects all below to go, and nothing is what would happen.
#[tokio::test]
async fn an_asterisk_in_a_path_is_no_wildcard() {
    let layer = CacheLayer::new(MemoryBackend::default()).group_prefixes(["/g/"]);
    let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
    for path in ["/g/1", "/g/*"] {
        send(&service, get(path)).await;
    }
    for (path, lines) in [
        ("/*", &[][..]),
        ("/g/*", &[]),
        ("/g*", &[]),
        ("/*/1", &[("host", "a.example")]),
        ("http://a.example/g/*", &[]),
    ] {
        let answer = purge(&admin, path, lines).await;
        assert_eq!(answer.status, 400, "{path}");
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        let hint = r#"POST /invalidate with {"type":"prefix"}"#;
        assert!(error.contains(hint), "{path}: {error}");
    }
    assert!(is_stored(&service, get("/g/*")).await, "nothing was done");
    // A query, which does not count, may have one.
    assert_eq!(purge(&admin, "/none?*", &[]).await.status, 200);
    // A path may have it: then its type says that it is one.
    let wanted = json!({"type": "uri", "selectors": ["/g/*"]});
    let done = post(&admin, "/invalidate", &wanted).await;
    assert_eq!(done.status, 200);
    let note = done.json()["note"].as_str().expect("a note").to_owned();
    assert!(note.contains("no wildcard"), "{note}");
    assert!(!is_stored(&service, get("/g/*")).await);
    assert!(is_stored(&service, get("/g/1")).await);
    let plain = json!({"type": "uri", "selectors": ["/g/1"]});
    let done = post(&admin, "/invalidate", &plain).await.json();
    assert_eq!(done.get("note"), None);
}

/// With other caches it stands for all groups.
#[tokio::test]
async fn an_asterisk_in_a_group_is_no_wildcard() {
    let layer = CacheLayer::new(MemoryBackend::default()).group_prefixes(["/g/*"]);
    let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
    send(&service, get("/g/1")).await;
    for groups in ["*", "stock *", "st*"] {
        let answer = purge(&admin, "/", &[("surrogate-key", groups)]).await;
        assert_eq!(answer.status, 400, "{groups}");
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        let hint = r#"POST /invalidate with {"type":"all"}"#;
        assert!(error.contains(hint), "{groups}: {error}");
    }
    assert!(is_stored(&service, get("/g/1")).await, "nothing was done");
    // A name may have it: then its type says that it is one.
    let note_of = async |kind: &str, selectors: &[&str]| {
        let wanted = json!({"type": kind, "selectors": selectors});
        let done = post(&admin, "/invalidate", &wanted).await;
        assert_eq!(done.status, 200, "{wanted}");
        done.json()["note"].as_str().unwrap_or_default().to_owned()
    };
    let note = note_of("group", &["none", "st*"]).await;
    assert!(
        note.contains("no wildcard") && note.contains("group"),
        "{note}"
    );
    assert!(is_stored(&service, get("/g/1")).await);
    // That of the layer is no mistake.
    assert_eq!(note_of("prefix", &["/g/*"]).await, "");
    assert_eq!(note_of("group", &["stock"]).await, "");
    assert!(!is_stored(&service, get("/g/1")).await);
}

/// An operator who has to mend a request wants to do it once.
#[tokio::test]
async fn an_error_names_all_selectors_that_are_wrong() {
    let layer = CacheLayer::new(MemoryBackend::default()).group_prefixes(["/g/"]);
    let admin = admin(layer.handle());
    let refused = async |kind: &str, selectors: serde_json::Value| {
        let wanted = json!({"type": kind, "selectors": selectors});
        let answer = post(&admin, "/invalidate", &wanted).await;
        assert_eq!(answer.status, 400, "{wanted}");
        answer.json()["error"].as_str().expect("a text").to_owned()
    };
    for (kind, selectors) in [
        ("prefix", json!(["/first", "/g/", "/second", "/third"])),
        ("uri", json!(["first", "/g/", "second", "third"])),
    ] {
        let error = refused(kind, selectors).await;
        for wrong in ["first", "second", "third"] {
            assert!(error.contains(wrong), "{kind}: {error}");
        }
        assert!(!error.contains("more"), "{kind}: {error}");
    }
    let many: Vec<_> = (0..1000).map(|number| format!("/{number}")).collect();
    let error = refused("prefix", json!(many)).await;
    assert!(error.contains("\"/9\"; and 990 more"), "{error}");
}

#[tokio::test]
async fn where_hosts_are_sites_the_host_says_which() {
    let layer = CacheLayer::new(MemoryBackend::default()).sites(Sites::ByAuthority);
    let (service, admin) = (layer.layer(with_group()), admin(layer.handle()));
    let on = |host: &str, path: &str| {
        let mut request = get(path);
        request.headers_mut().remove("host");
        with(request, "host", host)
    };
    let is_stored_on = async |host: &str| is_stored(&service, on(host, "/g/1")).await;
    let fill = async || {
        for host in ["one.example", "two.example"] {
            send(&service, on(host, "/g/1")).await;
        }
    };
    fill().await;
    // A path or a group alone means nothing.
    for wanted in [
        json!({"type": "uri", "selectors": ["/g/1"]}),
        json!({"type": "group", "selectors": ["stock"]}),
        json!({"type": "group", "selectors": ["stock"], "authority": ""}),
        json!({"type": "group", "selectors": ["stock"], "authority": "http://two.example"}),
        json!({"type": "uri", "selectors": ["http://one.example/g/1", "/g/1"]}),
        json!({"type": "uri", "selectors": ["http://one.example/g/1", "*"]}),
        json!({"type": "uri", "selectors": ["http://user:pw@one.example/g/1"]}),
        json!({"type": "uri", "selectors": ["http://one.example/g/1"], "authority": "one.example"}),
        json!({"type": "all", "authority": "one.example"}),
    ] {
        assert_eq!(
            post(&admin, "/invalidate", &wanted).await.status,
            400,
            "{wanted}"
        );
    }
    // Nothing was done in part.
    assert!(is_stored_on("one.example").await && is_stored_on("two.example").await);
    let one = json!({"type": "uri", "selectors": ["http://one.example/g/1"]});
    let two = json!({"type": "group", "selectors": ["stock"], "authority": "Two.Example:80"});
    assert_eq!(post(&admin, "/invalidate", &one).await.status, 200);
    assert!(!is_stored_on("one.example").await && is_stored_on("two.example").await);
    assert_eq!(post(&admin, "/invalidate", &two).await.status, 200);
    assert!(!is_stored_on("two.example").await);
    fill().await;
    assert_eq!(
        purge(&admin, "/g/1", &[("host", "One.example:80")])
            .await
            .status,
        200
    );
    assert!(!is_stored_on("one.example").await && is_stored_on("two.example").await);
    let lines = [("host", "Two.Example"), ("surrogate-key", "stock")];
    assert_eq!(purge(&admin, "/", &lines).await.status, 200);
    assert!(!is_stored_on("two.example").await);
}

#[tokio::test]
async fn what_the_backend_has_not_acknowledged_is_503_and_may_be_repeated() {
    let (backend, switch) = dying(MemoryBackend::default());
    let admin = admin(CacheLayer::new(backend).group_prefixes(["/g/"]).handle());
    let kinds = [
        json!({"type": "uri", "selectors": ["/a"]}),
        json!({"type": "group", "selectors": ["g"]}),
        json!({"type": "prefix", "selectors": ["/g/"]}),
        json!({"type": "all"}),
    ];
    let requests = kinds.iter().flat_map(|kind| {
        [true, false].map(|is_hard| {
            let mut wanted = kind.clone();
            wanted["purge"] = is_hard.into();
            wanted
        })
    });
    let requests: Vec<_> = requests.collect();
    for alive in [false, true] {
        for wanted in &requests {
            let answer = post(&admin, "/invalidate", wanted).await;
            assert_eq!(answer.status, if alive { 200 } else { 503 }, "{wanted}");
            assert_eq!(
                answer.header("retry-after"),
                if alive { "" } else { "1" },
                "{wanted}"
            );
        }
        for (path, lines) in [("/a", &[][..]), ("/", &[("surrogate-key", "g")])] {
            let answer = purge(&admin, path, lines).await;
            assert_eq!(answer.status, if alive { 200 } else { 503 }, "{path}");
        }
        switch.revive();
    }
}
