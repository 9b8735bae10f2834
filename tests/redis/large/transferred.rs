//! What requests for responses of several sizes transfer from Redis.

use std::time::Duration;

use http::{Method, Request};
use tower_response_cache::backend::{Guarded, RedisBackend};

use super::{Instance, Versions};
use crate::faults::world::{guarded, options, patient};
use crate::support::redis::{Link, LinkSpeed, RedisServer};
use crate::support::{get, request, send, send_all, with};

/// A link that does not slow anything down, and counts.
const INSTANT: LinkSpeed = LinkSpeed {
    bits_per_second: 100_000_000_000,
    round_trip: Duration::ZERO,
};

async fn instance_over(speed: LinkSpeed) -> (RedisServer, Link, Instance) {
    let server = RedisServer::start().await;
    let link = Link::to(server.port(), speed).await;
    let instance = Instance::new(patient(options(&link.url())));
    (server, link, instance)
}

/// The bytes that the server sends for one request.
async fn received(link: &Link, instance: &Instance, request: Request<()>, status: u16) -> u64 {
    let before = link.bytes_from_server();
    let answer = send(&instance.service, request).await;
    assert_eq!(answer.status, status);
    assert!(answer.is_hit(), "{}", answer.cache_status());
    link.bytes_from_server() - before
}

/// `docs/redis.md` has the table that this prints.
#[tokio::test]
async fn a_304_a_head_and_a_small_range_of_a_large_response_transfer_little() {
    const NEARLY_NOTHING: u64 = 20_000;
    let (_server, link, instance) = instance_over(INSTANT).await;
    println!("| size | hit | 304 | HEAD | 10-byte range |");
    for size in [1_000, 30_000, 100_000, 900_000] {
        let path = format!("/{size}/page");
        instance.fill(&path).await;
        // The first connection for transfers.
        instance.read(&path).await;
        let get = || get(&path);
        let hit = received(&link, &instance, get(), 200).await;
        let not_modified = with(get(), "if-none-match", "\"0\"");
        let not_modified = received(&link, &instance, not_modified, 304).await;
        let head = received(&link, &instance, request(Method::HEAD, &path), 200).await;
        let mut ranges = Vec::new();
        for start in [0, size / 2 - 5, size - 10] {
            let range = with(get(), "range", &format!("bytes={start}-{}", start + 9));
            ranges.push(received(&link, &instance, range, 206).await);
        }
        let range = ranges.iter().max().expect("three");
        println!("| {size} | {hit} | {not_modified} | {head} | {range} |");
        assert!(hit >= size && hit < size + 10_000, "{hit} for {size}");
        if size > 32 * 1024 {
            let most = not_modified.max(head).max(*range);
            assert!(most <= NEARLY_NOTHING, "{most} of {size}");
        }
    }
}

/// Ranges are cut where chunks begin and end, and beyond the end there is nothing.
#[tokio::test]
async fn ranges_of_a_large_response_have_the_right_bytes() {
    const SIZE: usize = 100_000;
    let (_server, _link, instance) = instance_over(INSTANT).await;
    let path = format!("/{SIZE}/page");
    instance.fill(&path).await;
    for (range, status, content_range, length) in [
        ("bytes=0-8191", 206, "bytes 0-8191/100000", 8192),
        ("bytes=8192-16383", 206, "bytes 8192-16383/100000", 8192),
        ("bytes=8191-8192", 206, "bytes 8191-8192/100000", 2),
        ("bytes=-1", 206, "bytes 99999-99999/100000", 1),
        ("bytes=99990-", 206, "bytes 99990-99999/100000", 10),
        ("bytes=0-", 206, "bytes 0-99999/100000", SIZE),
        ("bytes=100000-", 416, "bytes */100000", 0),
    ] {
        let answer = send(&instance.service, with(get(&path), "range", range)).await;
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.body, "a".repeat(length), "{range}");
    }
    let several = with(get(&path), "range", "bytes=0-1,50000-50001");
    let several = send(&instance.service, several).await;
    assert_eq!(several.status, 206);
    assert_eq!(several.body.matches("aa\r\n").count(), 2);
    let other = with(get(&path), "if-none-match", "\"other\"");
    let whole = send(&instance.service, other).await;
    assert_eq!((whole.status.as_u16(), whole.body.len()), (200, SIZE));
    assert_eq!(instance.origin.calls(), 1);
}

/// Sends 16 equal requests for `/900000/page` at the same time, which share one transfer. Each
/// response has the status, and a body of that length.
async fn assert_transferred_once(request: impl Fn() -> Request<()>, status: u16, length: usize) {
    let (_server, link, instance) = instance_over(LinkSpeed::FAST).await;
    instance.fill("/900000/page").await;
    let before = link.bytes_from_server();
    let requests = (0..16).map(|_| request());
    for answer in send_all(&instance.service, requests).await {
        assert_eq!(answer.status, status);
        assert!(answer.is_hit() && answer.body == "a".repeat(length));
    }
    let received = link.bytes_from_server() - before;
    assert!(received < 2 * 900_000, "{received}");
}

/// Requests for one large response at the same time share one transfer.
#[tokio::test]
async fn concurrent_hits_share_a_transfer() {
    assert_transferred_once(|| get("/900000/page"), 200, 900_000).await;
}

/// Nor do ranges of most of it transfer it once for each.
#[tokio::test]
async fn concurrent_long_ranges_share_a_transfer() {
    let range = || with(get("/900000/page"), "range", "bytes=1-");
    assert_transferred_once(range, 206, 899_999).await;
}

/// The bytes that the server sends for requests for `/100000/page` at the same time, all of which
/// are hits.
async fn received_for(requests: impl Iterator<Item = Request<()>>) -> u64 {
    // A transfer takes much longer than a lookup, however busy this machine is.
    let speed = LinkSpeed {
        bits_per_second: 4_000_000,
        round_trip: Duration::from_millis(40),
    };
    let (_server, link, instance) = instance_over(speed).await;
    instance.fill("/100000/page").await;
    let before = link.bytes_from_server();
    for answer in send_all(&instance.service, requests).await {
        assert!(answer.is_hit(), "{}", answer.cache_status());
    }
    link.bytes_from_server() - before
}

/// Promise: equal ranges at the same time are read once, also short ones.
#[tokio::test]
async fn concurrent_small_ranges_share_a_transfer() {
    let range = |_| with(get("/100000/page"), "range", "bytes=50000-50009");
    let received = received_for((0..32).map(range)).await;
    assert!(received < 8 * 8192, "{received}");
}

/// Promise: so are ranges beside the whole of a body that is not long.
#[tokio::test]
async fn ranges_beside_a_whole_body_share_its_transfer() {
    let range = |start: usize| with(get("/100000/page"), "range", &format!("bytes={start}-"));
    let ranges = (1..8).map(|number| range(number * 10_000));
    let received = received_for([get("/100000/page")].into_iter().chain(ranges)).await;
    assert!(received < 250_000, "{received}");
}

/// A range moves what it needs, however long the body is, and has the time that it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_a_very_long_body_transfer_their_chunks() {
    const SIZE: usize = 40_000_000;
    let server = RedisServer::start().await;
    let link = Link::to(server.port(), LinkSpeed::SLOW).await;
    let versions = Versions::default();
    let instance = |backend: Guarded<RedisBackend>| {
        Instance::with(backend, versions.clone(), |layer| {
            layer.max_body(SIZE as u64)
        })
    };
    let options = |url: &str| {
        options(url)
            .namespace("long")
            .max_response_size(SIZE as u64 + 1000)
    };
    let path = format!("/{SIZE}/page");
    instance(patient(options(&server.url()))).fill(&path).await;
    // The time limits that it has by default.
    let slow = guarded(options(&link.url())).lookup_deadline(Duration::from_secs(2));
    let slow = instance(slow);
    for (range, length) in [
        ("bytes=0-99999", 100_000),
        ("bytes=0-199999", 200_000),
        ("bytes=1000000-1199999", 200_000),
        ("bytes=-300000", 300_000),
        ("bytes=156249-156250", 2),
    ] {
        let before = link.bytes_from_server();
        let answer = send(&slow.service, with(get(&path), "range", range)).await;
        let moved = link.bytes_from_server() - before;
        assert!(answer.is_hit(), "{range}: {}", answer.cache_status());
        assert_eq!((answer.status.as_u16(), answer.body.len()), (206, length));
        // Two chunks of 156,250 bytes more, and the head.
        assert!(moved < length as u64 + 330_000, "{range}: {moved}");
    }
}

/// Reads so many pages of 100 KB at once over a link, and returns how many are hits. All are whole.
async fn hits_of(pages: usize) -> usize {
    let server = RedisServer::start().await;
    let link = Link::to(server.port(), LinkSpeed::SLOW).await;
    let one = options(&server.url()).namespace("many");
    let filling = Instance::new(patient(one));
    let path = |number| format!("/100000/{number}");
    for number in 0..pages {
        filling.fill(&path(number)).await;
    }
    let instance = Instance::new(patient(options(&link.url()).namespace("many")));
    let requests = (0..pages).map(|number| get(&path(number)));
    let answers = send_all(&instance.service, requests).await;
    let whole = "a".repeat(100_000);
    assert!(answers.iter().all(|answer| answer.body == whole));
    let hits = answers.iter().filter(|answer| answer.is_hit()).count();
    assert_eq!(instance.origin.calls(), pages - hits);
    let health = instance.handle.stats().health.expect("its health");
    assert_eq!(health.failures, 0, "a refusal is no failure");
    hits
}

/// Promise: bodies that are not long are not refused for their number.
#[tokio::test]
async fn many_large_pages_at_once_are_hits() {
    assert_eq!(hits_of(96).await, 96);
}

/// Bodies that would wait for too long come from the origin. None is torn or waited for.
#[tokio::test]
async fn more_large_pages_than_transfers_are_all_answered() {
    let hits = hits_of(200).await;
    assert!((160..200).contains(&hits), "{hits}");
}
