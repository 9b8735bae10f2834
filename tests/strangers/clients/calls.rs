//! Where clients are told apart, a page takes hardly more calls than where they are not: whatever a
//! stranger does beside, and whatever has held up others once.

use std::sync::atomic::Ordering;

use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::counted_page::{
    Counts, Got, NAMES, ShortCalls, ask, ask_beside, does, hold_up, limited_page, luck, page,
    start, takes,
};
use super::{FOR_EVER, MS, from, with_clients, without_clients};
use crate::support::time::SECOND;
use crate::support::{get, send};

/// So many more calls are made where one of two clients does not follow the other.
fn are_few(calls: usize, alone: usize) -> bool {
    calls <= 2 * alone + 3
}

/// What honest clients get, and what it takes.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Calls {
    got: Got,
    calls: usize,
    at_once: usize,
}

impl Calls {
    fn new(got: Got, counts: &Counts) -> Self {
        Self {
            got,
            calls: counts.plain(),
            at_once: counts.most.load(Ordering::Relaxed),
        }
    }
}

/// The calls of honest clients for a page beside a stranger that has hung once, has had a fast answer
/// once, and sends ordinary requests since.
async fn calls_beside_ordinary(
    (cost, directives): (u64, &'static str),
    (clients, pause): (usize, u64),
    attack_each: Option<u64>,
) -> Calls {
    let (origin, counts) = page(move |_| cost, directives);
    let service = with_clients().layer(origin.clone());
    let request = move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
    // As on any day.
    ask(&service, request, (600, pause, FOR_EVER)).await;
    if attack_each.is_some() {
        // Once: others wait for a call that hangs.
        sleep(15 * SECOND).await;
        start(&service, does("/a", "hangs"), 11 * SECOND);
        sleep(10 * MS).await;
        send(&service, from("b", get("/a"))).await;
        // Once: a call that is fast, as one for an error page, or of another variant.
        sleep(15 * SECOND).await;
        send(&service, takes("/a", 20, 200)).await;
        sleep(15 * SECOND).await;
    }
    let before = counts.plain();
    counts.most.store(0, Ordering::Relaxed);
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let Some(pause) = attack_each else { return };
        loop {
            sleep(MS * pause as u32).await;
            start(&attacked, takes("/a", cost, 200), FOR_EVER);
        }
    });
    let count = (120_000 / pause) as usize;
    let got = ask(&service, request, (count, pause, FOR_EVER)).await;
    attack.abort();
    let all = Calls::new(got, &counts);
    Calls {
        calls: all.calls - before,
        ..all
    }
}

/// A stranger that nobody follows, and that follows nobody, does not take the place of the calls of the
/// others, which they could not join any more.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_follows_nobody_does_not_undo_coalescing_of_others() {
    for clients in [2, 20] {
        let page = (1500, "public, max-age=10");
        let alone = calls_beside_ordinary(page, (clients, 25), None).await;
        for each in [500, 20] {
            let beside = calls_beside_ordinary(page, (clients, 25), Some(each)).await;
            println!("{clients} clients, each {each} ms: alone {alone:?}, beside {beside:?}");
            assert!(are_few(beside.calls, alone.calls), "{clients}, {each}");
        }
    }
}

/// Two clients, such as two gateways: a call of the one has failed after some time once, a call of the
/// other was slow once.
#[tokio::test(start_paused = true)]
async fn two_clients_with_other_bad_luck_are_coalesced() {
    for (of_b, of_c) in [
        ("takes 3000 500", "takes 9000 200"),
        ("takes 5000 500", "takes 5000 200"),
    ] {
        let (origin, counts) = page(|_| 500, "public, max-age=1");
        let service = with_clients().layer(origin);
        let run = async || {
            let before = counts.plain();
            let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
            ask(&service, request, (3000, 20, FOR_EVER)).await;
            counts.plain() - before
        };
        let alone = run().await;
        sleep(3 * SECOND).await;
        hold_up(&service, "b", of_b, "c").await;
        hold_up(&service, "c", of_c, "b").await;
        let after = run().await;
        println!("b {of_b}, c {of_c}: {alone} calls before, {after} after");
        assert!(are_few(after, alone), "{of_b}, {of_c}");
    }
}

/// A page whose calls take their time now and then.
#[tokio::test(start_paused = true)]
async fn clients_are_told_apart_without_many_more_calls() {
    type Cost = fn(usize) -> u64;
    let kinds: [(&str, Cost, usize); 4] = [
        ("always 1500", |_| 1500, 20),
        ("1500, 1 % 50", |n| if luck(n) < 10 { 50 } else { 1500 }, 4),
        (
            "1500, 20 % 50",
            |n| if luck(n) < 200 { 50 } else { 1500 },
            20,
        ),
        ("500 to 2500", |n| 500 + 2 * luck(n), 20),
    ];
    for (kind, cost, clients) in kinds {
        let run = async |layer: CacheLayer<MemoryBackend>| {
            let (origin, counts) = page(cost, "public, max-age=5");
            let service = layer.layer(origin);
            let request = move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
            let got = ask(&service, request, (6000, 50, FOR_EVER)).await;
            Calls::new(got, &counts)
        };
        let (apart, not) = (run(with_clients()).await, run(without_clients()).await);
        println!("{kind}, {clients} clients: {apart:?}, not told apart {not:?}");
        assert!(are_few(apart.calls, not.calls), "{kind}");
        assert!(apart.at_once <= 5, "{kind}");
    }
}

/// A stranger that nobody has noted, whose calls fail at once: it does not follow those who are noted
/// because the page takes its time. Their calls keep their place, and an origin with eight workers
/// stays up.
#[tokio::test(start_paused = true)]
async fn failures_at_once_do_not_take_the_place_of_calls_that_others_follow() {
    for (clients, has_held_up) in [(2, false), (2, true), (10, false)] {
        let run = async |stranger: Option<ShortCalls>| {
            let (origin, counts) = limited_page(|_| 1500, "public, max-age=5", 8);
            let service = with_clients().layer(origin);
            if has_held_up {
                hold_up(&service, "b", "takes 5000 200", "c").await;
                hold_up(&service, "c", "takes 5000 200", "b").await;
            }
            let got = ask_beside(&service, (clients, 3000), stranger).await;
            Calls::new(got, &counts)
        };
        let alone = run(None).await;
        for status in [500, 404] {
            let beside = run(Some((1, status, 19))).await;
            println!(
                "{clients} clients, {has_held_up}, {status}: alone {alone:?}, beside {beside:?}"
            );
            assert!(are_few(beside.calls, alone.calls), "{clients}, {status}");
            assert!(beside.got.mean <= 2 * alone.got.mean, "{clients}, {status}");
        }
    }
}

/// A stranger that follows others, and leaves after some time.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_leaves_does_not_undo_coalescing() {
    let run = async |patience: Option<u32>| {
        let (origin, counts) = page(|_| 3000, "public, max-age=5");
        let service = with_clients().layer(origin);
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            let Some(patience) = patience else { return };
            loop {
                sleep(19 * MS).await;
                start(&attacked, from("a", get("/a")), MS * patience);
            }
        });
        let request = |_, random: u64| from(NAMES[random as usize % 4], get("/a"));
        let got = ask(&service, request, (4000, 25, FOR_EVER)).await;
        attack.abort();
        println!("{patience:?}: {} calls, {got:?}", counts.plain());
        counts.plain()
    };
    let alone = run(None).await;
    for patience in [1050, 2900] {
        assert!(are_few(run(Some(patience)).await, alone), "{patience}");
    }
}

/// Calls of a stranger that fail or are refused, one after the other and beside each other: each other
/// request follows one of them at most, and not one after the other until it calls alone.
#[tokio::test(start_paused = true)]
async fn short_calls_in_vain_one_after_the_other_do_not_undo_coalescing() {
    let run = async |(clients, stranger): (usize, Option<ShortCalls>)| {
        let (origin, counts) = page(|_| 1500, "public, max-age=5");
        let service = with_clients().layer(origin);
        let got = ask_beside(&service, (clients, 2000), stranger).await;
        println!(
            "{clients} clients, {stranger:?}: {:?}",
            Calls::new(got, &counts)
        );
        Calls::new(got, &counts)
    };
    let strangers = [
        (50, 404, 10),
        (20, 404, 5),
        (200, 404, 10),
        (9, 500, 9),
        (4, 500, 4),
        (300, 500, 20),
        (200, 500, 100),
        (400, 404, 200),
    ];
    for clients in [4, 10] {
        let alone = run((clients, None)).await;
        for stranger in strangers {
            let beside = run((clients, Some(stranger))).await;
            assert!(
                are_few(beside.calls, alone.calls),
                "{clients}, {stranger:?}"
            );
            let more = MS * stranger.0 as u32 + alone.got.mean;
            assert!(beside.got.mean <= 2 * more, "{clients}, {stranger:?}");
        }
    }
}
