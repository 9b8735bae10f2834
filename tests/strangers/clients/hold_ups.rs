//! P9: calls of one client hold up others once, whatever else has gone wrong, and whoever helps it.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt};

use super::{
    FOR_EVER, MS, Stranger, around, beside, from, honest, odd, origin, with_clients,
    without_clients,
};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{send, with};

/// An outage of ten seconds, in which calls of the others fail, while the stranger's hang.
fn honest_with_outage(number: usize) -> Request<()> {
    match (20..30).contains(&number) {
        true => with(honest(number), "x-odd", "is-down"),
        false => honest(number),
    }
}

fn origin_with_outage() -> Origin {
    let page = origin(50 * MS, "public, max-age=1");
    Origin::new(move |request: Request<()>| {
        let page = page.clone();
        async move {
            let odd = request.headers().get("x-odd");
            if odd.is_some_and(|odd| odd == "is-down") {
                sleep(200 * MS).await;
                return Ok(answer(503, &[], "no"));
            }
            page.oneshot(request).await
        }
    })
}

fn hangs() -> Stranger {
    Stranger {
        request: Box::new(|number| odd("/a", "hangs", number)),
        pause: 50,
        patience: FOR_EVER,
        own_pages: 0,
    }
}

/// A client whose own call has failed once is protected as before.
#[tokio::test(start_paused = true)]
async fn clients_whose_calls_have_failed_wait_for_a_stranger_once() {
    let page = || origin(50 * MS, "public, max-age=1");
    let without = beside(with_clients(), page(), honest, hangs()).await;
    let outage = beside(
        with_clients(),
        origin_with_outage(),
        honest_with_outage,
        hangs(),
    )
    .await;
    println!("without an outage: {without:?}, with one: {outage:?}");
    assert!(without.waited <= SECOND, "{without:?}");
    assert!(outage.waited <= SECOND, "{outage:?}");
}

/// Every tenth is of a client whose response is its own. The others never are.
fn honest_beside_personal(number: usize) -> Request<()> {
    match number > 10 && number.is_multiple_of(10) {
        true => from("e", with(honest(number), "x-odd", "is-personal")),
        false => honest(number),
    }
}

fn personal_pages() -> Origin {
    Origin::new(|request: Request<()>| async move {
        let odd = request.headers().get("x-odd");
        let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
        match odd.split(' ').next() {
            Some("hangs") => sleep(FOR_EVER).await,
            _ => sleep(50 * MS).await,
        }
        let directives = match odd {
            "is-personal" => "no-store",
            _ => "public, max-age=1",
        };
        Ok(answer(200, &[("cache-control", directives)], "0"))
    })
}

/// A response that was refused to another client does not say that the stranger is like all.
#[tokio::test(start_paused = true)]
async fn personal_responses_of_others_do_not_vouch_for_a_stranger() {
    let without = beside(with_clients(), personal_pages(), honest, hangs()).await;
    let quiet = Stranger {
        pause: 1_000_000,
        ..hangs()
    };
    let alone = beside(
        with_clients(),
        personal_pages(),
        honest_beside_personal,
        quiet,
    )
    .await;
    let got = beside(
        with_clients(),
        personal_pages(),
        honest_beside_personal,
        hangs(),
    )
    .await;
    println!(
        "without personal ones: {without:?}, with them: {got:?}, without a stranger: {alone:?}"
    );
    assert!(without.waited <= SECOND, "{without:?}");
    assert!(alone.waited <= SECOND, "{alone:?}");
    assert!(got.waited <= SECOND, "{got:?}");
}

/// Two clients, or one with two addresses.
#[tokio::test(start_paused = true)]
async fn two_strangers_do_not_vouch_for_each_other() {
    let strangers = |what: &'static str, reloads: bool| Stranger {
        request: Box::new(move |number| {
            let client = ["a", "d"][number % 2];
            let request = from(client, odd("/a", what, number));
            match reloads && number % 4 > 1 {
                true => with(request, "cache-control", "no-cache"),
                false => request,
            }
        }),
        pause: 50,
        patience: FOR_EVER,
        own_pages: 0,
    };
    let cases = [
        ("hangs", false, "public, max-age=1"),
        ("is-slow", false, "public, max-age=1"),
        ("is-slow", true, "public, max-age=1"),
        ("is-slow", false, "public, max-age=10"),
    ];
    let mut all = Vec::new();
    for case @ (what, reloads, directives) in cases {
        let page = || origin(50 * MS, directives);
        let got = beside(with_clients(), page(), honest, strangers(what, reloads)).await;
        println!("{case:?}: {got:?}");
        all.push((case, got));
        let got = beside(without_clients(), page(), honest, strangers(what, reloads)).await;
        println!("{case:?}, not told apart: {got:?}");
    }
    for (case, got) in all {
        // Twice for ten seconds in two minutes and a half.
        assert!(got.waited <= 2 * SECOND, "{case:?}: {got:?}");
    }
}

/// How many of 60 requests of others, each `pause` milliseconds after the one before on average, get
/// nothing within `patience`, beside a stranger that sends one request at a time and gives it up.
async fn failed_beside_one_request(pause: u64, patience: Duration) -> u32 {
    let service = with_clients().layer(origin(50 * MS, "public, max-age=1"));
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        for number in 0.. {
            let asked = attacked.clone().oneshot(odd("/a", "hangs", number));
            let _ = timeout(9900 * MS, asked).await;
            sleep(20 * MS).await;
        }
    });
    let (mut all, mut state) = (JoinSet::new(), 42);
    for number in 0..60 {
        sleep(around(pause, &mut state)).await;
        let service = service.clone();
        all.spawn(timeout(patience, async move {
            send(&service, honest(number)).await;
        }));
    }
    let all = all.join_all().await;
    attack.abort();
    all.into_iter().map(|got| u32::from(got.is_err())).sum()
}

/// Those who have left when its call ends are held up all the same.
#[tokio::test(start_paused = true)]
async fn clients_that_do_not_wait_for_long_have_the_page_beside_a_stranger() {
    let mut all = Vec::new();
    for (pause, patience) in [
        (1000, 3 * SECOND),
        (5000, 3 * SECOND),
        (10_000, 3 * SECOND),
        (10_000, SECOND),
        (20_000, SECOND),
    ] {
        let failed = failed_beside_one_request(pause, patience).await;
        println!("each {pause} ms: {failed} of 60 have got nothing within {patience:?}");
        all.push((pause, patience, failed));
    }
    for case in all {
        // Those of the first ten seconds wait, and some of the second time, after ten minutes.
        let allowed = 2 * 10_000 / u32::try_from(case.0).expect("few") + 1;
        assert!(case.2 <= allowed, "{case:?}: {allowed} at most");
    }
}
