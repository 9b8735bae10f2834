//! Between the steps of an invalidation, a lookup may get a fence that holds and a response that is
//! about to be removed.

use http::{Method, Request};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;

use super::two_steps::TwoSteps;
use super::{Line, Page, World, digits};
use crate::support::time::{settle, settled};
use crate::support::{Answer, get, put, request, send, with};

const FRESH: Line = ("cache-control", "max-age=3600");
const SAME_SECOND: Line = ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT");

fn validating(method: Method) -> Request<()> {
    with(request(method, "/a"), "cache-control", "no-cache")
}

/// Stores with `first`; between the steps of a write, `second` looks up and waits at the gate.
/// After the write, `third` comes. Returns the answers to the last two.
async fn look_up_between(
    (backend, world): (&TwoSteps, &World<TwoSteps>),
    first: Request<()>,
    second: Request<()>,
    third: Request<()>,
) -> [Answer; 2] {
    send(&world.open, first).await;
    settled().await;
    backend.hold();
    let write = tokio::spawn(tower::ServiceExt::oneshot(world.open.clone(), put("/a")));
    settle().await;
    assert!(!write.is_finished());
    world.gate.close();
    let second = world.begin(second).await;
    backend.release();
    settle().await;
    assert!(write.is_finished(), "the write is answered");
    let third = world.begin(third).await;
    let second = world.finish(second).await;
    let third = world.finish(third).await;
    settled().await;
    [second, third]
}

fn world(page: Page) -> (TwoSteps, World<TwoSteps>) {
    let backend = TwoSteps::new(true);
    let layer = CacheLayer::new(backend.clone());
    (backend, World::new(&layer, page))
}

async fn assert_stored<B: Backend>(world: &World<B>, body: &str) {
    let later = send(&world.open, get("/a")).await;
    assert_eq!(later.body, body, "{}", later.cache_status());
}

/// Promise: no stale read after a write.
#[tokio::test(start_paused = true)]
async fn a_validation_that_looked_up_between_brings_nothing_back() {
    let (backend, world) = world(Page::new(&[FRESH, SAME_SECOND]));
    let second = validating(Method::GET);
    let [_, joined] = look_up_between((&backend, &world), get("/a"), second, get("/a")).await;
    assert_eq!(joined.body, "v2");
    assert_stored(&world, "v2").await;
}

/// RFC 9111 §4.3.5: a HEAD stores the body of the response that it updates.
#[tokio::test(start_paused = true)]
async fn a_head_that_looked_up_between_brings_nothing_back() {
    let page = Page::with_answer(|request, version| {
        let mut answer = Page::answer(&[FRESH, SAME_SECOND], format!("v{version}"));
        if request.method() == Method::HEAD {
            answer = answer.map(|_| crate::support::origin::full(""));
            let length = answer.headers_mut();
            length.insert("content-length", 2.into());
        }
        answer
    });
    let (backend, world) = world(page);
    let second = validating(Method::HEAD);
    let third = with(get("/other"), "cache-control", "no-cache");
    look_up_between((&backend, &world), get("/a"), second, third).await;
    assert_stored(&world, "v2").await;
}

/// RFC 9111 §3.4: stored parts are completed, or merged with a new one.
#[tokio::test(start_paused = true)]
async fn parts_that_were_looked_up_between_are_put_together_with_nothing() {
    for more in ["bytes=3-9", "bytes=7-9"] {
        let (backend, world) = world(digits(&[FRESH, SAME_SECOND]));
        let asks = |range| with(get("/a"), "range", range);
        let first = asks("bytes=0-4");
        let second = asks(more);
        look_up_between((&backend, &world), first, second, get("/other")).await;
        let all = send(&world.open, asks("bytes=0-4")).await;
        assert_eq!(all.body, "abcde", "{more}: {}", all.cache_status());
    }
}

/// A backend that cannot tell is safe: nothing is validated.
#[tokio::test(start_paused = true)]
async fn without_a_word_of_the_backend_nothing_is_validated() {
    for (tells, is_validated) in [(true, true), (false, false)] {
        let page = Page::new(&[FRESH, SAME_SECOND]);
        let layer = CacheLayer::new(TwoSteps::new(tells));
        let world = World::new(&layer, page);
        send(&world.open, get("/a")).await;
        settled().await;
        let answer = send(&world.open, validating(Method::GET)).await;
        assert_eq!(answer.body, "v1");
        let asked = world.page.last_read();
        assert_eq!(asked.contains_key("if-modified-since"), is_validated);
    }
}
