//! Pages that are refused to all: each client finds that out once, and waits for no other then.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use super::{burst, layer, refusing};
use crate::support::origin::{Origin, after, answer, slow};
use crate::support::time::{SECOND, settle};
use crate::support::{get, gets, send, send_all, with};

/// How long each of a few bursts of a hundred requests takes.
async fn bursts<const N: usize>(
    service: &Cache<Origin, MemoryBackend>,
    requests: impl Fn() -> Vec<Request<()>>,
) -> [Duration; N] {
    let mut took = [Duration::ZERO; N];
    for took in &mut took {
        let begun = Instant::now();
        send_all(service, requests()).await;
        *took = begun.elapsed();
        settle().await;
    }
    took
}

/// The mean time that a request takes, of one each `pause`.
async fn mean_of_stream(
    service: &Cache<Origin, MemoryBackend>,
    pause: Duration,
    requests: impl Iterator<Item = Request<()>>,
) -> Duration {
    let mut all = JoinSet::new();
    for request in requests {
        let service = service.clone();
        all.spawn(async move {
            let begun = Instant::now();
            send(&service, request).await;
            begun.elapsed()
        });
        sleep(pause).await;
    }
    let took = all.join_all().await;
    let count = u32::try_from(took.len()).expect("few");
    took.into_iter().sum::<Duration>() / count
}

fn of_clients(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|client| with(get("/a"), "user-agent", &client.to_string()))
}

/// G4: from the second burst on each request takes the time of its own call.
#[tokio::test(start_paused = true)]
async fn a_page_that_rejects_all_is_learnt_from_one_call() {
    for (status, lines) in [
        (401, ("www-authenticate", "Basic")),
        (403, ("x-says", "no")),
        (400, ("cache-control", "no-store")),
        (404, ("cache-control", "no-store")),
        (407, ("x-says", "no")),
        (200, ("cache-control", "private")),
    ] {
        let origin = after(SECOND, move |_, _| answer(status, &[lines], "no"));
        let service = layer().layer(origin.clone());
        let took = bursts::<4>(&service, || gets(100).collect()).await;
        println!("{status}: {took:?}");
        assert_eq!(took, [2, 1, 1, 1].map(Duration::from_secs), "{status}");
        // A hundred each second, for longer than a refusal is remembered.
        let mean = mean_of_stream(&service, Duration::from_millis(100), gets(1000)).await;
        println!("{status}: {mean:?} in a stream");
        assert!(mean <= SECOND, "{status}: {mean:?}");
    }
}

/// The hooks that refuse all responses, each by its own way.
fn refusing_hooks() -> [(&'static str, CacheLayer<MemoryBackend>); 3] {
    [
        ("refuses", layer().store_if(|_, _| false)),
        (
            "store_if panics",
            layer().store_if(|_, _| panic!("on purpose")),
        ),
        ("ttl_by panics", layer().ttl_by(|_, _| panic!("on purpose"))),
    ]
}

/// G7: a hook that refuses all responses, or panics each time.
#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_everything_is_learnt_from_one_call() {
    for (name, layer) in refusing_hooks() {
        let origin = after(SECOND, |_, _| answer(200, &[], "page"));
        let service = layer.ttl(60 * SECOND).layer(origin);
        let took = bursts::<3>(&service, || gets(100).collect()).await;
        println!("{name}: {took:?}");
        // Panics are believed after three calls in a row.
        let first = if name == "refuses" { 2 } else { 4 };
        assert_eq!(took, [first, 1, 1].map(Duration::from_secs), "{name}");
    }
}

/// A hook that panics now and then: its panics end no sharing.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_at_times_ends_no_sharing() {
    for in_a_row in 1..=2 {
        let calls = AtomicUsize::new(0);
        let layer = layer().store_if(move |_, _| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert!(call % 4 >= in_a_row, "on purpose");
            true
        });
        let origin = slow(|_, _| answer(200, &[("cache-control", "max-age=1")], "page"));
        let service = layer.layer(origin.clone());
        for _ in 0..5 {
            let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
            assert!(calls <= 4, "{calls} calls");
            sleep(2 * SECOND).await;
        }
    }
}

/// Requests with a field for which a hook panics do not end the sharing of others.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_for_a_field_ends_no_sharing_of_others() {
    let layer = layer().store_if(|request, _| {
        assert!(!request.headers.contains_key("x-odd"), "on purpose");
        true
    });
    let origin = slow(|_, _| answer(200, &[("cache-control", "max-age=60")], "page"));
    let service = layer.layer(origin.clone());
    for _ in 0..20 {
        send(&service, with(get("/a"), "x-odd", "1")).await;
    }
    let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
    assert_eq!(calls, 1);
}

/// Clients that all differ in their fields: three calls, one after the other, then all are known.
/// From then on plain ones wait for one call, because a single client may have sent all the others.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_refused_to_many_different_clients_is_learnt_within_one_burst() {
    for (status, line) in [
        (401, ("www-authenticate", "Basic")),
        (200, ("cache-control", "private")),
        (200, ("cache-control", "no-cache")),
    ] {
        for name in [None, Some("cookie"), Some("authorization")] {
            let origin = after(SECOND, move |_, _| answer(status, &[line], "no"));
            let service = layer().layer(origin.clone());
            let took = bursts::<3>(&service, || {
                let of_kind = |request| match name {
                    Some(name) => with(request, name, "id=1"),
                    None => request,
                };
                of_clients(100).map(of_kind).collect()
            })
            .await;
            println!("{status} {line:?} {name:?}: {took:?}");
            let later = if name.is_some() { SECOND } else { SECOND * 2 };
            assert!(took[0] <= SECOND * 4 && took[1..] == [later; 2], "{took:?}");
        }
    }
}

/// A personal page that takes two seconds, with a request each 1.5 seconds: each of another client.
#[tokio::test(start_paused = true)]
async fn a_personal_page_makes_no_queue_of_a_few_clients() {
    let origin = after(SECOND * 2, |_, _| {
        answer(200, &[("cache-control", "private")], "own")
    });
    let service = layer().layer(origin);
    let clients = |from: usize| {
        (from..from + 100).map(|client| with(get("/a"), "cookie", &format!("id={client}")))
    };
    let pause = Duration::from_millis(1500);
    mean_of_stream(&service, pause, clients(0)).await;
    let mean = mean_of_stream(&service, pause, clients(100)).await;
    println!("{mean:?}");
    assert!(mean <= SECOND * 2, "{mean:?}");
}

/// Up to seven different odd requests that are rejected change nothing for others, whether a
/// response is stored or not.
#[tokio::test(start_paused = true)]
async fn a_few_different_rejected_requests_are_not_held_against_their_key() {
    for status in [400, 401, 403, 406, 431] {
        let origin = refusing("x-odd", (status, []), "max-age=5");
        for is_known in [false, true] {
            let service = layer().layer(origin.clone());
            if is_known {
                send(&service, get("/a")).await;
                sleep(SECOND * 6).await;
            }
            for number in 0..7 {
                send(&service, with(get("/a"), "x-odd", &number.to_string())).await;
            }
            let (calls, answers) = burst(&service, &origin, gets(100).collect()).await;
            assert_eq!(calls, 1, "{status}, {is_known}");
            assert!(answers.iter().all(|answer| answer.body == "page"));
        }
    }
}

/// Nor do eight of them and more, up to the end of their notes: the others wait for one call, whose
/// response they share.
#[tokio::test(start_paused = true)]
async fn many_different_refused_requests_end_no_sharing() {
    for (status, line) in [
        (400, ("x-says", "no")),
        (200, ("cache-control", "no-store")),
    ] {
        let origin = refusing("x-odd", (status, [line]), "max-age=5");
        let service = layer().layer(origin.clone());
        for pause in [0, 9, 30, 59, 61] {
            for number in 0..20 {
                send(&service, with(get("/a"), "x-odd", &number.to_string())).await;
            }
            sleep(SECOND * pause).await;
            for clients in [gets(100).collect(), of_clients(100).collect()] {
                let (calls, _) = burst(&service, &origin, clients).await;
                assert_eq!(calls, 1, "{status} after {pause} s");
                sleep(SECOND * 6).await;
            }
        }
    }
}

/// While a response is fresh, only forced requests reach the origin: however many are refused, they
/// are no sign of what others get later.
#[tokio::test(start_paused = true)]
async fn many_different_forced_requests_cost_others_nothing() {
    let origin = refusing(
        "x-odd",
        (400, [("cache-control", "no-store")]),
        "max-age=60",
    );
    for line in ["no-cache", "max-age=0", "min-fresh=100", "no-store"] {
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 50).await;
        for number in 0..20 {
            let odd = with(get("/a"), "x-odd", &number.to_string());
            send(&service, with(odd, "cache-control", line)).await;
        }
        sleep(SECOND * 11).await;
        let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
        assert_eq!(calls, 1, "{line}");
    }
}

/// RFC 9111 §5.2.2.4: where a response is stored that needs validation each time, a client that
/// differs from all others waits for one call at most.
#[tokio::test(start_paused = true)]
async fn a_stored_response_that_needs_validation_makes_no_queue() {
    let origin = after(SECOND, |_, _| {
        let lines = [("cache-control", "no-cache"), ("etag", "\"1\"")];
        answer(200, &lines, "page")
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    sleep(SECOND * 100).await;
    let took = bursts::<2>(&service, || of_clients(100).collect()).await;
    println!("{took:?}");
    assert_eq!(took, [2, 1].map(Duration::from_secs));
}

/// RFC 9110 §13: a client whose responses are refused validates its own copy with the origin.
#[tokio::test(start_paused = true)]
async fn the_conditions_of_a_refused_client_reach_the_origin() {
    let origin = slow(|request, _| {
        let lines = [("cache-control", "private"), ("etag", "\"1\"")];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines, ""),
            false => answer(200, &lines, "own"),
        }
    });
    let service = layer().layer(origin);
    let of_user = |request| with(request, "cookie", "id=1");
    send(&service, of_user(get("/a"))).await;
    let revalidation = || of_user(with(get("/a"), "if-none-match", "\"1\""));
    assert_eq!(send(&service, revalidation()).await.status, 304);
    // As it does for all with cookies, once many different clients were refused.
    for request in of_clients(8) {
        send(&service, of_user(request)).await;
    }
    let other = with(revalidation(), "user-agent", "other");
    let answers = send_all(&service, [other, revalidation()]).await;
    assert!(answers.iter().all(|answer| answer.status == 304));
}
