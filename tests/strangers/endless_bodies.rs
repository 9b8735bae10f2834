//! Responses whose bodies have no end: they are waited for once, and part no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{self, Origin, answer, cacheable, data, scripted};
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, gets, send, send_all, with};

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// A body of which a byte comes in each of these times, for ever. A length is announced, or not.
fn trickling(each: Duration, is_announced: bool) -> origin::Response {
    let (script, body) = scripted();
    script.send(data("x")).expect("room");
    tokio::spawn(async move {
        loop {
            sleep(each).await;
            if script.send(data("x")).is_err() {
                return;
            }
        }
    });
    let lines = [
        ("cache-control", "max-age=60"),
        ("content-length", "900000"),
    ];
    answer(200, &lines[..if is_announced { 2 } else { 1 }], "").map(|_| body)
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

/// A body that has no end is waited for once, for as long as bodies are collected: from then on each
/// client has its own at once.
#[tokio::test(start_paused = true)]
async fn a_body_without_an_end_is_waited_for_once() {
    for is_announced in [false, true] {
        let origin =
            Origin::new(
                move |_: Request<()>| async move { Ok(trickling(SECOND * 4, is_announced)) },
            );
        let layer = layer();
        let service = layer.layer(origin.clone());
        for (round, most) in [30, 0, 0].into_iter().enumerate() {
            let begun = Instant::now();
            let mut heads = JoinSet::new();
            for _ in 0..20 {
                let response = service.clone().oneshot(get("/a"));
                heads.spawn(async move { (response.await.expect("a head"), begun.elapsed()) });
            }
            let heads = heads.join_all().await;
            let took = heads.iter().map(|(_, took)| *took).max();
            assert_eq!(took, Some(SECOND * most), "round {round}, {is_announced}");
            drop(heads);
            sleep(SECOND * 100).await;
        }
        assert_eq!(origin.calls(), 60);
        assert!(layer.handle().stats().refusals.get(Refusal::Endless) > 0);
    }
}

/// What has no end for one client's fields is waited for by others as a call that hangs, and they
/// share one call. Where many different requests had no end, as long.
#[tokio::test(start_paused = true)]
async fn bodies_without_an_end_part_no_others() {
    for requests in [1, 7, 8, 20] {
        let origin = Origin::new(move |request: Request<()>| async move {
            Ok(match request.headers().contains_key("x-odd") {
                true => trickling(SECOND, false),
                false => {
                    sleep(SECOND * 5).await;
                    cacheable("page")
                }
            })
        });
        let service = layer().layer(origin.clone());
        let mut strangers = JoinSet::new();
        for number in 0..requests {
            let response = service.clone().oneshot(odd(number));
            strangers.spawn(async move { response.await.expect("a head").collect().await.is_ok() });
        }
        sleep(SECOND * 100).await;
        let (begun, before) = (Instant::now(), origin.calls());
        let answers = send_all(&service, gets(200)).await;
        assert!(answers.iter().all(|answer| answer.body == "page"));
        let took = (origin.calls() - before, begun.elapsed());
        assert_eq!(took, (1, SECOND * 5), "{requests}");
        strangers.abort_all();
    }
}

/// A response with an end that is stored ends what was noted: its key is coalesced as before.
#[tokio::test(start_paused = true)]
async fn a_body_with_an_end_makes_others_wait_again() {
    let has_end = Arc::new(AtomicBool::new(false));
    let seen = has_end.clone();
    let origin = Origin::new(move |_: Request<()>| {
        let has_end = seen.load(Ordering::Relaxed);
        async move {
            sleep(SECOND).await;
            Ok(match has_end {
                false => trickling(SECOND, false),
                true => answer(200, &[("cache-control", "max-age=2")], "page"),
            })
        }
    });
    let service = layer().layer(origin.clone());
    let head = service.clone().oneshot(get("/a")).await.expect("a head");
    let reading = tokio::spawn(async move { head.collect().await.is_ok() });
    sleep(SECOND * 40).await;
    reading.abort();
    has_end.store(true, Ordering::Relaxed);
    // None of these waits: each could be without an end. The next ones do.
    for calls in [20, 1, 1] {
        let before = origin.calls();
        let answers = send_all(&service, gets(20)).await;
        assert!(answers.iter().all(|answer| answer.body == "page"));
        assert_eq!(origin.calls() - before, calls);
        sleep(SECOND * 4).await;
    }
}

/// Where many different requests had no end, one more that leads, or a page slower than others wait
/// for, costs a few calls in turn, not one for each client.
#[tokio::test(start_paused = true)]
async fn endless_bodies_cost_a_few_calls() {
    for (noted, leads, delay) in [
        (7, true, SECOND / 10),
        (8, true, SECOND / 10),
        (20, true, SECOND / 10),
        (7, false, SECOND * 12),
        (8, false, SECOND * 12),
    ] {
        let origin = Origin::new(move |request: Request<()>| async move {
            if request.headers().contains_key("x-odd") {
                return Ok(trickling(SECOND, false));
            }
            sleep(delay).await;
            Ok(cacheable("page"))
        });
        let service = layer().layer(origin.clone());
        let mut strangers = JoinSet::new();
        let ask = |number| {
            let response = service.clone().oneshot(odd(number));
            async move { response.await.expect("a head").collect().await.is_ok() }
        };
        for number in 0..noted {
            strangers.spawn(ask(number));
        }
        sleep(SECOND * 100).await;
        if leads {
            strangers.spawn(ask(100));
            settle().await;
        }
        let (begun, before) = (Instant::now(), origin.calls());
        let answers = send_all(&service, gets(200)).await;
        assert!(answers.iter().all(|answer| answer.body == "page"));
        let (calls, took) = (origin.calls() - before, begun.elapsed());
        assert!(calls <= 9, "{noted}, {leads}: {calls} calls");
        assert!(took <= SECOND * 23, "{noted}, {leads}: {took:?}");
        strangers.abort_all();
    }
}

/// What a stranger's requests do.
#[derive(Clone, Copy, PartialEq)]
enum Stranger {
    None,
    Hangs,
    Endless,
}

/// The calls of honest clients, who come in bursts each two minutes for half an hour beside a
/// stranger, and the time that each waited on average.
async fn bursts_beside(stranger: Stranger) -> (usize, Duration) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let counted = counted.clone();
        async move {
            if request.headers().contains_key("x-odd") {
                if stranger == Stranger::Hangs {
                    sleep(SECOND * 3600).await;
                }
                return Ok(trickling(SECOND, false));
            }
            counted.fetch_add(1, Ordering::Relaxed);
            sleep(SECOND / 10).await;
            Ok(answer(200, &[("cache-control", "max-age=10")], "page"))
        }
    });
    let service = layer().layer(origin);
    let (mut strangers, mut honest) = (JoinSet::new(), JoinSet::new());
    let attacked = service.clone();
    strangers.spawn(async move {
        let mut running = JoinSet::new();
        let requests = match stranger {
            Stranger::None => 0,
            Stranger::Hangs | Stranger::Endless => usize::MAX,
        };
        for number in 0..requests {
            let response = attacked.clone().oneshot(odd(number));
            running.spawn(timeout(SECOND * 70, async move {
                response.await.expect("a head").collect().await.is_ok()
            }));
            sleep(SECOND / 1000 * (750 + number as u32 * 997 % 1500)).await;
        }
    });
    for _ in 0..15 {
        sleep(SECOND * 118).await;
        for _ in 0..100 {
            let service = service.clone();
            honest.spawn(async move {
                let asked = Instant::now();
                assert_eq!(send(&service, get("/a")).await.body, "page");
                asked.elapsed()
            });
            sleep(SECOND / 50).await;
        }
    }
    let took = honest.join_all().await;
    strangers.abort_all();
    let mean = took.iter().sum::<Duration>() / 1500;
    (calls.load(Ordering::Relaxed), mean)
}

/// Beside bodies without an end others wait, and call, about as beside calls that hang.
#[tokio::test(start_paused = true)]
async fn endless_bodies_cost_others_what_calls_that_hang_cost() {
    let (alone, _) = bursts_beside(Stranger::None).await;
    let hanging = bursts_beside(Stranger::Hangs).await;
    let endless = bursts_beside(Stranger::Endless).await;
    println!("{alone} {hanging:?} {endless:?}");
    assert_eq!(alone, 15);
    assert!(endless.0 <= hanging.0 * 2 && endless.1 <= hanging.1 * 2);
}
