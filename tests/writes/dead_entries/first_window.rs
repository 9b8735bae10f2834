//! A flight whose call has not begun may be joined by every request, also by one that starts after
//! a write. Its leader looked up before the write.

use http::Method;
use tokio::time::sleep;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, Guarded, MemoryBackend};

use super::{Line, Page, Waiting, World, digits};
use crate::support::both::both_backends;
use crate::support::dying::dying;
use crate::support::origin::answer;
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{get, put, request, send, with};

const STALE: Line = ("cache-control", "max-age=10, stale-while-revalidate=1000");
const SAME_SECOND: Line = ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT");

/// A refresh that waits at the gate, then a write, then a request that joins it.
async fn join_a_refresh<B: Backend>(world: &World<B>, write: impl AsyncFnOnce()) -> Waiting {
    world.store(get("/a"), SECOND * 20).await;
    world.gate.close();
    let stale = send(&world.gated, get("/a")).await;
    assert_eq!((&*stale.body, stale.is_hit()), ("v1", true));
    write().await;
    world.begin(get("/a")).await
}

async fn assert_new<B: Backend>(world: &World<B>, joined: Waiting) {
    let answer = world.finish(joined).await;
    assert_eq!(answer.body, "v2");
    let asked = world.page.last_read();
    assert!(!asked.contains_key("if-none-match") && !asked.contains_key("if-modified-since"));
    settled().await;
    let later = send(&world.open, get("/a")).await;
    assert_eq!(later.body, "v2", "{}", later.cache_status());
}

/// Promise: no stale read after a write. A `Last-Modified` of one second tells nothing of a write
/// in that second.
#[tokio::test(start_paused = true)]
async fn a_request_after_a_write_gets_nothing_that_a_waiting_refresh_had_found() {
    for validator in [SAME_SECOND, ("etag", "W/\"x\""), ("etag", "\"x\"")] {
        let lines: &'static [Line] = Box::leak(Box::new([STALE, validator]));
        for backend in both_backends() {
            let world = World::new(&in_virtual_time(backend), Page::new(lines));
            let write = async || drop(send(&world.open, put("/a")).await);
            let joined = join_a_refresh(&world, write).await;
            assert_new(&world, joined).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nor_behind_a_guard() {
    let layer = in_virtual_time(Guarded::new(MemoryBackend::default()));
    let world = World::new(&layer, Page::new(&[STALE, SAME_SECOND]));
    let write = async || drop(send(&world.open, put("/a")).await);
    let joined = join_a_refresh(&world, write).await;
    assert_new(&world, joined).await;
}

/// RFC 9875 §3, and what a program invalidates.
#[tokio::test(start_paused = true)]
async fn every_kind_of_invalidation_counts() {
    const MEMBER: Line = ("cache-groups", "\"pages\"");
    for kind in ["group", "handle", "handle's group", "clear"] {
        for backend in both_backends() {
            let page = Page::new(&[STALE, SAME_SECOND, MEMBER]);
            let layer = in_virtual_time(backend);
            let (handle, world) = (layer.handle(), World::new(&layer, page));
            let write = async || {
                // The page changes behind the cache's back.
                send(&world.page.origin, put("/a")).await;
                let is_done = match kind {
                    "group" => {
                        let post = request(Method::POST, "/elsewhere");
                        send(&world.open, post).await.status == 204
                    }
                    "handle" => handle.invalidate("/a").await.is_ok(),
                    "clear" => handle.clear().await.is_ok(),
                    _ => handle
                        .invalidate_group("test.example", "pages")
                        .await
                        .is_ok(),
                };
                assert!(is_done);
            };
            let joined = join_a_refresh(&world, write).await;
            let answer = world.finish(joined).await;
            let expected = if kind == "group" { "v3" } else { "v2" };
            assert_eq!(answer.body, expected, "{kind}");
            settled().await;
            assert_eq!(send(&world.open, get("/a")).await.body, expected, "{kind}");
        }
    }
}

/// A validation is not given up because something else was invalidated.
#[tokio::test(start_paused = true)]
async fn other_invalidations_cost_no_validation() {
    const MEMBER: Line = ("cache-groups", "\"pages\"");
    for backend in both_backends() {
        let layer = in_virtual_time(backend);
        let (handle, world) = (
            layer.handle(),
            World::new(&layer, Page::new(&[STALE, SAME_SECOND, MEMBER])),
        );
        world.store(get("/a"), SECOND * 20).await;
        world.gate.close();
        send(&world.gated, get("/a")).await;
        let others = handle.invalidate_group("test.example", "others").await;
        others.expect("memory answers");
        handle.invalidate("/b").await.expect("memory answers");
        world.gate.open();
        settled().await;
        assert!(world.page.last_read().contains_key("if-modified-since"));
        assert!(send(&world.open, get("/a")).await.is_hit());
    }
}

/// A request whose validation is overtaken leaves its place to one that may have to call later.
#[tokio::test(start_paused = true)]
async fn a_request_that_takes_over_validates_nothing_that_a_write_removed() {
    for backend in both_backends() {
        let layer = in_virtual_time(backend).coalesce_takeover_timeout(SECOND);
        let world = World::new(&layer, Page::new(&[STALE, SAME_SECOND]));
        world.store(get("/a"), SECOND).await;
        world.gate.close();
        let validating = || with(get("/a"), "cache-control", "no-cache");
        let first = world.begin(validating()).await;
        let second = world.begin(validating()).await;
        // The first one has had its time: the second one calls, too.
        sleep(SECOND * 2).await;
        send(&world.open, put("/a")).await;
        let joined = world.begin(get("/a")).await;
        assert_new(&world, joined).await;
        drop((first, second));
    }
}

/// RFC 9111 §3.4: stored parts belong to the representation that a write has replaced.
#[tokio::test(start_paused = true)]
async fn stored_parts_are_completed_with_nothing_that_a_write_changed() {
    const FRESH: Line = ("cache-control", "max-age=3600");
    for backend in both_backends() {
        // In real time, in which the stamp is old enough to be a strong validator.
        let layer = CacheLayer::new(backend);
        let world = World::new(&layer, digits(&[FRESH, SAME_SECOND]));
        world
            .store(with(get("/a"), "range", "bytes=0-4"), SECOND)
            .await;
        world.gate.close();
        let part = world.begin(with(get("/a"), "range", "bytes=3-7")).await;
        let whole = world.begin(get("/a")).await;
        send(&world.open, put("/a")).await;
        let joined = world.begin(get("/a")).await;
        let joined = world.finish(joined).await;
        assert_eq!(joined.body, "abcdefghij");
        // Nor for those who came before: a body is of one version.
        let part = world.finish(part).await;
        assert_eq!(part.body, "defgh");
        let whole = world.finish(whole).await;
        assert_eq!(whole.body, "abcdefghij");
        settled().await;
        assert_eq!(send(&world.open, get("/a")).await.body, "abcdefghij");
    }
}

/// A stale response stands in for a failure only for a request that began before the write.
#[tokio::test(start_paused = true)]
async fn no_removed_response_stands_in_for_a_failure_after_a_write() {
    const ON_ERROR: Line = ("cache-control", "max-age=10, stale-if-error=1000");
    for backend in both_backends() {
        let page = Page::with_answer(|_, version| match version {
            1 => answer(200, &[ON_ERROR, SAME_SECOND], "v1"),
            _ => answer(503, &[], "down"),
        });
        let world = World::new(&in_virtual_time(backend), page);
        world.store(get("/a"), SECOND * 20).await;
        world.gate.close();
        let before = world.begin(get("/a")).await;
        send(&world.open, put("/a")).await;
        let after = world.begin(get("/a")).await;
        let later = world.begin(get("/a")).await;
        let bodies = [world.finish(after).await, world.finish(later).await].map(|it| it.body);
        assert_eq!(bodies, ["down", "down"]);
        drop(world.finish(before).await);
        assert_eq!(send(&world.open, get("/a")).await.body, "down");
    }
}

/// While the backend is away there is no fence, and no word of writes elsewhere.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_fence_gets_nothing_that_was_looked_up_before() {
    let (backend, switch) = dying(MemoryBackend::default());
    switch.revive();
    let world = World::new(&in_virtual_time(backend), Page::new(&[STALE, SAME_SECOND]));
    let write = async || {
        // A write at another instance.
        send(&world.page.origin, put("/a")).await;
        switch.kill();
    };
    let joined = join_a_refresh(&world, write).await;
    let answer = world.finish(joined).await;
    assert_eq!(answer.body, "v2");
}
