//! An outage that takes long to show, where all clients differ in a field: none has to find out
//! for itself. And a stranger whose requests fail brings no stale response upon others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::layer;
use crate::support::origin::{Origin, OriginError, answer};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

fn traced(number: usize) -> Request<()> {
    with(get("/a"), "traceparent", &number.to_string())
}

/// What an outage is like.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Status(u16),
    Error,
}

/// An origin that fails after a while from its second call on, until the switch is set.
fn failing(fault: Fault, delay: Duration, directives: &'static str) -> (Origin, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = is_well.clone();
    let origin = Origin::new(move |_: Request<()>| {
        let is_well = well.load(Ordering::SeqCst);
        async move {
            sleep(if is_well { SLOW } else { delay }).await;
            match fault {
                _ if is_well => Ok(answer(200, &[("cache-control", directives)], "page")),
                Fault::Status(status) => Ok(answer(status, &[], "down")),
                Fault::Error => Err(OriginError("down")),
            }
        }
    });
    (origin, is_well)
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_takes_long_to_show_makes_clients_wait_a_second() {
    for fault in [Fault::Status(503), Fault::Error] {
        for (seconds, pause) in [(5, 1000), (9, 1000), (20, 1000), (20, 50), (5, 50)] {
            let line = "max-age=1, stale-if-error=86400";
            let (origin, is_well) = failing(fault, SECOND * seconds, line);
            let service = layer().layer(origin.clone());
            send(&service, get("/a")).await;
            sleep(SECOND * 2).await;
            is_well.store(false, Ordering::SeqCst);
            let before = origin.calls();
            let (begun, mut all) = (Instant::now(), JoinSet::new());
            for number in 0.. {
                if begun.elapsed() > SECOND * 120 {
                    break;
                }
                let service = service.clone();
                all.spawn(async move {
                    let began = begun.elapsed();
                    let got = send(&service, traced(number)).await;
                    assert_eq!(got.body, "page", "{got:?}");
                    (began, begun.elapsed() - began)
                });
                sleep(Duration::from_millis(pause)).await;
            }
            let took = all.join_all().await;
            let count = u32::try_from(took.len()).expect("few");
            let mean = took.iter().map(|took| took.1).sum::<Duration>() / count;
            // From the first failure on it is known.
            let later = took.iter().filter(|took| took.0 > SECOND * seconds);
            let longest = later.map(|took| took.1).max();
            let calls = origin.calls() - before;
            println!(
                "{fault:?} after {seconds} s, a client each {pause} ms: {mean:?}, later {longest:?}, {calls} calls for {count}"
            );
            assert!(longest <= Some(SECOND), "{fault:?} {seconds}: {longest:?}");
            assert!(calls <= 60, "{calls} calls");
        }
    }
}

/// The call that took too long for its client ends the outage, and so does a refresh beside it.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_slow_outage_is_found_out() {
    let line = "max-age=1, stale-if-error=86400";
    let (origin, is_well) = failing(Fault::Status(503), SECOND * 9, line);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(SECOND * 2).await;
    is_well.store(false, Ordering::SeqCst);
    for number in 0..40 {
        send(&service, traced(number)).await;
    }
    is_well.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    for number in 40.. {
        let got = send(&service, traced(number)).await;
        if !got.cache_status().contains("stale") {
            break;
        }
        sleep(SECOND / 2).await;
    }
    println!("{:?}", begun.elapsed());
    assert!(begun.elapsed() <= SECOND * 5, "{:?}", begun.elapsed());
}

/// A stranger whose requests fail: at once, others wait for their own calls, which are as fast as
/// ever; late, one of four brings a new response for the next.
#[tokio::test(start_paused = true)]
async fn failing_requests_bring_no_stale_response_upon_others() {
    for (cost, delay, pause, most) in [(50, 50, 300, 1), (50, 4000, 1000, 102)] {
        let begun = Instant::now();
        let milliseconds = Duration::from_millis;
        let origin = Origin::new(move |request: Request<()>| async move {
            if request.headers().contains_key("x-odd") {
                sleep(milliseconds(delay)).await;
                return Ok(answer(503, &[], "no"));
            }
            sleep(milliseconds(cost)).await;
            let made = begun.elapsed().as_millis().to_string();
            let lines = [("cache-control", "max-age=1, stale-if-error=86400")];
            Ok(answer(200, &lines, made))
        });
        let service = layer().layer(origin);
        send(&service, get("/a")).await;
        let attack = {
            let service = service.clone();
            tokio::spawn(async move {
                for number in 0_usize.. {
                    sleep(milliseconds(pause)).await;
                    let odd = with(get("/a"), "x-odd", &(number % 7).to_string());
                    let service = service.clone();
                    tokio::spawn(async move { send(&service, odd).await });
                }
            })
        };
        let (mut oldest, mut longest) = (Duration::ZERO, Duration::ZERO);
        for number in 0..60 {
            sleep(SECOND * 20).await;
            let at = Instant::now();
            let got = send(&service, traced(number)).await;
            longest = longest.max(at.elapsed());
            let made = milliseconds(got.body.parse().expect("a number"));
            oldest = oldest.max(begun.elapsed().saturating_sub(made));
        }
        attack.abort();
        println!("{cost} ms, failing after {delay} ms, each {pause}: {oldest:?} old, {longest:?}");
        assert!(oldest <= SECOND * most, "{oldest:?}");
    }
}
