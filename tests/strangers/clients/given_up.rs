//! P9: whoever gives up a wait tells for whom it has waited, whatever became of that call meanwhile.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::{FOR_EVER, MS, Stranger, beside, from, honest, odd, origin, waits, with_clients};
use crate::support::origin::Origin;
use crate::support::time::SECOND;
use crate::support::{get, send, with};

type Service = Cache<Origin, MemoryBackend>;

const ROUNDS: usize = 12;

fn reload(request: Request<()>) -> Request<()> {
    with(request, "cache-control", "no-cache")
}

/// Sends a request that nobody waits for.
fn start(service: &Service, request: Request<()>) {
    let service = service.clone();
    tokio::spawn(async move { send(&service, request).await });
}

/// What b waits in each round, in which the stranger's call hangs, b asks 5 ms later, and then another
/// request comes, which takes the place of that call.
async fn waits_in_rounds(service: &Service, other: impl Fn(usize) -> Request<()>) -> Vec<Duration> {
    let mut all = Vec::new();
    for number in 0..ROUNDS {
        sleep(3 * SECOND).await;
        start(service, odd("/a", "hangs", number));
        sleep(5 * MS).await;
        let began = Instant::now();
        let asked = service.clone();
        let asking = tokio::spawn(async move {
            send(&asked, from("b", get("/a"))).await;
            began.elapsed()
        });
        sleep(5 * MS).await;
        start(service, other(number));
        all.push(asking.await.expect("an answer"));
    }
    all
}

fn long(waits: &[Duration]) -> usize {
    waits.iter().filter(|waited| **waited > SECOND).count()
}

/// The one that is displaced hangs on, for those who have joined it.
#[tokio::test(start_paused = true)]
async fn a_displaced_call_holds_up_others_as_long_as_they_wait() {
    let by_own = |number| reload(odd("/a", "hangs", number));
    let by_another = |_| reload(from("c", get("/a")));
    for (case, is_noted) in [
        ("by own", false),
        ("by own", true),
        ("by c", false),
        ("by c", true),
    ] {
        let service = with_clients().layer(origin(50 * MS, "public, max-age=1"));
        if is_noted {
            // b is, and follows those that have held up others for up to twice as long.
            start(&service, from("b", with(get("/a"), "x-odd", "is-slow")));
            sleep(MS).await;
            send(&service, from("c", get("/a"))).await;
        }
        let all = match case {
            "by own" => waits_in_rounds(&service, by_own).await,
            _ => waits_in_rounds(&service, by_another).await,
        };
        println!("{case}, b is noted: {is_noted}: {all:?}");
        assert!(long(&all) <= 2, "{case}, {is_noted}: {all:?}");
    }
}

/// Requests in pairs, the second of which waits for the first, where no call has a fence.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_another_of_its_client_holds_up_others() {
    for what in ["hangs", "is-slow", "is-refused"] {
        let service = with_clients().layer(origin(50 * MS, "public, max-age=1"));
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            for number in 0.. {
                if number % 40 == 0 {
                    let mut write = odd("/a", "fails-at-once", number);
                    *write.method_mut() = Method::POST;
                    send(&attacked, write).await;
                }
                start(&attacked, odd("/a", what, number));
                start(&attacked, odd("/a", what, number));
                sleep(100 * MS).await;
            }
        });
        let all = waits(&service, 150, honest).await;
        attack.abort();
        let waited = all.iter().sum::<Duration>() / 150;
        println!("{what}: {waited:?} on average, {} of 150 > 1 s", long(&all));
        assert!(waited <= SECOND, "{what}: {waited:?}");
    }
}

/// A page that takes longer than a second for all, which makes each call one that others wait for long.
/// With one second of freshness it is stale once it is there: each request calls, or waits for a call.
#[tokio::test(start_paused = true)]
async fn a_page_that_takes_its_time_is_had_beside_a_stranger() {
    let mut all = Vec::new();
    for directives in ["public, max-age=1", "public, max-age=10"] {
        let page = || origin(1500 * MS, directives);
        let stranger = |what: &'static str, pause| Stranger {
            request: Box::new(move |number| odd("/a", what, number)),
            pause,
            patience: FOR_EVER,
            own_pages: 0,
        };
        let quiet = stranger("hangs", 1_000_000);
        let alone = beside(with_clients(), page(), honest, quiet).await;
        println!("{directives}, without a stranger: {alone:?}");
        for (what, pause) in [
            ("hangs", 50),
            ("hangs", 1000),
            ("is-slow", 50),
            ("fails", 50),
        ] {
            let got = beside(with_clients(), page(), honest, stranger(what, pause)).await;
            println!("{directives}, {what} each {pause} ms: {got:?}");
            all.push(((directives, what, pause), alone, got));
        }
    }
    for (case, alone, got) in all {
        // Each of the two for ten seconds or twenty, once.
        assert!(got.waited <= alone.waited + 2 * SECOND, "{case:?}: {got:?}");
        assert!(got.waited_longest <= 22 * SECOND, "{case:?}: {got:?}");
    }
}
