//! Keys of which no response is stored: one refusal says nothing of the others' responses.

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::{Cache, CacheLayer};

use super::{burst, layer, refusing};
use crate::support::origin::{Origin, answer, cacheable, slow};
use crate::support::time::{SECOND, SLOW, settle, settled};
use crate::support::{get, gets, send, with};

type MemoryCache = Cache<Origin, tower_response_cache::backend::MemoryBackend>;
type MemoryLayer = CacheLayer<tower_response_cache::backend::MemoryBackend>;

/// How many calls a hundred requests cost that come while a stranger's requests are under way.
async fn calls_beside(
    layer: MemoryLayer,
    origin: &Origin,
    odd: usize,
    stranger: impl Fn(Request<()>) -> Request<()>,
    own: impl Fn(Request<()>) -> Request<()>,
) -> usize {
    let service = layer.layer(origin.clone());
    let requests = (0..odd)
        .map(|_| stranger(get("/a")))
        .chain(gets(100).map(own));
    let (calls, answers) = burst(&service, origin, requests.collect()).await;
    let others = answers.iter().filter(|answer| answer.body == "page");
    assert!(others.count() >= 100);
    calls
}

/// A request whose field is in no key and in no `Vary`.
#[tokio::test(start_paused = true)]
async fn an_odd_request_ends_no_sharing_of_a_cold_key() {
    for (status, line) in [
        (200, ("cache-control", "no-store")),
        (200, ("cache-control", "no-cache")),
        (200, ("set-cookie", "id=1")),
        (404, ("cache-control", "private")),
        (400, ("cache-control", "no-store")),
    ] {
        for name in [None, Some("cookie"), Some("authorization")] {
            let origin = refusing("x-preview", (status, [line]), "public, max-age=60");
            let of_kind = |request| match name {
                Some(name) => with(request, name, "id=1"),
                None => request,
            };
            let odd = |request| with(of_kind(request), "x-preview", "1");
            let calls = calls_beside(layer(), &origin, 1, odd, of_kind).await;
            assert_eq!(calls, 2, "{status} {line:?} {name:?}");
        }
    }
}

/// RFC 9111 §4.1: the response is for another language, as its `Vary` says, however often the
/// request comes.
#[tokio::test(start_paused = true)]
async fn refusals_for_another_variant_end_no_sharing() {
    let origin = slow(|request, _| {
        let is_odd = request.headers().contains_key("accept-language");
        let (directive, body) = match is_odd {
            true => ("no-store", "other"),
            false => ("max-age=60", "page"),
        };
        let lines = [("cache-control", directive), ("vary", "accept-language")];
        answer(200, &lines, body)
    });
    let odd = |request| with(request, "accept-language", "xx");
    assert_eq!(calls_beside(layer(), &origin, 1, odd, |own| own).await, 2);
    let service = layer().layer(origin.clone());
    for _ in 0..5 {
        send(&service, odd(get("/a"))).await;
    }
    let requests = [odd(get("/a"))].into_iter().chain(gets(100));
    let (calls, _) = burst(&service, &origin, requests.collect()).await;
    assert_eq!(calls, 2);
}

/// A request that is rejected says nothing of its key, whether a response is stored or not.
#[tokio::test(start_paused = true)]
async fn rejected_requests_are_never_held_against_their_key() {
    let origin = refusing("x-odd", (400, []), "max-age=5");
    for is_known in [false, true] {
        let service = layer().layer(origin.clone());
        if is_known {
            send(&service, get("/a")).await;
            sleep(SECOND * 6).await;
        }
        let odd = (0..6).map(|_| with(get("/a"), "x-odd", "1"));
        burst(&service, &origin, odd.collect()).await;
        let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
        assert_eq!(calls, 1, "{is_known}");
    }
}

/// A response that is too large for the store says nothing of those that other requests get.
#[tokio::test(start_paused = true)]
async fn a_large_response_to_an_odd_request_ends_no_later_sharing() {
    let origin = slow(|request, _| match request.headers().contains_key("x-odd") {
        true => cacheable("x".repeat(2000)),
        false => cacheable("page"),
    });
    let service = layer().max_body(1000).layer(origin.clone());
    send(&service, with(get("/a"), "x-odd", "1")).await;
    settled().await;
    let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
    assert_eq!(calls, 1);
}

/// G5: odd requests, one after the other, are held against requests like them; up to seven
/// different ones.
#[tokio::test(start_paused = true)]
async fn odd_requests_in_a_row_end_no_sharing_of_a_cold_key() {
    let own = ("x-says", "nothing");
    for (lines, values) in [
        ([("cache-control", "no-store"), own], ["1"; 7]),
        ([("cache-control", "no-cache"), own], ["1"; 7]),
        (
            [("set-cookie", "id=1"), own],
            ["1", "1", "2", "2", "3", "3", "4"],
        ),
        (
            [("cache-control", "private"), ("vary", "x-preview")],
            ["1", "2", "3", "4", "5", "6", "7"],
        ),
    ] {
        let origin = slow(
            move |request, _| match request.headers().contains_key("x-preview") {
                true => answer(200, &lines, "preview"),
                false => answer(200, &[("cache-control", "max-age=60")], "page"),
            },
        );
        let service = layer().layer(origin.clone());
        for value in values {
            send(&service, with(get("/a"), "x-preview", value)).await;
        }
        sleep(SECOND * 5).await;
        let odd = [with(get("/a"), "x-preview", "1")];
        let (calls, answers) = burst(
            &service,
            &origin,
            odd.into_iter().chain(gets(100)).collect(),
        )
        .await;
        println!("{calls} calls");
        assert_eq!(calls, 2, "{lines:?}");
        assert!(answers[1..].iter().all(|answer| answer.body == "page"));
    }
}

/// A page of which each request gets its own: one call shows that, and is remembered.
#[tokio::test(start_paused = true)]
async fn one_refusal_ends_the_waiting_of_requests_like_it() {
    for vary in ["accept-encoding", "x-says"] {
        let origin = slow(move |_, call| {
            let lines = [("cache-control", "private"), ("vary", vary)];
            answer(200, &lines, format!("{call}"))
        });
        let service: MemoryCache = layer().layer(origin.clone());
        for (wait, rounds) in [(0, 2), (0, 1), (61, 2)] {
            sleep(SECOND * wait).await;
            let begun = Instant::now();
            let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
            assert_eq!((calls, begun.elapsed()), (100, SLOW * rounds), "{vary}");
            settle().await;
        }
    }
}
