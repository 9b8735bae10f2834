//! A stranger that goes from page to page, or sends requests of all kinds, and what it leaves.

use http::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::counted_page::{NAMES, ask, ask_for_pages, does, luck, page, start};
use super::{Client, FOR_EVER, MS, from, with_clients};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

/// A site with many pages: a stranger hangs on each of them. Each page holds up once in ten minutes;
/// but each request of an honest client is for a page that has not done so.
#[tokio::test(start_paused = true)]
async fn a_stranger_holds_up_each_page_of_a_site() {
    let mut all = Vec::new();
    // Pages; the requests of the stranger, each of which goes to the next page.
    for (pages, pause, attacks) in [(500, 20, false), (500, 20, true), (100, 100, true)] {
        let (origin, _) = page(|_| 50, "public, max-age=60");
        let service = with_clients().layer(origin.clone());
        let got = ask_for_pages(&service, (pages, 600), (pause, attacks)).await;
        println!("{pages} pages, each {pause} ms, attacks {attacks}: {got:?}");
        all.push(got);
    }
    let alone = all.remove(0);
    for got in all {
        assert!(got.mean <= alone.mean + SECOND, "{got:?}");
        assert!(got.long * 10 <= got.count, "{got:?}");
    }
}

/// What else a stranger's requests can be.
#[tokio::test(start_paused = true)]
async fn odd_kinds_of_requests_hold_up_others_once() {
    let mut bad = Vec::new();
    for directives in [
        "public, max-age=1",
        "public, max-age=1, stale-while-revalidate=5",
    ] {
        for (name, lines) in [
            ("plain", &[][..]),
            ("head", &[("x-method", "HEAD")]),
            ("range", &[("range", "bytes=0-1")]),
            ("if-range", &[("range", "bytes=0-1"), ("if-range", "\"1\"")]),
            ("if-none-match", &[("if-none-match", "\"1\"")]),
            ("if-match", &[("if-match", "\"1\"")]),
            ("no-cache", &[("cache-control", "no-cache")]),
            ("max-age=0", &[("cache-control", "max-age=0")]),
            ("max-stale", &[("cache-control", "max-stale=5")]),
            ("only-if-cached", &[("cache-control", "only-if-cached")]),
            ("cookie", &[("cookie", "a=b")]),
            ("authorization", &[("authorization", "Basic a")]),
        ] {
            for what in ["hangs", "takes 9000 200"] {
                let run = async |attacks: bool| {
                    let (origin, counts) = page(|_| 50, directives);
                    let service = with_clients().layer(origin);
                    let attacked = service.clone();
                    let attack = tokio::spawn(async move {
                        loop {
                            sleep(287 * MS).await;
                            let mut request = does("/a", what);
                            for (name, value) in lines {
                                match *name {
                                    "x-method" => *request.method_mut() = Method::HEAD,
                                    _ => request = with(request, name, value),
                                }
                            }
                            if attacks {
                                start(&attacked, request, FOR_EVER);
                            }
                        }
                    });
                    let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
                    let got = ask(&service, request, (100, 1000, FOR_EVER)).await;
                    attack.abort();
                    (got, counts.plain())
                };
                let (alone, beside) = (run(false).await, run(true).await);
                let is_bad = beside.0.mean > alone.0.mean + SECOND
                    || beside.0.long > 10
                    || beside.1 > 2 * alone.1 + 3;
                if is_bad {
                    println!("{directives}, {name}, {what}: {alone:?}, beside {beside:?}");
                    bad.push((directives, name, what));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Real threads: nothing panics, hangs or stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_leave_nothing() {
    let (origin, _) = page(|n| luck(n) % 40, "public, max-age=0, s-maxage=1");
    let layer = CacheLayer::new(MemoryBackend::default())
        .client_by(|request: &http::request::Parts| Some(request.extensions.get::<Client>()?.0))
        .coalesce_takeover_timeout(100 * MS)
        .coalesce_timeout(300 * MS)
        .fill_timeout(500 * MS);
    let handle = layer.handle();
    let service = layer.layer(origin);
    let mut all = JoinSet::new();
    for task in 0..40_u64 {
        let service = service.clone();
        all.spawn(async move {
            for round in 0..60_u64 {
                let random = luck((task * 1000 + round) as usize);
                let path = format!("/p{}", random % 3);
                let client = NAMES[(random / 3) as usize % 6];
                let what = match random % 7 {
                    0 => "hangs",
                    1 => "takes 30 500",
                    2 => "takes 60 403",
                    3 => "takes 120 200",
                    _ => "",
                };
                let mut request = from(client, get(&path));
                if !what.is_empty() {
                    request = with(request, "x-odd", what);
                }
                if random.is_multiple_of(11) {
                    request = with(request, "cache-control", "no-cache");
                }
                if random.is_multiple_of(29) {
                    *request.method_mut() = Method::POST;
                }
                let patience = MS * (20 + random as u32 % 200);
                let _ = timeout(patience, send(&service, request)).await;
            }
        });
    }
    timeout(60 * SECOND, async {
        while let Some(done) = all.join_next().await {
            done.expect("no panic")
        }
    })
    .await
    .expect("no hang");
    // What goes on without its client ends by then.
    sleep(SECOND).await;
    assert_eq!(handle.stats().in_flight, Default::default());
}
