//! P9: what one client costs others within ten minutes, however it ends its calls and whoever has left.
//! Ordinary waits, for pages that are slow, fail or are refused at times, are no credit for one that
//! has no end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::counted_page::{Got, Service, ask};
use super::{FOR_EVER, MS, from, honest, odd, with_clients};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

/// A call that takes so many milliseconds fails.
const FAILS: u64 = 2001;

/// A page whose calls take so many milliseconds, in turn. Writes are answered at once, the stranger's
/// requests hang.
fn page(costs: &'static [u64], directives: &'static str) -> Origin {
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request: Request<()>| {
        let calls = calls.clone();
        async move {
            if request.method() == Method::POST {
                return Ok(answer(204, &[], ""));
            }
            let odd = request.headers().get("x-odd");
            let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
            if odd.starts_with("hangs") {
                sleep(FOR_EVER).await;
            }
            let number = calls.fetch_add(1, Ordering::Relaxed);
            let cost = costs[number % costs.len()];
            sleep(MS * cost as u32).await;
            match cost {
                FAILS => Ok(answer(503, &[], "no")),
                _ => Ok(answer(200, &[("cache-control", directives)], "page")),
            }
        }
    })
}

fn write(client: &'static str) -> Request<()> {
    let mut write = from(client, get("/a"));
    *write.method_mut() = Method::POST;
    write
}

fn start(service: &Service, request: Request<()>) {
    let service = service.clone();
    tokio::spawn(async move { service.oneshot(request).await });
}

/// A stranger that sends a hanging request whenever the page has expired, and writes `hold` later, so
/// that the others get the page, and nobody finds the call that hangs any more.
async fn hang_then_write(service: Service, hold: Duration, hangs: bool) {
    let is_fresh = async || {
        let request = with(from("a", get("/a")), "cache-control", "only-if-cached");
        let response = service.clone().oneshot(request).await.expect("an answer");
        response.status() == 200
    };
    for number in 0.. {
        while is_fresh().await {
            sleep(50 * MS).await;
        }
        if hangs {
            start(&service, odd("/a", "hangs", number));
        }
        sleep(hold).await;
        send(&service, write("a")).await;
        while !is_fresh().await {
            sleep(50 * MS).await;
        }
    }
}

/// What b and c get, one request a second, beside an attack, of so many requests with this patience.
async fn got(
    (layer, origin): (CacheLayer<MemoryBackend>, Origin),
    attack: impl AsyncFnOnce(Service) + Send + 'static,
    (count, patience): (usize, Duration),
) -> Got {
    let service = layer.layer(origin.clone());
    send(&service, honest(0)).await;
    let local = tokio::task::LocalSet::new();
    let attacked = service.clone();
    let attack = local.spawn_local(async move { attack(attacked).await });
    let asking = ask(
        &service,
        |number, _| honest(number),
        (count, 1000, patience),
    );
    let got = local.run_until(asking).await;
    attack.abort();
    got
}

/// Requests that hang, if it `hangs`, one each `pause` ms, and a write each `write_each` ms, if that is
/// not 0.
async fn hang_and_write(service: Service, hangs: bool, (pause, write_each): (u64, u64)) {
    let mut written = Instant::now();
    for number in 0.. {
        sleep(MS * pause as u32).await;
        if write_each > 0 && written.elapsed() >= MS * write_each as u32 {
            written = Instant::now();
            send(&service, write("a")).await;
        }
        if hangs {
            start(&service, odd("/a", "hangs", number));
        }
    }
}

/// Whoever leaves gives up, too, wherever the call that hangs is listed by then.
#[tokio::test(start_paused = true)]
async fn clients_that_leave_have_the_page_beside_a_stranger_that_writes() {
    for patience in [SECOND, 3 * SECOND] {
        for hangs in [false, true] {
            let made = (with_clients(), page(&[50], "public, max-age=1"));
            let attack = async move |service| hang_then_write(service, 3 * SECOND, hangs).await;
            let got = got(made, attack, (300, patience)).await;
            println!("{patience:?}, hangs {hangs}: {got:?}");
            assert!(got.failed <= 8, "{patience:?}: {} of 300", got.failed);
        }
    }
}

/// A page that is slow for all, and one that is stale on arrival: what honest clients cost each other is
/// no credit for a stranger whose calls hang.
#[tokio::test(start_paused = true)]
async fn a_page_that_takes_its_time_is_had_for_ten_minutes() {
    for (directives, write_each, pause) in [
        ("public, max-age=1", 0, 100),
        ("public, max-age=10", 60_000, 50),
        ("public, max-age=1, stale-while-revalidate=60", 5000, 50),
        ("public, max-age=1, stale-if-error=600", 0, 100),
    ] {
        let run = async |hangs: bool| {
            let times = (pause, write_each);
            let attack = async move |service| hang_and_write(service, hangs, times).await;
            let made = (with_clients(), page(&[1500], directives));
            got(made, attack, (600, FOR_EVER)).await
        };
        let (alone, beside) = (run(false).await, run(true).await);
        println!(
            "{directives}, writes each {write_each} ms: {alone:?}, beside a stranger {beside:?}"
        );
        assert!(
            beside.mean <= alone.mean + SECOND,
            "{directives}: {beside:?}"
        );
        assert!(beside.long <= alone.long + 15, "{directives}: {beside:?}");
    }
}

const SWR: &str = "public, max-age=1, stale-while-revalidate=60";

/// 1.5 s for each call but one of a hundred.
const ONCE_FAST: [u64; 100] = {
    let mut all = [1500; 100];
    all[99] = 50;
    all
};

/// What calls of honest clients cost each other, whatever the reason, does not make them follow a
/// stranger: neither slow ones, nor refreshes that nobody waits for, nor those that fail.
#[tokio::test(start_paused = true)]
async fn ordinary_waits_are_no_credit_for_a_stranger() {
    let mut bad = Vec::new();
    for (costs, directives, pause, write_each, patience) in [
        (
            &[50, 1500, 1500, 1500][..],
            "public, max-age=1",
            50,
            0,
            FOR_EVER,
        ),
        (&[50, 1500, 1500, 1500][..], SWR, 1000, 12_000, 3 * SECOND),
        (&[1500][..], "public, max-age=1", 1000, 10_000, FOR_EVER),
        (&ONCE_FAST[..], SWR, 1000, 12_000, FOR_EVER),
        (&[50, FAILS][..], "public, max-age=1", 1000, 0, 3 * SECOND),
    ] {
        let run = async |hangs: bool| {
            let times = (pause, write_each);
            let attack = async move |service| hang_and_write(service, hangs, times).await;
            let made = (with_clients(), page(costs, directives));
            got(made, attack, (600, patience)).await
        };
        let (alone, beside) = (run(false).await, run(true).await);
        let kinds = &costs[..costs.len().min(4)];
        println!(
            "{kinds:?}, {directives}, each {pause} ms:\n  alone {alone:?}\n  beside {beside:?}"
        );
        let is_bad = beside.mean > alone.mean + SECOND
            || beside.long > alone.long + 15
            || beside.failed > alone.failed + 15;
        if is_bad {
            bad.push((kinds, directives, alone, beside));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A service between two layers of one cache that takes its time for odd requests.
#[derive(Clone)]
struct Delayed<S>(S);

impl<S> tower::Service<Request<()>> for Delayed<S>
where
    S: tower::Service<Request<()>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            if request.headers().contains_key("x-odd") {
                sleep(9 * SECOND).await;
            }
            inner.oneshot(request).await
        })
    }
}

/// A wait that ends as an inner layer exempts the request is a wait all the same.
#[tokio::test(start_paused = true)]
async fn exempt_requests_of_a_stranger_hold_up_others_once() {
    let origin = page(&[50], "public, max-age=1");
    let layer = with_clients();
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-odd"));
    let service = layer.layer(Delayed(inner.layer(origin.clone())));
    let mut sums = Vec::new();
    for attacks in [false, true] {
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            for number in 0.. {
                sleep(50 * MS).await;
                if attacks {
                    let service = attacked.clone();
                    tokio::spawn(service.oneshot(odd("/a", "is-exempt", number)));
                }
            }
        });
        let mut all = JoinSet::new();
        for number in 0..300 {
            sleep(SECOND).await;
            let service = service.clone();
            all.spawn(async move {
                let began = Instant::now();
                send(&service, honest(number)).await;
                began.elapsed()
            });
        }
        let all = all.join_all().await;
        attack.abort();
        let long = all.iter().filter(|waited| **waited > 5 * SECOND).count();
        let mean = all.iter().sum::<Duration>() / 300;
        println!(
            "attacks {attacks}: {mean:?}, {long} of 300 > 5 s, {:?}",
            all.iter().max()
        );
        sums.push(mean);
    }
    assert!(sums[1] <= sums[0] + SECOND, "{sums:?}");
}

/// Responses that take a little less than a second, and are of other variants: as where `Vary: Origin`
/// is sent to requests with `Origin`. A request follows three of them.
#[tokio::test(start_paused = true)]
async fn variants_of_strangers_hold_up_others_once() {
    for (strangers, pause) in [(1, 300), (2, 300), (2, 900)] {
        let origin = Origin::new(move |request: Request<()>| async move {
            if request.method() == Method::POST {
                return Ok(answer(204, &[], ""));
            }
            let fields = [("cache-control", "public, max-age=10"), ("vary", "x-odd")];
            if request.headers().contains_key("x-odd") {
                sleep(950 * MS).await;
                return Ok(answer(200, &fields, "odd"));
            }
            sleep(50 * MS).await;
            Ok(answer(200, &fields[..1], "page"))
        });
        let attack = async move |service: Service| {
            for number in 0.. {
                let client = ["a", "d"][number % strangers];
                send(&service, write(client)).await;
                start(&service, from(client, odd("/a", "varies", number)));
                sleep(MS * pause).await;
            }
        };
        let got = got((with_clients(), origin), attack, (300, FOR_EVER)).await;
        println!("{strangers} strangers, each {pause} ms: {got:?}");
        assert!(got.mean <= SECOND, "{strangers}, {pause}: {got:?}");
    }
}
