//! A refusal is for the kind of request that got it: plain, with cookies, with credentials, or
//! both.

use http::Method;
use tokio::time::{Instant, advance};
use tower::Layer;

use super::{FOR_ALL, burst, layer, mixed, personal};
use crate::support::origin::{answer, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, gets, put, send, send_all, with};

/// Over three lifetimes. Each time the client with the field comes first.
#[tokio::test(start_paused = true)]
async fn a_personal_response_is_refused_for_the_kind_of_request_that_got_it() {
    for name in ["cookie", "authorization", "x-api-key"] {
        let origin = personal(name, &[("cache-control", "private")]);
        let service = layer().layer(origin.clone());
        for round in 1..=3 {
            let own = with(get("/a"), name, "alice");
            let (calls, answers) = burst(&service, &origin, mixed([own])).await;
            assert_eq!(calls, 2, "{name}, round {round}");
            assert_eq!(answers[0].body, "personal");
            let others = &answers[1..];
            assert!(others.iter().all(|other| other.body == others[0].body));
            assert_ne!(others[0].body, "personal");
            advance(SECOND * 80).await;
        }
    }
}

/// Each kind of request that is refused costs one call, and no tries of the others.
#[tokio::test(start_paused = true)]
async fn refusals_of_all_other_kinds_end_no_sharing() {
    for uncacheable_ttl in [10, 0] {
        let origin = slow(|request, _| {
            let headers = request.headers();
            match headers.contains_key("cookie") || headers.contains_key("authorization") {
                true => answer(200, &[("cache-control", "no-store")], "personal"),
                false => answer(200, &[("cache-control", FOR_ALL)], "x"),
            }
        });
        let layer = layer().uncacheable_ttl(SECOND * uncacheable_ttl);
        let service = layer.layer(origin.clone());
        let cookies = |request| with(request, "cookie", "id=1");
        let credentials = |request| with(request, "authorization", "Basic x");
        // The one in the middle of the followers takes over, so that each of the first three leads.
        let requests = vec![
            cookies(get("/a")),
            cookies(credentials(get("/a"))),
            get("/a"),
            credentials(get("/a")),
            get("/a"),
            get("/a"),
        ];
        let (calls, answers) = burst(&service, &origin, requests).await;
        let personal = answers.iter().filter(|answer| answer.body == "personal");
        assert_eq!((calls, personal.count()), (4, 3));
    }
}

/// A refusal that is remembered for one kind does not send those of another kind on their own ways.
#[tokio::test(start_paused = true)]
async fn a_remembered_refusal_ends_no_later_sharing() {
    for (name, lines) in [
        ("cookie", ("set-cookie", "id=1")),
        ("authorization", ("cache-control", "no-store")),
        ("cookie", ("vary", "*")),
        ("authorization", ("x-says", "nothing")),
    ] {
        let origin = slow(move |request, _| match request.headers().get(name) {
            Some(_) => answer(200, &[lines], "personal"),
            None => answer(200, &[("cache-control", FOR_ALL)], "x"),
        });
        let service = layer().layer(origin.clone());
        send(&service, with(get("/a"), name, "x")).await;
        let (calls, _) = burst(&service, &origin, gets(100).collect()).await;
        assert_eq!(calls, 1, "{name} {lines:?}");
        // The kind that was refused makes no queue.
        let begun = Instant::now();
        let own = (0..20).map(|_| with(get("/b"), name, "x"));
        send(&service, with(get("/b"), name, "x")).await;
        send_all(&service, own).await;
        assert_eq!(begun.elapsed(), SLOW * 2, "{name} {lines:?}");
    }
}

/// Without a fence, as after a write of unknown outcome, the next call waits for the one under way.
/// A refusal of that one says nothing of the next, if that is for another kind.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_refused_one_of_another_kind_is_shared() {
    let origin = slow(|request, _| match request.method() == Method::PUT {
        true => answer(500, &[], ""),
        false if request.headers().contains_key("cookie") => {
            answer(200, &[("cache-control", "private")], "personal")
        }
        false => answer(200, &[("cache-control", FOR_ALL)], "x"),
    });
    let service = layer().layer(origin.clone());
    send(&service, put("/a")).await;
    let own = with(get("/a"), "cookie", "id=1");
    let (calls, answers) = burst(&service, &origin, mixed([own])).await;
    let personal = answers.iter().filter(|answer| answer.body == "personal");
    assert_eq!((calls, personal.count()), (2, 1));
}

/// Requests of one kind that are rejected do not count against another kind.
#[tokio::test(start_paused = true)]
async fn rejected_requests_of_another_kind_end_no_sharing() {
    let origin = slow(
        |request, _| match request.headers().contains_key("cookie") {
            true => answer(400, &[], "bad"),
            false => answer(200, &[("cache-control", FOR_ALL)], "x"),
        },
    );
    let service = layer().layer(origin.clone());
    // The one in the middle of the followers takes over, so that each of those with cookies leads.
    let bad = || with(get("/a"), "cookie", "id=1");
    let requests = vec![bad(), bad(), get("/a"), bad(), get("/a"), get("/a")];
    let (calls, _) = burst(&service, &origin, requests).await;
    assert_eq!(calls, 4);
}

/// A page that may not be shared, for all kinds of requests: each kind is refused once, one after
/// the other, and then none waits.
#[tokio::test(start_paused = true)]
async fn refusals_of_all_kinds_make_a_short_queue() {
    let origin = slow(|_, call| answer(200, &[("cache-control", "private")], format!("{call}")));
    let service = layer().layer(origin.clone());
    let requests = || {
        gets(200)
            .enumerate()
            .map(|(number, request)| match number % 4 {
                0 => with(request, "cookie", "id=1"),
                1 => with(request, "authorization", "Basic x"),
                2 => with(with(request, "cookie", "id=1"), "authorization", "Basic x"),
                _ => request,
            })
    };
    for longest in [SLOW * 5, SLOW, SLOW] {
        let begun = Instant::now();
        let (calls, _) = burst(&service, &origin, requests().collect()).await;
        assert_eq!(calls, 200);
        assert!(begun.elapsed() <= longest, "{:?}", begun.elapsed());
    }
}
