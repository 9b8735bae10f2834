//! With `client_by`, one client takes from others at most half of what they share.

mod calls;
mod counted_page;
mod given_up;
mod hold_ups;
mod many_pages;
mod misses;
mod noted_clients;
mod refreshes;
mod several_keys;
mod ten_minutes;
mod variants;
mod without_fences;
mod writes;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, in_virtual_time};
use crate::support::trickle::{Step, Trickle};
use crate::support::{get, send, send_all, with};

const MS: Duration = Duration::from_millis(1);
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Whom a request is from, as a layer outside of the cache has found out.
#[derive(Clone, Copy)]
struct Client(&'static str);

/// A request of a client.
fn from(client: &'static str, mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(Client(client));
    request
}

/// One of the requests of honest clients, all of which differ.
fn honest(number: usize) -> Request<()> {
    let client = ["b", "c"][number % 2];
    from(client, with(get("/a"), "traceparent", &number.to_string()))
}

/// A request of the stranger, which does what its field says.
fn odd(path: &str, what: &str, number: usize) -> Request<()> {
    from("a", with(get(path), "x-odd", &format!("{what} {number}")))
}

fn without_clients() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

fn with_clients() -> CacheLayer<MemoryBackend> {
    let client = |request: &http::request::Parts| Some(request.extensions.get::<Client>()?.0);
    without_clients().client_by(client)
}

/// A page that takes this long, and tells when its making began. Requests of a stranger do what
/// their field says.
fn origin(cost: Duration, directives: &'static str) -> Origin {
    let begun = Instant::now();
    Origin::new(move |request: Request<()>| async move {
        let made = begun.elapsed().as_millis().to_string();
        let odd = request.headers().get("x-odd");
        let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
        let page = [("cache-control", directives)];
        match odd.split(' ').next() {
            Some("hangs") => sleep(FOR_EVER).await,
            Some("trickles") => {
                let byte = || (SECOND, Step::Data(Bytes::from_static(b"x")));
                let steps: VecDeque<_> = (0..3600).map(|_| byte()).collect();
                return Ok(answer(200, &page, "").map(|_| Trickle::new(steps, None).boxed()));
            }
            Some("breaks-off") => {
                let steps = VecDeque::from([(9 * SECOND, Step::Error)]);
                return Ok(answer(200, &page, "").map(|_| Trickle::new(steps, None).boxed()));
            }
            Some("is-slow") => {
                sleep(9 * SECOND).await;
                return Ok(answer(200, &page, made));
            }
            Some("is-refused") => {
                sleep(9 * SECOND).await;
                return Ok(answer(200, &[("cache-control", "no-store")], made));
            }
            Some("fails") => {
                sleep(9 * SECOND).await;
                return Ok(answer(500, &[], "no"));
            }
            Some("fails-at-once") => return Ok(answer(500, &[], "no")),
            _ => sleep(cost).await,
        }
        Ok(answer(200, &page, made))
    })
}

/// How long so many requests wait for their responses, one of which is sent each second.
async fn waits(
    service: &Cache<Origin, MemoryBackend>,
    count: usize,
    request: impl Fn(usize) -> Request<()>,
) -> Vec<Duration> {
    let mut all = JoinSet::new();
    for number in 0..count {
        sleep(SECOND).await;
        let (service, request) = (service.clone(), request(number));
        all.spawn(async move {
            let began = Instant::now();
            send(&service, request).await;
            began.elapsed()
        });
    }
    all.join_all().await
}

/// What a stranger does: requests of its own, each after a pause of so many milliseconds on average,
/// each given up after some time.
struct Stranger {
    request: Box<dyn Fn(usize) -> Request<()> + Send>,
    pause: u64,
    patience: Duration,
    /// The number of pages of its own, which it gets first.
    own_pages: usize,
}

fn own_page(number: usize) -> String {
    format!("/own/{number}")
}

/// What honest clients have of a page, on average and at most.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed")]
struct Got {
    waited: Duration,
    waited_longest: Duration,
    /// The age of the page, beyond the second for which it is fresh.
    stale: Duration,
    /// The share of answers that are no page, in percent.
    failed: u32,
    calls: usize,
}

/// What honest clients get within two minutes and a half, one request each second, beside a stranger.
async fn beside(
    layer: CacheLayer<MemoryBackend>,
    origin: Origin,
    honest: fn(usize) -> Request<()>,
    stranger: Stranger,
) -> Got {
    let (begun, service) = (Instant::now(), layer.layer(origin.clone()));
    let own_pages = (0..stranger.own_pages).map(|number| from("a", get(&own_page(number))));
    send_all(&service, own_pages.chain([honest(0)])).await;
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let mut state = 7;
        for number in 0.. {
            sleep(around(stranger.pause, &mut state)).await;
            let (service, request) = (attacked.clone(), (stranger.request)(number));
            let asked = async move {
                let response = service.oneshot(request).await.expect("an answer");
                // It may break off.
                let _ = response.into_body().collect().await;
            };
            tokio::spawn(timeout(stranger.patience, asked));
        }
    });
    let (mut all, mut state) = (JoinSet::new(), 99);
    for number in 1..150 {
        sleep(around(1000, &mut state)).await;
        let (service, request) = (service.clone(), honest(number));
        all.spawn(async move {
            let asked = begun.elapsed();
            let got = send(&service, request).await;
            let made = got.body.parse().ok().map(|made| MS * made);
            let now = begun.elapsed();
            let stale = made.map(|made| now.saturating_sub(made + SECOND));
            (now - asked, stale)
        });
    }
    let all = all.join_all().await;
    attack.abort();
    let count = all.len() as u32;
    let pages = all.iter().filter_map(|(_, stale)| *stale);
    let with_page = pages.clone().count() as u32;
    Got {
        waited: all.iter().map(|(waited, _)| *waited).sum::<Duration>() / count,
        waited_longest: all.iter().map(|(waited, _)| *waited).max().expect("many"),
        stale: pages.sum::<Duration>() / with_page.max(1),
        failed: (count - with_page) * 100 / count,
        calls: origin.calls(),
    }
}

/// A pseudo-random pause around `mean` milliseconds (half to one and a half of it).
fn around(mean: u64, state: &mut u64) -> Duration {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros(mean * (500 + (*state >> 33) % 1000))
}
