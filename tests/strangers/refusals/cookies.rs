//! With cookies or credentials, too, refused requests of one client end no sharing of the page
//! that others get; and a personal page makes no queue.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{burst, layer};
use crate::support::origin::{Origin, after, answer, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, put, send, with};

/// The kinds of requests whose responses are personal more often than not.
const KINDS: [&[&str]; 3] = [&["cookie"], &["authorization"], &["cookie", "x-api-key"]];

fn of_kind(request: Request<()>, names: &[&'static str]) -> Request<()> {
    let add = |request, name: &&'static str| with(request, name, "a=b");
    names.iter().fold(request, add)
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

/// Requests of clients that all differ.
fn herd(names: &'static [&'static str]) -> Vec<Request<()>> {
    let traced = |number: usize| with(get("/a"), "traceparent", &number.to_string());
    let of_kind = |number| of_kind(traced(number), names);
    (0..100).map(of_kind).collect()
}

/// A page for all, and a response of its own for requests with `x-odd`.
fn page((status, line): (u16, &'static str), directives: &'static str) -> Origin {
    slow(move |request, _| {
        if *request.method() == Method::PUT {
            return answer(204, &[], "");
        }
        match request.headers().contains_key("x-odd") {
            true => answer(status, &[("cache-control", line)], "odd"),
            false => answer(200, &[("cache-control", directives)], "page"),
        }
    })
}

/// The number of calls for a herd of 100, 50 seconds after `strangers` refused requests.
async fn calls_for_herd(
    origin: Origin,
    names: &'static [&'static str],
    is_stored: bool,
    strangers: usize,
) -> (usize, Duration) {
    let service = layer().layer(origin.clone());
    if is_stored {
        send(&service, of_kind(get("/a"), names)).await;
    }
    sleep(SECOND * 6).await;
    for number in 0..strangers {
        send(&service, of_kind(odd(number), names)).await;
    }
    sleep(SECOND * 50).await;
    let begun = Instant::now();
    let (calls, answers) = burst(&service, &origin, herd(names)).await;
    let took = begun.elapsed();
    assert!(answers.iter().all(|got| got.body == "page"));
    (calls, took)
}

#[tokio::test(start_paused = true)]
async fn rejected_requests_end_no_sharing_of_any_kind() {
    for directives in [
        "public, max-age=5",
        "public, max-age=5, stale-while-revalidate=60",
        "public, max-age=5, must-revalidate",
    ] {
        for status in [400, 406] {
            for (names, is_stored) in KINDS.iter().flat_map(|it| [(*it, true), (*it, false)]) {
                for strangers in [8, 40] {
                    let origin = page((status, "no-store"), directives);
                    let (calls, took) = calls_for_herd(origin, names, is_stored, strangers).await;
                    let case = format!("{directives}, {status} {names:?}, stored: {is_stored}");
                    println!("{case}: {calls} calls, {took:?}");
                    assert!(calls == 1 && took <= SLOW * 2, "{case}: {calls}");
                }
            }
        }
    }
}

/// A stranger whose responses are refused, while a page is stored that others may use.
#[tokio::test(start_paused = true)]
async fn refused_responses_end_no_sharing_of_a_known_page() {
    for refused in [
        (200, "private"),
        (200, "no-store"),
        (302, "no-store"),
        (403, "no-store"),
    ] {
        for directives in ["public, max-age=5", "public, max-age=5, must-revalidate"] {
            for names in KINDS {
                let origin = page(refused, directives);
                let (calls, took) = calls_for_herd(origin, names, true, 8).await;
                println!("{refused:?} {directives} {names:?}: {calls} calls, {took:?}");
                assert!(calls == 1 && took <= SLOW * 2, "{refused:?}: {calls} calls");
            }
        }
    }
}

/// A crawler with a cookie, whose requests are refused, before each herd.
#[tokio::test(start_paused = true)]
async fn a_crawler_with_a_cookie_ends_no_sharing() {
    for refused in [(406, "no-store"), (200, "private")] {
        let origin = page(refused, "public, max-age=5");
        let service = layer().layer(origin.clone());
        send(&service, of_kind(get("/a"), KINDS[0])).await;
        sleep(SECOND * 6).await;
        let mut calls = 0;
        for round in 0..20 {
            for number in 0..8 {
                send(&service, of_kind(odd(round * 8 + number), KINDS[0])).await;
                sleep(SECOND * 3).await;
            }
            sleep(SECOND * 30).await;
            calls += burst(&service, &origin, herd(KINDS[0])).await.0;
            sleep(SECOND * 6).await;
        }
        println!("{refused:?}: {calls} calls for 2,000 requests");
        assert_eq!(calls, 20, "{refused:?}");
    }
}

/// How long each of a few bursts of clients of a personal page takes, which differ in their
/// cookies.
async fn bursts_of_personal_page(strangers: usize) -> [Duration; 3] {
    let origin = after(SECOND, |request, _| {
        match request.headers().contains_key("x-odd") {
            true => answer(400, &[("cache-control", "no-store")], "no"),
            false => answer(200, &[("cache-control", "private")], "own"),
        }
    });
    let service = layer().layer(origin.clone());
    let mut took = [Duration::ZERO; 3];
    for (round, took) in took.iter_mut().enumerate() {
        for number in 0..strangers {
            let service = service.clone();
            let odd = of_kind(odd(round * strangers + number), KINDS[0]);
            tokio::spawn(async move { send(&service, odd).await });
        }
        sleep(SECOND * 9).await;
        let of_user = |user: usize| with(get("/a"), "cookie", &format!("{round}-{user}"));
        let begun = Instant::now();
        burst(&service, &origin, (0..100).map(of_user).collect()).await;
        *took = begun.elapsed();
    }
    took
}

/// A personal page costs the first burst three call times and the later ones none, as ever. A
/// stranger whose requests are rejected costs a burst one call time.
#[tokio::test(start_paused = true)]
async fn a_personal_page_makes_no_queue_whatever_a_stranger_sends() {
    for (strangers, most) in [(0, [4, 1, 1]), (8, [4, 2, 2]), (40, [4, 2, 2])] {
        let took = bursts_of_personal_page(strangers).await;
        println!("{strangers} strangers: {took:?}");
        let ok = took
            .iter()
            .zip(most)
            .all(|(took, most)| *took <= SECOND * most);
        assert!(ok, "{strangers}: {took:?}");
    }
}

/// A write removes the page: that others have shared it a moment ago shows that it is for all. A
/// response that could have been stored is as good as one that is.
#[tokio::test(start_paused = true)]
async fn refused_responses_before_a_write_end_no_sharing() {
    for refused in [(200, "private"), (403, "no-store")] {
        for names in KINDS {
            let origin = page(refused, "public, max-age=600");
            let service = layer().layer(origin.clone());
            send(&service, of_kind(get("/a"), names)).await;
            for round in 0..5 {
                sleep(SECOND * 10 * round).await;
                send(&service, put("/a")).await;
                for number in 0..8 {
                    send(&service, of_kind(odd(number), names)).await;
                }
                let (calls, _) = burst(&service, &origin, herd(names)).await;
                assert_eq!(calls, 1, "{refused:?} {names:?}, round {round}");
            }
        }
    }
}
