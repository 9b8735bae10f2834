//! P9: beside pages that are slow, fail or are refused at times, a client whose calls hang is told apart:
//! ordinary waits are no credit for one that has no end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use crate::support::{get, send};

type Service = Cache<Origin, MemoryBackend>;

/// A call that takes so long fails.
const FAILS: u64 = 2001;

/// A page whose calls take these times in turn; requests of the stranger hang, writes are answered.
fn page(costs: &'static [u64], directives: &'static str) -> Origin {
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request: Request<()>| {
        let calls = calls.clone();
        async move {
            if request.method() == Method::POST {
                return Ok(answer(204, &[], ""));
            }
            if request.headers().contains_key("x-odd") {
                sleep(FOR_EVER).await;
            }
            let number = calls.fetch_add(1, Ordering::Relaxed);
            let cost = costs[number % costs.len()];
            sleep(MS * cost as u32).await;
            if cost == FAILS {
                return Ok(answer(503, &[], "no"));
            }
            Ok(answer(200, &[("cache-control", directives)], "page"))
        }
    })
}

fn write(client: &'static str) -> Request<()> {
    let mut write = from(client, get("/a"));
    *write.method_mut() = Method::POST;
    write
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed")]
struct Got {
    mean: Duration,
    longest: Duration,
    /// Longer than 5 s.
    long: usize,
    /// Nothing within the patience.
    failed: usize,
    calls: usize,
}

/// What b and c get, one request a second, beside strangers that send so many requests a second that
/// hang, and write each `write_each` ms.
async fn got(
    (layer, origin): (CacheLayer<MemoryBackend>, Origin),
    (strangers, pause, write_each): (usize, u64, u64),
    (count, patience): (usize, Duration),
) -> Got {
    let service: Service = layer.layer(origin.clone());
    send(&service, honest(0)).await;
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let mut written = Instant::now();
        for number in 0.. {
            sleep(MS * pause as u32).await;
            if write_each > 0 && written.elapsed() >= MS * write_each as u32 {
                written = Instant::now();
                send(&attacked, write("a")).await;
            }
            if strangers > 0 {
                let client = ["a", "d"][number % strangers];
                let request = from(client, odd("/a", "hangs", number));
                tokio::spawn(attacked.clone().oneshot(request));
            }
        }
    });
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
    let all = all.join_all().await;
    attack.abort();
    let waited = || all.iter().map(|(waited, _)| *waited);
    Got {
        mean: waited().sum::<Duration>() / count as u32,
        longest: waited().max().expect("many"),
        long: waited().filter(|waited| *waited > 5 * SECOND).count(),
        failed: all.iter().filter(|(_, failed)| *failed).count(),
        calls: origin.calls(),
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
        let run = async |strangers| {
            let attack = (strangers, pause, write_each);
            got(
                (with_clients(), page(costs, directives)),
                attack,
                (600, patience),
            )
            .await
        };
        let (alone, beside) = (run(0).await, run(1).await);
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
