//! A flight whose call has not begun may be joined by every request, also by one that starts after a
//! write. Its leader looked up before the write.

use tower_response_cache::backend::{Backend, Guarded, MemoryBackend};

use super::{Line, Page, Waiting, World};
use crate::support::both::both_backends;
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{get, put, send};

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
