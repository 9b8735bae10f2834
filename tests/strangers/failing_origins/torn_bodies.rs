//! Responses whose head is good and whose body breaks off: they are failed calls, paced as all
//! others, and cost the waiting requests no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::clock::Moment;

use super::{Failure, Got, Load, MAX_PARALLEL, Service, count, herd, layer};
use crate::support::origin::{OriginError, Response, cacheable, data, scripted};
use crate::support::time::{SECOND, SLOW};
use crate::support::{gets, with};

/// A layer that counts how often its clock is read: each turn of a request reads it.
fn counting_layer() -> (Arc<AtomicUsize>, CacheLayer<MemoryBackend>) {
    let (readings, begun) = (Arc::<AtomicUsize>::default(), Instant::now());
    let counted = readings.clone();
    let layer = CacheLayer::new(MemoryBackend::default()).clock(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    });
    (readings, layer)
}

/// The time between the halves of a slow body.
const BODY_TIME: Duration = Duration::from_secs(5);

/// A good head after this time, with a body that takes a while.
async fn slow_body(head: Duration) -> Result<Response, OriginError> {
    sleep(head).await;
    let (script, body) = scripted();
    script.send(data("good ")).expect("room");
    tokio::spawn(async move {
        sleep(BODY_TIME).await;
        let _ = script.send(data("page"));
    });
    Ok(cacheable("").map(|_| body))
}

fn is_good(got: &Got) -> bool {
    matches!(got, Ok((200, body)) if body == "good page")
}

/// A head wakes as many requests as may call, not all that wait.
#[tokio::test(start_paused = true)]
async fn each_torn_body_costs_a_few_requests_a_look() {
    for failure in [Failure::Error, Failure::TornBody] {
        for followers in [500, 2000] {
            let load = Load::default();
            let origin = load.origin(move |_, _| failure.fail(SLOW));
            let (readings, layer) = counting_layer();
            let (_, got) = herd(&layer.layer(origin), gets(followers)).await;
            assert_eq!((got.len(), load.calls()), (followers, followers));
            let each = readings.load(Ordering::Relaxed) / followers;
            eprintln!("{failure:?} x {followers}: {each} readings for each");
            assert!(each <= 100, "{failure:?}: {each}");
        }
    }
}

/// A head frees no place but its own: the other calls still run.
#[tokio::test(start_paused = true)]
async fn torn_bodies_free_no_places_of_calls_that_run() {
    for failure in [Failure::Error, Failure::TornBody] {
        let load = Load::default();
        let origin = load.origin(move |_, call| {
            let factor = u32::try_from(call * 7 % 19).expect("few") + 1;
            failure.fail(SLOW * factor)
        });
        let (took, got) = herd(&layer().layer(origin), gets(140)).await;
        eprintln!(
            "{failure:?}: at most {} calls at once, {took:?}",
            load.most()
        );
        assert_eq!((got.len(), load.calls()), (140, 140));
        assert!(load.most() <= MAX_PARALLEL, "{failure:?}: {}", load.most());
    }
}

/// Sends all at once. The time until the last of the plain ones had a good head, but for `failed`.
async fn last_head(
    service: &Service,
    asks: impl IntoIterator<Item = Request<()>>,
    failed: usize,
) -> Duration {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for ask in asks {
        let is_plain = !ask.headers().contains_key("x-odd");
        let service = service.clone();
        tasks.spawn(async move {
            let answered = service.oneshot(ask).await;
            let is_good = answered.is_ok_and(|response| response.status() == 200);
            is_plain.then(|| (is_good, begun.elapsed()))
        });
    }
    let heads = tasks.join_all().await;
    let (good, bad): (Vec<_>, Vec<_>) = heads.into_iter().flatten().partition(|(good, _)| *good);
    assert!(bad.len() <= failed, "{} failed", bad.len());
    good.into_iter()
        .map(|(_, at)| at)
        .max()
        .expect("some are good")
}

/// After failures, one whole body is enough for all, although the other calls hang.
#[tokio::test(start_paused = true)]
async fn a_whole_body_ends_the_pacing_beside_calls_that_hang() {
    let load = Load::default();
    let origin = load.origin(|_, call| async move {
        match call {
            0..=11 => Failure::Error.fail(SLOW).await,
            // One of the next eight.
            12 => slow_body(SLOW).await,
            _ => Failure::Error.fail(60 * SECOND).await,
        }
    });
    let last = last_head(&layer().layer(origin), gets(1000), 11 + MAX_PARALLEL).await;
    assert!(load.calls() <= 11 + MAX_PARALLEL, "{}", load.calls());
    assert!(last <= BODY_TIME + 8 * SLOW, "{last:?}");
}

/// Of those that wait, some want another variant. They look first, and let the others look.
#[tokio::test(start_paused = true)]
async fn requests_for_other_variants_let_others_look() {
    for one_in in 2..12 {
        let load = Load::default();
        let has_answered = Arc::<AtomicUsize>::default();
        let origin = load.origin(move |request, call| {
            let is_plain = !request.headers().contains_key("x-odd");
            let is_good = call > 3 && is_plain && has_answered.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !is_good {
                    let after = if call > 3 { 60 * SECOND } else { SLOW };
                    return Failure::Error.fail(after).await;
                }
                let mut response = slow_body(SLOW).await?;
                let vary = HeaderValue::from_static("x-odd");
                response.headers_mut().insert("vary", vary);
                Ok(response)
            }
        });
        let service = layer().max_parallel_retries(32).layer(origin);
        let asks = gets(200)
            .enumerate()
            .map(|(number, ask)| match number % one_in {
                0 => ask,
                _ => with(ask, "x-odd", "1"),
            });
        let last = last_head(&service, asks, 3 + 32).await;
        eprintln!("one in {one_in}: {last:?}, {} calls", load.calls());
        assert!(last <= BODY_TIME + 10 * SLOW, "one in {one_in}: {last:?}");
    }
}

/// Requests that may not share the response look at it, too, and hold up no others.
#[tokio::test(start_paused = true)]
async fn requests_that_cannot_use_a_response_let_others_look() {
    for parallel in [1, 3, 8] {
        let load = Load::default();
        let origin = load.origin(|request, call| async move {
            match call {
                0..=20 => Failure::Error.fail(SLOW).await,
                _ if request.headers().contains_key("cookie") => {
                    Failure::Status(503).fail(SECOND).await
                }
                _ => slow_body(SLOW).await,
            }
        });
        let service = layer().max_parallel_retries(parallel).layer(origin);
        let odd = gets(100).map(|ask| with(ask, "cookie", "a=1"));
        let (took, got) = herd(&service, odd.chain(gets(100))).await;
        let good = got.iter().filter(|got| is_good(got)).count();
        eprintln!(
            "{parallel}: {good} good of 200, {} calls, {took:?}",
            load.calls()
        );
        assert!(good >= 80, "{good}");
        assert_eq!(good + count(&got, 503), 200 - 20);
        assert!(took <= 45 * SECOND, "{took:?}");
    }
}
