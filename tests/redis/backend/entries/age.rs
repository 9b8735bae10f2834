//! The age of a response at an instance that did not store it: its age when it was written, plus
//! the time the server's clock says it was kept for.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, Lookup, PutOutcome};

use crate::backend::{evict, instance};
use crate::support::origin::{Origin, cacheable};
use crate::support::redis::{RedisServer, until};
use crate::support::sample::{Sample, at};
use crate::support::{get, send};

const KEPT: Duration = Duration::from_millis(300);
/// What whole milliseconds and two clocks' rates make, at most.
const SLACK: Duration = Duration::from_millis(10);

#[tokio::test]
async fn age_goes_on_from_where_it_was_whatever_clocks_say() {
    let server = RedisServer::start().await;
    let (one, other) = (instance(&server), instance(&server));
    let sample = Sample::of(&one, "/a", "a").await;
    let began = Instant::now();
    let fence = sample.fence(&one).await;
    let put = one.put(&sample.key, fence, sample.response.clone(), at(100));
    assert_eq!(put.await.expect("a put"), PutOutcome::Stored);
    sleep(KEPT).await;
    let found = other.get(&sample.key, at(5)).await;
    let Ok(Lookup::Found(response, _)) = found else {
        panic!("it is found, not {found:?}");
    };
    let age = response.freshness().age(at(5));
    // All that took time besides may have come before the server read its clock, or after it.
    let doubt = began.elapsed() - KEPT + SLACK;
    let expected = at(100).monotonic() + KEPT;
    assert!(age.abs_diff(expected) <= doubt, "{age:?}, {doubt:?}");
}

#[tokio::test]
async fn nothing_is_kept_for_longer_than_it_is_of_use() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    let fence = sample.fence(&backend).await;
    let put = backend.put(&sample.key, fence, sample.response.clone(), at(3000));
    assert_eq!(put.await.expect("a put"), PutOutcome::Stored);
    let ttl = async |kind: &str| {
        let names = server.names(&format!("test:{kind}*")).await;
        server.command(&["PTTL", &names[0]]).await.integer()
    };
    let until = sample.response.freshness().useful_until();
    let left = (until.expect("not for ever") - at(3000).monotonic()).as_millis() as i64;
    let about = |left: i64| left - 10_000..=left;
    assert!(about(left).contains(&ttl("e").await));
    // It lives on for as long as a fill may take.
    assert!(about(left + 60_000).contains(&ttl("l").await));
    for of_all in ["n", "q"] {
        assert!(ttl(of_all).await > left + 60_000);
    }
    assert_eq!(evict(&server, "").await, 4, "and nothing else");
}

#[tokio::test]
async fn a_hit_says_how_old_it_is_on_an_instance_with_another_clock() {
    let server = RedisServer::start().await;
    let origin = Origin::at_once(|_| {
        let mut response = cacheable("a");
        response
            .headers_mut()
            .insert("age", "70".parse().expect("a number"));
        response
    });
    let one = CacheLayer::new(instance(&server)).clock(|| at(1_000_000));
    send(&one.layer(origin.clone()), get("/a")).await;
    until("it is stored", async || one.handle().stats().stores == 1).await;
    let other = CacheLayer::new(instance(&server)).clock(|| at(7));
    let answer = send(&other.layer(origin.clone()), get("/a")).await;
    assert!(answer.is_hit());
    let age: u64 = answer.header("age").parse().expect("a number");
    assert!((70..=80).contains(&age), "{age}");
    assert_eq!(origin.calls(), 1);
}
