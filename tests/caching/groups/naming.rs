//! Groups that are named otherwise than by `Cache-Groups`: by fields of CDNs, a function, prefixes.

use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::stats::Refusal;

use super::{layer, on};
use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{SECOND, SLOW, settle, settled};
use crate::support::{get, request, send, with};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Promise: tags are groups, on whatever lines they stand, and leave with no response: fetched,
/// stored, refused, bypassing or written.
#[tokio::test(start_paused = true)]
async fn tags_name_groups_and_are_taken_off() {
    for keeps in [false, true] {
        let origin = Origin::at_once(|request| {
            let stores = match request.uri().path() {
                "/private" => ("cache-control", "private"),
                _ => FRESH,
            };
            let tags = [("cache-tag", "a, b"), ("surrogate-key", "c d")];
            answer(200, &[stores, tags[0], tags[1]], "text")
        });
        let layer = layer()
            .group_fields(["cache-tag", "surrogate-key"])
            .keep_group_fields(keeps);
        let service = layer.clone().layer(origin.clone());
        let check = |answer: &crate::support::Answer| {
            let shown = [answer.header("cache-tag"), answer.header("surrogate-key")];
            let expected = if keeps { ["a, b", "c d"] } else { ["", ""] };
            assert_eq!(shown, expected, "{answer:?}");
        };
        for group in ["a", "b", "c", "d"] {
            let path = format!("/{group}");
            for is_hit in [false, true] {
                let answer = send(&service, get(&path)).await;
                assert_eq!(answer.is_hit(), is_hit, "{path}");
                check(&answer);
            }
            let invalidated = layer.handle().invalidate_group("", group).await;
            invalidated.expect("acknowledged");
            assert!(!send(&service, get(&path)).await.is_hit(), "{path}");
        }
        for other in [
            get("/private"),
            request(http::Method::PUT, "/a"),
            request(http::Method::OPTIONS, "/a"),
        ] {
            check(&send(&service, other).await);
        }
    }
}

/// Promise: a function and prefixes name groups, and each is invalidated with all its members.
#[tokio::test(start_paused = true)]
async fn a_function_and_prefixes_name_groups() {
    let origin = Origin::at_once(|_| answer(200, &[FRESH, ("x-kind", "page")], "text"));
    let layer = layer()
        .group_prefixes(["/img/", "/docs", "/%7euser/./"])
        .groups_by(|request, response| {
            let tenant = request.headers.get("x-tenant");
            let kind = response.headers.get("x-kind");
            let named = tenant.into_iter().chain(kind);
            let names = named.map(|value| value.to_str().expect("text").to_owned());
            names.collect::<Vec<_>>()
        });
    let (service, cache) = (layer.clone().layer(origin.clone()), layer.handle());
    let rows: [(&str, &str, &[&str]); 9] = [
        ("/img/a.png", "", &["/img/", "page"]),
        (
            "/img/icons/b.png?size=2",
            "seven",
            &["/img/", "page", "seven"],
        ),
        ("//img/%61.svg", "", &["/img/", "page"]),
        ("/img", "", &["page"]),
        ("/images/a", "", &["page"]),
        ("/docs", "", &["/docs", "page"]),
        ("/docs/a", "", &["/docs", "page"]),
        ("/docsx", "", &["page"]),
        ("/~user/a", "", &["/~user/", "page"]),
    ];
    let ask = |path: &str, tenant: &str| match tenant {
        "" => get(path),
        tenant => with(get(path), "x-tenant", tenant),
    };
    for group in [
        "/img/", "/docs", "/~user/", "page", "seven", "/images/", "docs",
    ] {
        for (path, tenant, _) in rows {
            send(&service, ask(path, tenant)).await;
        }
        settled().await;
        let invalidated = cache.invalidate_group("", group).await;
        invalidated.expect("acknowledged");
        for (path, tenant, groups) in rows {
            let is_hit = send(&service, ask(path, tenant)).await.is_hit();
            assert_eq!(is_hit, !groups.contains(&group), "{path} and {group}");
        }
        cache.clear().await.expect("acknowledged");
    }
}

/// Promise: the groups of a fill are known when its response is here; an invalidation before that
/// keeps it out of the store.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_being_fetched_is_not_stored() {
    for by in ["field", "function", "prefix"] {
        let origin = slow(|_, call| {
            answer(
                200,
                &[FRESH, ("cache-tag", "field")],
                format!("call {call}"),
            )
        });
        let layer = layer()
            .group_fields(["cache-tag"])
            .groups_by(|_, _| ["function".to_owned()])
            .group_prefixes(["/prefix"]);
        let service = layer.clone().layer(origin);
        let early = tokio::spawn({
            let service = service.clone();
            async move { send(&service, get("/prefix/a")).await.body }
        });
        sleep(SLOW / 2).await;
        let name = if by == "prefix" { "/prefix" } else { by };
        let invalidated = layer.handle().invalidate_group("", name).await;
        invalidated.expect("acknowledged");
        assert_eq!(
            send(&service, get("/prefix/a")).await.body,
            "call 2",
            "{by}"
        );
        assert_eq!(early.await.expect("an answer"), "call 1");
        settle().await;
        let hit = send(&service, get("/prefix/a")).await;
        assert!(hit.is_hit() && hit.body == "call 2", "{by}: {hit:?}");
    }
}

/// Promise: a 304 without tags leaves the response in its groups; one with tags changes them.
#[tokio::test(start_paused = true)]
async fn a_304_keeps_or_changes_the_groups() {
    for (tags, group, is_hit) in [
        ("", "old", false),
        ("new", "old", true),
        ("new", "new", false),
    ] {
        let origin = Origin::at_once(move |request| {
            let lines = [FRESH, ("etag", "\"a\"")];
            match request.headers().contains_key("if-none-match") {
                true if tags.is_empty() => answer(304, &lines, ""),
                true => answer(304, &[lines[0], lines[1], ("cache-tag", tags)], ""),
                false => answer(200, &[lines[0], lines[1], ("cache-tag", "old")], "text"),
            }
        });
        let layer = layer().group_fields(["cache-tag"]);
        let service = layer.clone().layer(origin);
        send(&service, get("/a")).await;
        advance(SECOND * 61).await;
        let validated = send(&service, get("/a")).await;
        assert!(
            validated
                .cache_status()
                .starts_with("fwd=stale; fwd-status=304")
        );
        assert_eq!(validated.header("cache-tag"), "");
        let invalidated = layer.handle().invalidate_group("", group).await;
        invalidated.expect("acknowledged");
        assert_eq!(
            send(&service, get("/a")).await.is_hit(),
            is_hit,
            "{tags}, {group}"
        );
    }
}

/// Bad input is a refusal that is counted and said, and the response goes to its client whole.
#[tokio::test(start_paused = true)]
async fn groups_that_cannot_be_tracked_keep_a_response_out_of_the_store() {
    let thousand: String = (0..1000).map(|n| format!("tag-{n},")).collect();
    let long = "x".repeat(1 << 16);
    for tags in [thousand, long, "a,\u{e4}".to_owned()] {
        let origin = Origin::at_once(move |_| answer(200, &[FRESH, ("cache-tag", &tags)], "whole"));
        let layer = layer().max_head(1 << 20).group_fields(["cache-tag"]);
        let service = layer.clone().layer(origin.clone());
        for calls in 1..3 {
            let refused = send(&service, get("/a")).await;
            assert_eq!((&*refused.body, origin.calls()), ("whole", calls));
            assert_eq!(refused.header("cache-tag"), "");
            assert!(
                refused.cache_status().ends_with("detail=groups"),
                "{refused:?}"
            );
        }
        assert_eq!(layer.handle().stats().refusals.get(Refusal::Groups), 2);
    }
    let origin = Origin::at_once(|_| answer(200, &[FRESH], "whole"));
    let layer = layer().groups_by(|_, _| -> Vec<String> { panic!("a bug of the application") });
    let service = layer.clone().layer(origin);
    let refused = send(&service, get("/a")).await;
    assert_eq!(refused.body, "whole");
    let stats = layer.handle().stats();
    assert_eq!(stats.refusals.get(Refusal::HookPanicked), 1);
}

/// Promise: the options of the innermost layer judge the response, and a site's groups are its own
/// where hosts are sites.
#[tokio::test(start_paused = true)]
async fn stacked_layers_and_sites_have_their_own_groups() {
    let origin = Origin::at_once(|_| answer(200, &[FRESH, ("cache-tag", "t")], "text"));
    let outer = layer().sites(tower_response_cache::key::Sites::ByAuthority);
    let inner = outer.clone().group_fields(["cache-tag"]);
    let service = outer.clone().layer(inner.layer(origin));
    let hosts = ["one.example", "two.example"];
    for host in hosts {
        send(&service, on(host, get("/a"))).await;
    }
    let invalidated = outer.handle().invalidate_group(hosts[0], "t").await;
    invalidated.expect("acknowledged");
    assert!(!send(&service, on(hosts[0], get("/a"))).await.is_hit());
    let hit = send(&service, on(hosts[1], get("/a"))).await;
    assert!(
        hit.is_hit() && hit.header("cache-tag").is_empty(),
        "{hit:?}"
    );
}
