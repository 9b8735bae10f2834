//! A page that takes long to make is not much older beside a stranger whose requests hang, fail, or
//! take the places of its refreshes.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{around, layer};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, send_all, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The number of pages that a stranger has for itself.
const OWN_PAGES: usize = 40;

/// What a stranger sends, each time with other fields.
#[derive(Clone, Copy, Debug)]
enum Stranger {
    /// Requests that hang.
    Hangs,
    /// One of four fails, the others hang.
    Fails(u16),
    /// One of four takes 20 s, and is answered `no-store`.
    Slow,
    /// One of two is for a page of its own, which takes 20 s, and may not be stored after the first
    /// time.
    OwnPages,
}

impl Stranger {
    fn request(self, number: usize) -> Request<()> {
        let odd = |path: &str, what: &str| with(get(path), "x-odd", &format!("{what} {number}"));
        match self {
            Self::Fails(_) if number.is_multiple_of(4) => odd("/a", "fails"),
            Self::Slow if number.is_multiple_of(4) => odd("/a", "slow"),
            Self::OwnPages if number.is_multiple_of(2) => {
                odd(&own_page(number / 2 % OWN_PAGES), "slow")
            }
            _ => odd("/a", "hangs"),
        }
    }
}

fn own_page(number: usize) -> String {
    format!("/own/{number}")
}

/// A page that takes this long, and tells when its making began.
fn origin(cost: Duration, stranger: Stranger) -> Origin {
    let begun = Instant::now();
    Origin::new(move |request: Request<()>| async move {
        let made = begun.elapsed().as_millis().to_string();
        let odd = request.headers().get("x-odd");
        match odd.map(|odd| odd.to_str().expect("text")) {
            Some(odd) if odd.starts_with("slow") => {
                sleep(20 * SECOND).await;
                return Ok(answer(200, &[("cache-control", "no-store")], made));
            }
            Some(odd) if odd.starts_with("fails") => {
                let Stranger::Fails(status) = stranger else {
                    panic!("none fails");
                };
                return Ok(answer(status, &[], "no"));
            }
            Some(_) => sleep(FOR_EVER).await,
            None => sleep(cost).await,
        }
        Ok(answer(200, &[("cache-control", FOR_ALL)], made))
    })
}

/// The mean time for which the pages have been stale that honest clients get within five minutes, one
/// each second, beside a stranger who sends 20 a second; and the longest time that one waits.
async fn staleness(
    honest: impl Fn(usize) -> Request<()>,
    cost: Duration,
    stranger: Stranger,
) -> (Duration, Duration) {
    let begun = Instant::now();
    let service = layer().layer(origin(cost, stranger));
    let own_pages = (0..OWN_PAGES).map(|number| get(&own_page(number)));
    send_all(&service, own_pages.chain([honest(0)])).await;
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let mut state = 7;
        for number in 0.. {
            sleep(around(50, &mut state)).await;
            let (own, request) = (attacked.clone(), stranger.request(number));
            tokio::spawn(async move { send(&own, request).await });
        }
    });
    let (mut all, mut state) = (JoinSet::new(), 99);
    for number in 1..300 {
        sleep(around(1000, &mut state)).await;
        let (service, request) = (service.clone(), honest(number));
        all.spawn(async move {
            let asked = begun.elapsed();
            let got = send(&service, request).await;
            let made = MS * got.body.parse().expect("a number");
            let (now, fresh) = (begun.elapsed(), made + cost + SECOND);
            (now.saturating_sub(fresh), now - asked)
        });
    }
    let all = all.join_all().await;
    attack.abort();
    let mean = all.iter().map(|(stale, _)| *stale).sum::<Duration>() / all.len() as u32;
    let longest = all.iter().map(|(_, waited)| *waited).max();
    (mean, longest.expect("many"))
}

/// Strangers, and the milliseconds that the page takes.
const CASES: [(Stranger, &[u32]); 4] = [
    (Stranger::Hangs, &[50, 500, 1500, 4000]),
    (Stranger::Fails(500), &[50, 4000]),
    (Stranger::Slow, &[4000]),
    (Stranger::OwnPages, &[4000]),
];

/// How stale the page is at most for honest clients, on average.
async fn assert_staleness(honest: fn(usize) -> Request<()>, most: Duration) {
    for (stranger, costs) in CASES {
        for cost in costs {
            let (mean, longest) = staleness(honest, MS * *cost, stranger).await;
            println!("{cost} ms, {stranger:?}: {mean:?}, waited {longest:?}");
            assert!(mean <= most, "{cost} ms, {stranger:?}: {mean:?}");
            // Only where refreshes have been refused, as without the others.
            let patience = match stranger {
                Stranger::Slow => 3 * SECOND,
                _ => Duration::ZERO,
            };
            assert!(longest <= patience, "{cost} ms, {stranger:?}: {longest:?}");
        }
    }
}

/// A request with the fields of one that has brought a response makes the next refresh.
#[tokio::test(start_paused = true)]
async fn a_slow_page_whose_clients_are_alike_is_stale_for_seconds() {
    assert_staleness(|_| with(get("/a"), "user-agent", "good"), 3 * SECOND).await;
}

/// One that brings a response is found among many by calls that end soon.
#[tokio::test(start_paused = true)]
async fn a_slow_page_whose_clients_differ_is_stale_for_seconds() {
    let honest = |number: usize| with(get("/a"), "traceparent", &number.to_string());
    assert_staleness(honest, 30 * SECOND).await;
}
