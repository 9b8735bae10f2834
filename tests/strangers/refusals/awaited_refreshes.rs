//! Where refreshes of others were refused, the next requests call first. They are no worse off
//! for it than without those others, when the call fails or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::{burst, layer, refusing};
use crate::support::origin::{Origin, OriginError, after, answer};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, gets, request, send, send_all, with};

const WINDOW: &str = "max-age=1, stale-while-revalidate=86400";
const TAG: &str = "\"1\"";

fn traced(number: usize) -> Request<()> {
    with(get("/a"), "traceparent", &number.to_string())
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

/// What becomes of an origin.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Status(u16),
    Error,
    Hangs,
}

/// A stranger's requests, and what an edge answers them, whatever is behind it.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    status: u16,
    requests: usize,
    in_outage: bool,
}

/// A page for all, behind an edge that answers requests with `x-odd` with a status, and `private`.
/// It is away while the switch is set.
fn edge(status: u16, outage: Outage) -> (Origin, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = is_away.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let is_away = away.load(Ordering::SeqCst);
        async move {
            sleep(SLOW).await;
            if request.headers().contains_key("x-odd") {
                return Ok(answer(status, &[("cache-control", "private")], "no"));
            }
            match outage {
                _ if !is_away => {
                    let lines = [("cache-control", WINDOW), ("etag", TAG)];
                    Ok(answer(200, &lines, "page"))
                }
                Outage::Status(status) => Ok(answer(status, &[], "down")),
                Outage::Error => Err(OriginError("down")),
                Outage::Hangs => {
                    sleep(SECOND * 100_000).await;
                    Err(OriginError("down"))
                }
            }
        }
    });
    (origin, is_away)
}

/// A page that has been stale for 62 seconds when the origin goes away, and whose refreshes were
/// refused to a stranger.
async fn away(stranger: Stranger, outage: Outage) -> (Cache<Origin, MemoryBackend>, Origin) {
    let (origin, is_away) = edge(stranger.status, outage);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(SECOND * 63).await;
    is_away.store(stranger.in_outage, Ordering::SeqCst);
    for number in 0..stranger.requests {
        send(&service, odd(number)).await;
        sleep(SLOW * 4).await;
    }
    is_away.store(true, Ordering::SeqCst);
    (service, origin)
}

fn strangers() -> impl Iterator<Item = Stranger> {
    [406, 401, 404, 200].into_iter().flat_map(|status| {
        [(3, false), (3, true), (8, true)].map(|(requests, in_outage)| Stranger {
            status,
            requests,
            in_outage,
        })
    })
}

const OUTAGES: [Outage; 5] = [
    Outage::Status(503),
    Outage::Status(501),
    Outage::Status(429),
    Outage::Error,
    Outage::Hangs,
];

/// RFC 5861 §3: an hour of outage, in which a client comes every ten seconds.
#[tokio::test(start_paused = true)]
async fn refused_refreshes_end_no_stale_use_in_an_outage() {
    for stranger in strangers() {
        for outage in OUTAGES {
            let (service, _) = away(stranger, outage).await;
            let mut longest = Duration::ZERO;
            for number in 0..360 {
                sleep(SECOND * 10).await;
                let begun = Instant::now();
                let got = send(&service, traced(number)).await;
                assert_eq!(
                    got.body, "page",
                    "{stranger:?} {outage:?} {number}: {got:?}"
                );
                longest = longest.max(begun.elapsed());
            }
            println!("{stranger:?} {outage:?}: {longest:?}");
            assert!(longest <= SECOND, "{stranger:?} {outage:?}: {longest:?}");
        }
    }
}

/// A herd shares a call that fails or hangs, and the next one, which runs in the background.
#[tokio::test(start_paused = true)]
async fn a_herd_in_an_outage_makes_few_calls() {
    for (outage, most) in [
        (Outage::Status(503), SLOW),
        (Outage::Error, SLOW),
        (Outage::Hangs, SECOND),
    ] {
        let stranger = Stranger {
            status: 404,
            requests: 8,
            in_outage: true,
        };
        let (service, origin) = away(stranger, outage).await;
        let begun = Instant::now();
        let (calls, answers) = burst(&service, &origin, (0..100).map(traced).collect()).await;
        println!("{outage:?}: {calls} calls in {:?}", begun.elapsed());
        assert!(answers.iter().all(|got| got.body == "page"));
        assert!(calls <= 2 && begun.elapsed() <= most + SLOW, "{outage:?}");
    }
}

/// HEAD, ranges and conditions are answered from the stale response, as if there were no stranger.
#[tokio::test(start_paused = true)]
async fn other_forms_of_a_request_use_the_stale_response_too() {
    for outage in OUTAGES {
        let stranger = Stranger {
            status: 404,
            requests: 3,
            in_outage: true,
        };
        let (service, _) = away(stranger, outage).await;
        for (request, status) in [
            (request(Method::HEAD, "/a"), 200),
            (with(get("/a"), "range", "bytes=0-1"), 206),
            (with(get("/a"), "if-none-match", TAG), 304),
            (get("/a"), 200),
        ] {
            let (case, begun) = (format!("{outage:?} {request:?}"), Instant::now());
            let got = send(&service, request).await;
            assert_eq!(got.status, status, "{case}: {got:?}");
            assert!(begun.elapsed() <= SECOND, "{case}");
            sleep(SECOND * 20).await;
        }
    }
}

/// The response to a call that has taken too long for its own client is stored all the same.
#[tokio::test(start_paused = true)]
async fn a_client_that_turns_to_the_stale_response_cancels_no_call() {
    for others in [0, 3] {
        let origin = Origin::new(|request: Request<()>| async move {
            if request.headers().contains_key("x-odd") {
                return Ok(answer(404, &[], "no"));
            }
            let is_first = !request.headers().contains_key("traceparent");
            sleep(if is_first { SLOW } else { SECOND * 3 }).await;
            let page = if is_first { "old" } else { "new" };
            let directives = "max-age=10, stale-while-revalidate=86400";
            Ok(answer(200, &[("cache-control", directives)], page))
        });
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 80).await;
        for number in 0..3 {
            send(&service, odd(number)).await;
            settle().await;
        }
        let begun = Instant::now();
        let (calls, answers) = burst(&service, &origin, (0..=others).map(traced).collect()).await;
        assert_eq!(begun.elapsed(), SECOND);
        assert!(answers.iter().all(|got| got.body == "old"));
        // Those that have waited for another's call begin a refresh beside it.
        assert_eq!(calls, 1 + others.min(1));
        sleep(SECOND * 5).await;
        let got = send(&service, traced(9)).await;
        assert!(got.is_hit() && got.body == "new", "{got:?}");
    }
}

/// L4c: a stranger's call that hangs, begun when its refreshes have been refused.
#[tokio::test(start_paused = true)]
async fn a_hanging_call_after_refused_refreshes_makes_others_wait_a_second_at_most() {
    for status in [406, 404] {
        for (refused, hanging, honest_pause) in [(8, 1, 4), (8, 1, 2), (8, 3, 4), (3, 1, 70)] {
            let (longest, mean) = waits(status, refused, hanging, SECOND * honest_pause).await;
            println!(
                "{status}, {refused} + {hanging} each {honest_pause} s: {longest:?}, {mean:?}"
            );
            assert!(longest <= SECOND, "{status}: {longest:?}");
        }
    }
}

/// The longest and the mean wait of an honest client after a stranger's requests.
async fn waits(
    status: u16,
    refused: usize,
    hanging: usize,
    honest_pause: Duration,
) -> (Duration, Duration) {
    let origin = Origin::new(move |request: Request<()>| async move {
        if request.headers().contains_key("x-slow") {
            sleep(SECOND * 3600).await;
        }
        sleep(SLOW).await;
        match request.headers().contains_key("x-odd") {
            true => Ok(answer(status, &[], "no")),
            false => Ok(answer(200, &[("cache-control", WINDOW)], "page")),
        }
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    let (mut longest, mut sum, mut number) = (Duration::ZERO, Duration::ZERO, 0);
    let rounds = 50;
    for round in 0..rounds {
        let begun = Instant::now();
        let is_rare = honest_pause > SECOND * 60;
        sleep(if is_rare {
            SECOND * 62
        } else {
            SECOND + SLOW * 2
        })
        .await;
        for _ in 0..refused {
            number += 1;
            send(&service, odd(number)).await;
            sleep(SLOW * 6 / 5).await;
        }
        for _ in 0..hanging {
            number += 1;
            let slow = with(get("/a"), "x-slow", &number.to_string());
            let service = service.clone();
            tokio::spawn(async move { send(&service, slow).await });
        }
        sleep(SLOW / 5).await;
        sleep(honest_pause.saturating_sub(begun.elapsed())).await;
        let begun = Instant::now();
        let got = send(&service, traced(round)).await;
        assert_eq!(got.body, "page");
        longest = longest.max(begun.elapsed());
        sum += begun.elapsed();
    }
    (longest, sum / u32::try_from(rounds).expect("few"))
}

/// The patience grows with the time that the page takes.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_as_slow_as_ever_is_waited_for() {
    let origin = after(SECOND * 3, |request, _| {
        match request.headers().contains_key("x-odd") {
            true => answer(404, &[], "no"),
            false => answer(200, &[("cache-control", WINDOW)], "page"),
        }
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    sleep(SECOND * 62).await;
    for number in 0..3 {
        send(&service, odd(number)).await;
        sleep(SECOND * 4).await;
    }
    let begun = Instant::now();
    let got = send(&service, traced(1)).await;
    assert!(!got.is_hit() && begun.elapsed() == SECOND * 3, "{got:?}");
}

/// Once the stale response may not be used any more, a request waits as all others do.
#[tokio::test(start_paused = true)]
async fn a_stale_window_that_ends_meanwhile_is_over() {
    let origin = Origin::new(|request: Request<()>| async move {
        if request.headers().contains_key("x-slow") {
            sleep(SECOND * 3600).await;
        }
        sleep(SLOW).await;
        match request.headers().contains_key("x-odd") {
            true => Ok(answer(404, &[], "no")),
            false => {
                let directives = "max-age=1, stale-while-revalidate=70";
                Ok(answer(200, &[("cache-control", directives)], "page"))
            }
        }
    });
    for is_leader in [false, true] {
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 63).await;
        for number in 0..3 {
            send(&service, odd(number)).await;
            sleep(SLOW * 2).await;
        }
        sleep(SECOND * 7).await;
        let slow = with(get("/a"), "x-slow", "1");
        let others = service.clone();
        let hanging = tokio::spawn(async move { send(&others, slow).await });
        if is_leader {
            // Its window ends before its patience: it waits on.
            sleep(SECOND * 5).await;
            assert!(!hanging.is_finished());
        } else {
            settle().await;
            let begun = Instant::now();
            let got = send(&service, traced(1)).await;
            assert!(!got.is_hit() && got.body == "page", "{got:?}");
            println!("{:?}", begun.elapsed());
            assert!(begun.elapsed() <= SECOND * 12);
        }
        hanging.abort();
    }
}

/// A call for HEAD would be for its client alone. So HEAD awaits none: as without the stranger, its
/// refreshes are for all, and few where they fail or hang.
#[tokio::test(start_paused = true)]
async fn head_requests_share_the_refresh() {
    for (fault, most) in [
        (None, 1),
        (Some(Outage::Status(503)), 100),
        (Some(Outage::Hangs), 20),
    ] {
        for (status, strangers) in [(404, 3), (404, 8), (403, 3)] {
            let (origin, is_away) = edge(status, fault.unwrap_or(Outage::Error));
            let layer = layer();
            let service = layer.layer(origin.clone());
            send(&service, get("/a")).await;
            sleep(SECOND * 63).await;
            for number in 0..strangers {
                send(&service, odd(number)).await;
                sleep(SLOW * 2).await;
            }
            is_away.store(fault.is_some(), Ordering::SeqCst);
            let (begun, before) = (Instant::now(), origin.calls());
            for round in 0..10 {
                let head = |number: usize| {
                    let trace = (round * 100 + number).to_string();
                    with(request(Method::HEAD, "/a"), "traceparent", &trace)
                };
                let asked = Instant::now();
                let answers = send_all(&service, (0..100).map(head)).await;
                assert!(answers.iter().all(|got| got.status == 200 && got.is_hit()));
                assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits");
                sleep(SLOW).await;
            }
            let calls = origin.calls() - before;
            println!(
                "{fault:?} {status} {strangers}: {calls} in {:?}",
                begun.elapsed()
            );
            assert!(calls <= most, "{fault:?}, {strangers} x {status}: {calls}");
        }
    }
}

/// Requests that are rejected for their own fault end no serving while revalidating.
#[tokio::test(start_paused = true)]
async fn rejected_refreshes_make_no_other_wait() {
    for status in [400, 405, 406, 407, 411, 412, 413, 414, 415, 416, 417, 431] {
        let origin = refusing("x-odd", (status, [("cache-control", "no-store")]), WINDOW);
        let service = layer().layer(origin);
        send(&service, get("/a")).await;
        for (number, pause) in (0..20).map(|number| (number, number as u32)) {
            sleep(SECOND * pause).await;
            send(&service, odd(number)).await;
            sleep(SLOW * 2).await;
        }
        let begun = Instant::now();
        let got = send(&service, traced(1)).await;
        assert!(begun.elapsed() < SLOW && got.is_hit(), "{status}: {got:?}");
    }
}

/// A page that ends in the middle of this: each client gets what the origin says by now.
#[tokio::test(start_paused = true)]
async fn an_awaited_call_that_is_refused_is_the_clients_answer() {
    for (status, line) in [(401, "no-store"), (404, "no-store"), (200, "private")] {
        let origin = after(SLOW, move |_, call| match call {
            1 => answer(200, &[("cache-control", WINDOW)], "old"),
            _ => answer(status, &[("cache-control", line)], "new"),
        });
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 62).await;
        for number in 0..3 {
            send(&service, odd(number)).await;
            sleep(SLOW * 2).await;
        }
        let begun = Instant::now();
        let (_, answers) = burst(&service, &origin, (0..50).map(traced).collect()).await;
        assert!(answers.iter().all(|got| got.body == "new"), "{status}");
        assert!(begun.elapsed() <= SLOW * 4, "{:?}", begun.elapsed());
        // Also where all send the same fields.
        let (_, answers) = burst(&service, &origin, gets(50).collect()).await;
        assert!(answers.iter().all(|got| got.body == "new"), "{status}");
    }
}
