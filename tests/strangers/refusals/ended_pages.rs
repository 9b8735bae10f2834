//! A page that is not shareable any more is not served stale for all of its window, however
//! rarely clients come; and a few odd requests do not end that window for others.

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{burst, layer, refusing};
use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, send, with};

const WINDOW: &str = "max-age=1, stale-while-revalidate=86400";

/// A page that is shareable at first, and ever after answered like this.
fn ended(status: u16, line: &'static str) -> Origin {
    slow(move |_, call| match call {
        1 => answer(200, &[("cache-control", WINDOW)], "old"),
        _ => answer(status, &[("cache-control", line)], "new"),
    })
}

fn traced(number: usize) -> Request<()> {
    with(get("/a"), "traceparent", &number.to_string())
}

/// The number of clients that get the old page within six hours.
async fn stale_answers(
    origin: Origin,
    pause: u32,
    request: impl Fn(usize) -> Request<()>,
) -> usize {
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    let (begun, mut number, mut stale) = (Instant::now(), 0, 0);
    while begun.elapsed() < 6 * 3600 * SECOND {
        sleep(SECOND * pause).await;
        number += 1;
        let got = send(&service, request(number)).await;
        stale += usize::from(got.body == "old");
    }
    stale
}

#[tokio::test(start_paused = true)]
async fn a_page_that_ends_to_be_shareable_is_not_served_for_hours() {
    for (status, line) in [
        (200, "private"),
        (401, "no-store"),
        (403, "no-store"),
        (404, "no-store"),
        (410, "no-store"),
    ] {
        for (pause, most) in [(5, 12), (10, 7), (30, 3), (300, 3)] {
            let stale = stale_answers(ended(status, line), pause, traced).await;
            println!("{status} {line}, a client each {pause} s: {stale}");
            assert!(stale <= most, "{status} {line} {pause}: {stale}");
        }
    }
}

/// The clients send the same fields, so that the first refusal says what each of them will get.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_refused_to_alike_clients_is_served_stale_once() {
    for pause in [10, 60, 300] {
        for (status, line) in [(200, "private"), (404, "no-store"), (302, "no-store")] {
            let stale = stale_answers(ended(status, line), pause, |_| get("/a")).await;
            println!("{status} {line}, each {pause} s: {stale}");
            assert_eq!(stale, 1, "{status} {line} {pause}");
        }
    }
}

/// One client or two whose refreshes are refused, for hours, make no other one wait.
#[tokio::test(start_paused = true)]
async fn two_odd_clients_end_no_serving_while_revalidating() {
    let origin = refusing("x-odd", (200, [("cache-control", "private")]), WINDOW);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    for number in 0..50 {
        for odd in ["1", "2"] {
            sleep(SECOND * 300).await;
            send(&service, with(get("/a"), "x-odd", odd)).await;
        }
        sleep(SECOND * 300).await;
        let begun = Instant::now();
        let got = send(&service, traced(number)).await;
        assert!(got.body == "page" && begun.elapsed() < SLOW, "{got:?}");
        sleep(SLOW * 2).await;
    }
}

/// Where refused refreshes have ended it, the next clients share one call, whose response brings
/// back the serving while it is revalidated.
#[tokio::test(start_paused = true)]
async fn where_refused_refreshes_end_stale_use_one_call_is_shared() {
    let origin = refusing("x-odd", (404, [("cache-control", "no-store")]), WINDOW);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    for odd in ["1", "2", "3"] {
        sleep(SECOND * 100).await;
        send(&service, with(get("/a"), "x-odd", odd)).await;
    }
    sleep(SECOND * 100).await;
    let herd = (0..100).map(traced).collect();
    let begun = Instant::now();
    let (calls, answers) = burst(&service, &origin, herd).await;
    assert_eq!(calls, 1);
    assert!(answers.iter().all(|got| got.body == "page"));
    assert!(begun.elapsed() <= SLOW * 2);
    sleep(SECOND * 100).await;
    settle().await;
    let got = send(&service, traced(1000)).await;
    assert!(
        got.cache_status().contains("stale-while-revalidate"),
        "{got:?}"
    );
}
