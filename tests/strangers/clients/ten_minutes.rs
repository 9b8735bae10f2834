//! P9: what one client costs others within ten minutes, however it ends its calls and whoever has left.

use std::time::Duration;

use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use super::{FOR_EVER, MS, around, from, honest, odd, with_clients};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

type Service = Cache<Origin, MemoryBackend>;

/// Writes are answered at once, the stranger's requests hang, the page takes `cost`.
fn page(cost: Duration, directives: &'static str) -> Origin {
    Origin::new(move |request: Request<()>| async move {
        if request.method() == Method::POST {
            return Ok(answer(204, &[], ""));
        }
        let odd = request.headers().get("x-odd");
        let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
        match odd.split(' ').next() {
            Some("hangs") => sleep(FOR_EVER).await,
            _ => sleep(cost).await,
        }
        Ok(answer(200, &[("cache-control", directives)], "page"))
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

/// Of requests of b and c, one a second: on average, how many have waited longer than 5 s, how many
/// have got nothing within `patience`; and the calls.
async fn got(
    (layer, origin): (CacheLayer<MemoryBackend>, Origin),
    attack: impl AsyncFnOnce(Service) + Send + 'static,
    (count, patience): (usize, Duration),
) -> (Duration, usize, usize, usize) {
    let service = layer.layer(origin.clone());
    send(&service, honest(0)).await;
    let local = tokio::task::LocalSet::new();
    let attacked = service.clone();
    let attack = local.spawn_local(async move { attack(attacked).await });
    let all = local
        .run_until(async {
            let (mut all, mut state) = (JoinSet::new(), 42);
            for number in 0..count {
                sleep(around(1000, &mut state)).await;
                let service = service.clone();
                all.spawn(async move {
                    let began = Instant::now();
                    let got = timeout(patience, send(&service, honest(number))).await;
                    (began.elapsed(), got.is_err())
                });
            }
            all.join_all().await
        })
        .await;
    attack.abort();
    let sum: Duration = all.iter().map(|(waited, _)| *waited).sum();
    let long = all
        .iter()
        .filter(|(waited, _)| *waited > 5 * SECOND)
        .count();
    let failed = all.iter().filter(|(_, failed)| *failed).count();
    (sum / count as u32, long, failed, origin.calls())
}

/// Whoever leaves gives up, too, wherever the call that hangs is listed by then.
#[tokio::test(start_paused = true)]
async fn clients_that_leave_have_the_page_beside_a_stranger_that_writes() {
    for patience in [SECOND, 3 * SECOND] {
        for hangs in [false, true] {
            let made = (with_clients(), page(50 * MS, "public, max-age=1"));
            let attack = async move |service| hang_then_write(service, 3 * SECOND, hangs).await;
            let got = got(made, attack, (300, patience)).await;
            println!("{patience:?}, hangs {hangs}: {got:?}");
            assert!(got.2 <= 8, "{patience:?}: {} of 300", got.2);
        }
    }
}

/// A page that is slow for all, and one that is stale on arrival: what honest clients cost each other is
/// no credit for a stranger whose calls hang.
#[tokio::test(start_paused = true)]
async fn a_page_that_takes_its_time_is_had_for_ten_minutes() {
    for (directives, writes, pause) in [
        ("public, max-age=1", 0, 100),
        ("public, max-age=10", 60, 50),
        ("public, max-age=1, stale-while-revalidate=60", 5, 50),
        ("public, max-age=1, stale-if-error=600", 0, 100),
    ] {
        let run = async |hangs: bool| {
            let attack = async move |service: Service| {
                for number in 0.. {
                    sleep(MS * pause).await;
                    if writes > 0 && number % (writes * 1000 / pause) == 0 {
                        send(&service, write("a")).await;
                    }
                    if hangs {
                        start(&service, odd("/a", "hangs", number as usize));
                    }
                }
            };
            let made = (with_clients(), page(1500 * MS, directives));
            got(made, attack, (600, FOR_EVER)).await
        };
        let (alone, beside) = (run(false).await, run(true).await);
        println!("{directives}, writes each {writes} s: {alone:?}, beside a stranger {beside:?}");
        assert!(beside.0 <= alone.0 + SECOND, "{directives}: {beside:?}");
        assert!(beside.1 <= alone.1 + 15, "{directives}: {beside:?}");
    }
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
    let origin = page(50 * MS, "public, max-age=1");
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
        assert!(got.0 <= SECOND, "{strangers}, {pause}: {got:?}");
    }
}
