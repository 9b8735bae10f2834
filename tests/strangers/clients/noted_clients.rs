//! P9: clients that have held up others, or whose calls have failed, are coalesced all the same, and
//! are not forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{FOR_EVER, MS, from, waits, with_clients};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

fn does(client: &'static str, path: &str, what: &str) -> Request<()> {
    from(client, with(get(path), "x-odd", what))
}

/// A page of `cost`; counts the calls of requests without the field.
fn counted(cost: Duration) -> (Origin, Arc<AtomicUsize>) {
    let plain = Arc::new(AtomicUsize::new(0));
    let counter = plain.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let counter = counter.clone();
        async move {
            let odd = request.headers().get("x-odd");
            let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
            let page = [("cache-control", "public, max-age=1")];
            match odd.split(' ').next() {
                Some("hangs") => sleep(FOR_EVER).await,
                Some("is-slow") => sleep(5 * SECOND).await,
                Some("fails") => {
                    sleep(5 * SECOND).await;
                    return Ok(answer(500, &[], "no"));
                }
                Some("fails-soon") => {
                    sleep(100 * MS).await;
                    return Ok(answer(500, &[], "no"));
                }
                Some("written") => return Ok(answer(204, &[], "")),
                Some("as-all") => sleep(cost).await,
                _ => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    sleep(cost).await;
                }
            }
            Ok(answer(200, &page, "page"))
        }
    });
    (origin, plain)
}

/// Sends a request, and a while later another one, which waits for it.
macro_rules! pair {
    ($service:expr, $first:expr, $second:expr) => {{
        let service = $service.clone();
        let first = $first;
        let leading = tokio::spawn(async move { send(&service, first).await });
        sleep(10 * MS).await;
        let began = Instant::now();
        send(&$service, $second).await;
        (leading, began.elapsed())
    }};
}

/// The calls of all, and those of b and c, within 30 s in which these send a request each `pause`, and a
/// does, too. A call of b and one of c was slow before; one of a has hung, or not.
async fn calls_of_others(pause: Duration, hangs: bool) -> (usize, usize) {
    let (origin, plain) = counted(500 * MS);
    let service = with_clients().layer(origin.clone());
    if hangs {
        let (_, waited) = pair!(service, does("a", "/a", "hangs"), from("b", get("/a")));
        println!("b waits for a once: {waited:?}");
        sleep(3 * SECOND).await;
    }
    for (one, other) in [("b", "c"), ("c", "b")] {
        pair!(service, does(one, "/a", "is-slow"), from(other, get("/a")));
        sleep(3 * SECOND).await;
    }
    let before = (origin.calls(), plain.load(Ordering::Relaxed));
    let mut all = JoinSet::new();
    let count = (30 * SECOND).as_millis() / (pause * 2).as_millis();
    for number in 0..count as usize {
        let request = from(["b", "c"][number % 2], get("/a"));
        for request in [request, does("a", "/a", "as-all")] {
            let service = service.clone();
            all.spawn(async move { send(&service, request).await });
            sleep(pause).await;
        }
    }
    all.join_all().await;
    (
        origin.calls() - before.0,
        plain.load(Ordering::Relaxed) - before.1,
    )
}

/// Though it has hung once, and sends ordinary requests between theirs.
#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_undo_coalescing_of_others() {
    let mut all = Vec::new();
    for pause in [25 * MS, 5 * MS] {
        let without = calls_of_others(pause, false).await;
        let with = calls_of_others(pause, true).await;
        println!("each {pause:?}, of all and of b and c: {without:?}, beside a stranger {with:?}");
        all.push((without.0, with.1));
    }
    for (without, with) in all {
        assert!(with <= 3 * without + 3, "{with} for {without}");
    }
}

/// Two honest clients, one of which was slow once, while a call of the other has failed once.
#[tokio::test(start_paused = true)]
async fn two_honest_clients_are_coalesced() {
    let (origin, plain) = counted(500 * MS);
    let service = with_clients().layer(origin);
    let run = async || {
        let before = plain.load(Ordering::Relaxed);
        let mut all = JoinSet::new();
        for number in 0..600 {
            let request = from(["b", "c"][number % 2], get("/a"));
            let service = service.clone();
            all.spawn(async move { send(&service, request).await });
            sleep(50 * MS).await;
        }
        all.join_all().await;
        plain.load(Ordering::Relaxed) - before
    };
    let without = run().await;
    sleep(3 * SECOND).await;
    pair!(service, does("b", "/a", "is-slow"), from("c", get("/a")));
    sleep(3 * SECOND).await;
    pair!(service, does("c", "/a", "fails"), from("b", get("/a")));
    sleep(3 * SECOND).await;
    let with = run().await;
    println!("calls: {without} before, {with} after");
    assert!(with <= 3 * without + 3, "{with} for {without}");
}

/// A client whose calls for many pages have failed while another one waited.
#[tokio::test(start_paused = true)]
async fn a_client_with_many_notes_follows_itself() {
    let mut counts = Vec::new();
    for leads in ["fails-soon", "as-all"] {
        let (origin, plain) = counted(100 * MS);
        let service = with_clients().layer(origin);
        let mut all = JoinSet::new();
        for number in 0..5000 {
            let service = service.clone();
            all.spawn(async move {
                let path = format!("/p{number}");
                pair!(service, does("b", &path, leads), does("a", &path, "as-all"));
            });
        }
        all.join_all().await;
        sleep(5 * SECOND).await;
        let mut all = JoinSet::new();
        for number in 0..1000 {
            let service = service.clone();
            let request = from("b", get(&format!("/fresh{}", number % 10)));
            all.spawn(async move { send(&service, request).await });
        }
        all.join_all().await;
        let calls = plain.load(Ordering::Relaxed);
        println!("after {leads}: {calls} calls for 10 pages, 1000 requests of one client");
        counts.push(calls);
    }
    assert!(counts.iter().all(|calls| *calls <= 30), "{counts:?}");
}

/// Each hanging call makes way for the next one, by a write, before others have given it up.
#[tokio::test(start_paused = true)]
async fn calls_that_make_way_for_others_of_their_client_are_noted() {
    for (writes, hangs) in [(true, false), (false, true), (true, true)] {
        let (origin, _) = counted(50 * MS);
        let service = with_clients().layer(origin);
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            loop {
                if writes {
                    let mut write = does("a", "/a", "written");
                    *write.method_mut() = Method::POST;
                    send(&attacked, write).await;
                }
                if hangs {
                    let service = attacked.clone();
                    tokio::spawn(async move { send(&service, does("a", "/a", "hangs")).await });
                }
                sleep(5 * SECOND).await;
            }
        });
        sleep(500 * MS).await;
        let all = waits(&service, 300, |number| {
            from(["b", "c"][number % 2], get("/a"))
        })
        .await;
        attack.abort();
        let waited = all.iter().sum::<Duration>() / 300;
        let many = all.iter().filter(|took| **took > 4 * SECOND).count();
        let longest = all.iter().max();
        println!("writes {writes}, hangs {hangs}: {waited:?}, {many} of 300 > 4 s, {longest:?}");
        assert!(waited < SECOND, "{waited:?}");
    }
}

/// A stranger whose note makes way for another of its own, where notes on others fill the table.
#[tokio::test(start_paused = true)]
async fn a_stranger_is_not_forgotten_where_many_are_noted() {
    for crowd in [0, 8000] {
        let (origin, _) = counted(50 * MS);
        let service = with_clients().layer(origin);
        let mut all = JoinSet::new();
        for number in 0..crowd {
            let service = service.clone();
            all.spawn(async move {
                let path = format!("/p{number}");
                let client: &'static str = Box::leak(format!("client {number}").into_boxed_str());
                pair!(
                    service,
                    does(client, &path, "fails-soon"),
                    from("z", get(&path))
                );
            });
        }
        all.join_all().await;
        let mut waits = Vec::new();
        for _ in 0..6 {
            let (_, waited) = pair!(service, does("a", "/a", "hangs"), from("b", get("/a")));
            waits.push(waited);
            let mut all = JoinSet::new();
            for number in 0..600 {
                let service = service.clone();
                all.spawn(async move {
                    let path = format!("/q{number}");
                    pair!(
                        service,
                        does("a", &path, "fails-soon"),
                        from("b", get(&path))
                    );
                });
            }
            all.join_all().await;
            sleep(3 * SECOND).await;
        }
        println!("{crowd} others noted: b waits {waits:?}");
        let long = waits.iter().filter(|waited| **waited > 5 * SECOND).count();
        assert!(long <= 1, "{waits:?}");
    }
}

/// Those that come after a little less than a second.
#[tokio::test(start_paused = true)]
async fn refusals_of_a_stranger_hold_up_others_once() {
    for what in ["no", "refused-soon", "fails-soonish"] {
        let origin = Origin::new(move |request: Request<()>| async move {
            let odd = request.headers().get("x-odd");
            let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
            let (cost, status, directives) = match odd.split(' ').next() {
                Some("refused-soon") => (950 * MS, 200, "no-store"),
                Some("fails-soonish") => (950 * MS, 500, "no-store"),
                _ => (50 * MS, 200, "public, max-age=1"),
            };
            sleep(cost).await;
            Ok(answer(status, &[("cache-control", directives)], "x"))
        });
        let service = with_clients().layer(origin);
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            for number in 0.. {
                let (service, what) = (attacked.clone(), format!("{what} {number}"));
                let request = from("a", with(get("/a"), "x-odd", &what));
                tokio::spawn(async move { send(&service, request).await });
                sleep(47 * MS).await;
            }
        });
        let all = waits(&service, 300, |number| {
            from(["b", "c"][number % 2], get("/a"))
        })
        .await;
        attack.abort();
        let waited = all.iter().sum::<Duration>() / 300;
        println!("{what}: {waited:?} on average, {:?}", all.iter().max());
        assert!(waited < 60 * MS, "{what}: {waited:?}");
    }
}
