//! Calls of strangers that hang while no request waits for a place: they are no reason for more
//! calls of others, nor do they hold these up.

use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::ResponseBody;

use super::{Failure, Load, Service, count, herd, layer};
use crate::support::origin::{Origin, OriginBody, OriginError, answer};
use crate::support::time::{SECOND, SLOW, settled};
use crate::support::{get, gets, send, with};

/// The most calls that a herd of honest requests makes.
const FEW: usize = 10;

/// An origin whose page has these directives, and which lets requests with `x-hang` hang. The
/// others are counted.
fn service_with(directives: &'static str) -> (Load, Service) {
    let load = Load::default();
    let honest = load.origin(move |_, _| async move {
        sleep(SLOW).await;
        Ok(answer(200, &[("cache-control", directives)], "page"))
    });
    let origin = Origin::new(move |request: Request<()>| {
        let honest = honest.clone();
        async move {
            if request.headers().contains_key("x-hang") {
                sleep(3600 * SECOND).await;
            }
            honest.oneshot(request).await
        }
    });
    (load, layer().layer(origin))
}

/// A request that hangs, for which the stored page is too old.
fn hanging() -> Request<()> {
    with(with(get("/a"), "x-hang", "1"), "cache-control", "max-age=1")
}

/// Requests that hang, and end with this.
#[derive(Default)]
struct Strangers(JoinSet<Result<Response<ResponseBody<OriginBody>>, OriginError>>);

impl Strangers {
    async fn of(service: &Service, number: usize) -> Self {
        let mut strangers = Self::default();
        strangers.join(service, number);
        settled().await;
        strangers
    }

    fn join(&mut self, service: &Service, number: usize) {
        for _ in 0..number {
            self.0.spawn(service.clone().oneshot(hanging()));
        }
    }

    async fn leave(&mut self) {
        self.0.shutdown().await;
    }
}

/// Sends 500 requests at once. Returns the number of calls that they made, and how long they took.
async fn calls_of_500(load: &Load, service: &Service) -> (usize, Duration) {
    let before = load.calls();
    let (took, got) = herd(service, gets(500)).await;
    assert_eq!(count(&got, 200), 500);
    (load.calls() - before, took)
}

/// While the page is a fresh hit for all others, a few requests hang; then it expires.
#[tokio::test(start_paused = true)]
async fn hanging_calls_beside_a_fresh_hit_end_no_sharing_at_its_expiry() {
    let (mut most, mut longest) = (0, Duration::ZERO);
    for (max_age, directives) in [
        (35, "max-age=35"),
        (45, "max-age=45"),
        (53, "max-age=53"),
        (60, "max-age=60"),
        (61, "max-age=61"),
        (75, "max-age=75"),
        (120, "max-age=120"),
        (300, "max-age=300"),
    ] {
        for number in [0, 1, 4, 8, 20, 100] {
            let (load, service) = service_with(directives);
            send(&service, get("/a")).await;
            sleep(2 * SECOND).await;
            let _strangers = Strangers::of(&service, number).await;
            sleep(SECOND * (max_age - 3)).await;
            assert!(send(&service, get("/a")).await.is_hit());
            sleep(3 * SECOND).await;
            let (calls, took) = calls_of_500(&load, &service).await;
            eprintln!("{directives}, {number} hang: {calls} calls for 500, {took:?}");
            most = most.max(calls);
            longest = longest.max(took);
        }
    }
    assert!(most <= FEW, "{most} calls");
    assert!(longest <= 10 * SECOND + 2 * SLOW, "{longest:?}");
}

/// As long as a stale page is served, others wait for nothing; then it may be used no longer.
#[tokio::test(start_paused = true)]
async fn hanging_calls_beside_a_stale_hit_end_no_sharing_at_its_end() {
    for number in [4, 8, 20, 100] {
        let (load, service) = service_with("max-age=5, stale-while-revalidate=115");
        send(&service, get("/a")).await;
        sleep(2 * SECOND).await;
        let _strangers = Strangers::of(&service, number).await;
        for _ in 0..10 {
            sleep(8 * SECOND).await;
            assert!(send(&service, get("/a")).await.is_hit());
        }
        sleep(200 * SECOND).await;
        let (calls, took) = calls_of_500(&load, &service).await;
        eprintln!("{number} hang: {calls} calls for 500, {took:?}");
        assert!(calls <= FEW, "{calls} calls");
        assert!(took <= 3 * SLOW, "{took:?}");
    }
}

/// The requests that waited for a place have left, or have all got one. Some still hang.
#[tokio::test(start_paused = true)]
async fn a_queue_that_has_ended_leaves_no_places_to_a_herd() {
    for stay in [1, 4, 7, 20] {
        for queue_lasts in [1, 15, 29] {
            for later in [0, 12, 90] {
                let (load, service) = service_with("max-age=60");
                let mut staying = Strangers::of(&service, stay).await;
                let mut leaving = Strangers::of(&service, 200).await;
                // All have waited for responses as long as they may.
                sleep(30 * SECOND).await;
                sleep(queue_lasts * SECOND).await;
                leaving.leave().await;
                sleep(later * SECOND).await;
                let (calls, took) = calls_of_500(&load, &service).await;
                eprintln!(
                    "{stay} stay, a queue for {queue_lasts} s, {later} s later: {calls}, {took:?}"
                );
                assert!(calls <= FEW, "{calls} calls");
                assert!(took <= 10 * SECOND + 2 * SLOW, "{took:?}");
                staying.leave().await;
            }
        }
    }
}

/// However many hang: calls that hang for one takeover timeout take no places from others.
#[tokio::test(start_paused = true)]
async fn calls_that_hang_hold_up_one_request_for_one_takeover_timeout_at_most() {
    for number in [8, 100, 1000] {
        for after in [31, 39, 45, 59, 61, 65, 71, 75, 200] {
            let (load, service) = service_with("max-age=60");
            let _strangers = Strangers::of(&service, number).await;
            sleep(after * SECOND).await;
            let (begun, before) = (Instant::now(), load.calls());
            send(&service, get("/a")).await;
            let (took, calls) = (begun.elapsed(), load.calls() - before);
            eprintln!("{number} hang for {after} s: {took:?}, {calls} calls");
            assert!(took <= 10 * SECOND + SLOW, "{took:?}");
            if after > 70 {
                assert_eq!(took, SLOW, "all of them hang for long");
            }
        }
    }
}

/// A steady stream of requests to a service that fails slowly gets the places that it needs, and
/// keeps them.
#[tokio::test(start_paused = true)]
async fn a_steady_stream_of_slow_failures_keeps_its_places() {
    let load = Load::default();
    let origin = load.origin(|_, _| Failure::Status(503).fail(5 * SECOND));
    let service = layer().layer(origin);
    let mut all = JoinSet::new();
    for number in 0..3000 {
        let service = service.clone();
        all.spawn(async move {
            let begun = Instant::now();
            send(&service, get("/a")).await;
            (number / 500, begun.elapsed())
        });
        sleep(SECOND / 10).await;
    }
    let took = all.join_all().await;
    for part in 0..6 {
        let of_part = took.iter().filter(|(number, _)| *number == part);
        let longest = of_part.map(|(_, took)| *took).max().expect("some");
        eprintln!("part {part}: at most {longest:?}; {} at once", load.most());
        assert!(part < 2 || longest <= 25 * SECOND, "{part}: {longest:?}");
    }
}
