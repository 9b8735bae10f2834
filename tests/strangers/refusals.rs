//! What a request whose response cannot be stored does to those whose response can: it neither ends
//! the sharing of their calls, nor their refreshes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, Response, answer, slow};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::{Answer, get, gets, put, send, send_all, with};

/// Fresh for ten seconds, and for one more minute while it is refreshed.
const FOR_ALL: &str = "public, max-age=10, stale-while-revalidate=60";

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// An origin with one page for all, and another one for clients that send a field.
fn personal(name: &'static str, lines: &'static [(&'static str, &'static str)]) -> Origin {
    slow(move |request, call| match request.headers().get(name) {
        Some(_) => answer(200, lines, "personal"),
        None => answer(200, &[("cache-control", FOR_ALL)], format!("call {call}")),
    })
}

/// The requests of clients with a field, followed by those of a hundred clients without.
fn mixed(own: impl IntoIterator<Item = Request<()>>) -> Vec<Request<()>> {
    own.into_iter().chain(gets(100)).collect()
}

/// How many calls a burst of requests costs, with its answers.
async fn burst(
    service: &Cache<Origin, MemoryBackend>,
    origin: &Origin,
    requests: Vec<Request<()>>,
) -> (usize, Vec<Answer>) {
    let before = origin.calls();
    let answers = send_all(service, requests).await;
    settle().await;
    (origin.calls() - before, answers)
}

/// N18, over three lifetimes. Each time the client with the field comes first.
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

/// Stale while it is revalidated: a client whose response is its own gets that, and the others'
/// refreshes go on.
#[tokio::test(start_paused = true)]
async fn a_refused_kind_ends_no_refreshes_of_others() {
    let origin = personal("cookie", &[("cache-control", "private")]);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    for _ in 0..3 {
        advance(SECOND * 12).await;
        send(&service, with(get("/a"), "cookie", "id=1")).await;
        sleep(SLOW * 2).await;
        let stale = send(&service, get("/a")).await;
        assert!(
            stale.cache_status().contains("stale-while-revalidate"),
            "{stale:?}"
        );
        sleep(SLOW * 2).await;
        let fresh = send(&service, get("/a")).await;
        assert!(fresh.is_hit() && fresh.body != stale.body, "{fresh:?}");
    }
}

/// A fresh response for ten seconds, as `status` to requests with `x-bad`.
fn failing(status: u16) -> Origin {
    slow(
        move |request, call| match request.headers().contains_key("x-bad") {
            true => answer(status, &[], "bad"),
            false => answer(200, &[("cache-control", FOR_ALL)], format!("call {call}")),
        },
    )
}

/// The number of refreshes within a minute, in which a client without anything special asks once a
/// second, and a stranger's request comes every four seconds.
async fn refreshes(origin: &Origin, stranger: Option<Request<()>>) -> usize {
    let layer = layer();
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    for second in 0..60 {
        if let Some(stranger) = &stranger
            && second % 4 == 0
        {
            send(&service, clone_of(stranger)).await;
        }
        send(&service, get("/a")).await;
        advance(SECOND).await;
        settle().await;
    }
    let stored = layer.handle().stats().stores;
    usize::try_from(stored).expect("few") - 1
}

fn clone_of(request: &Request<()>) -> Request<()> {
    let mut clone = Request::new(());
    *clone.method_mut() = request.method().clone();
    *clone.uri_mut() = request.uri().clone();
    *clone.headers_mut() = request.headers().clone();
    clone
}

/// N23: what a client forces, or asks for itself alone, says nothing of a refresh.
#[tokio::test(start_paused = true)]
async fn a_failing_request_of_one_client_ends_no_refreshes() {
    let expected = refreshes(&failing(503), None).await;
    assert!(expected >= 5, "{expected}");
    let bad = || with(get("/a"), "x-bad", "1");
    let head = || {
        let mut head = bad();
        *head.method_mut() = Method::HEAD;
        head
    };
    for (case, stranger) in [
        ("no-cache", with(bad(), "cache-control", "no-cache")),
        ("max-age", with(bad(), "cache-control", "max-age=0")),
        ("min-fresh", with(bad(), "cache-control", "min-fresh=1000")),
        ("no-store", with(bad(), "cache-control", "no-store")),
        ("cookie", with(bad(), "cookie", "id=1")),
        ("authorization", with(bad(), "authorization", "Basic x")),
        ("if-match", with(bad(), "if-match", "\"x\"")),
        ("head", with(head(), "cache-control", "no-cache")),
    ] {
        for status in [503, 429, 400] {
            let count = refreshes(&failing(status), Some(clone_of(&stranger))).await;
            assert!(
                count + 1 >= expected,
                "{case} {status}: {count} of {expected}"
            );
        }
    }
}

/// While a response is known, one that is refused says little of those that come after it, whatever
/// fields of its request were the reason.
#[tokio::test(start_paused = true)]
async fn a_plain_request_with_odd_fields_ends_no_sharing_of_a_known_response() {
    for (status, lines) in [
        (200, ("cache-control", "private")),
        (200, ("set-cookie", "id=1")),
        (404, ("x-says", "nothing")),
        (400, ("x-says", "nothing")),
        (431, ("x-says", "nothing")),
    ] {
        let origin = slow(
            move |request, call| match request.headers().contains_key("x-preview") {
                true => answer(status, &[lines], "odd"),
                false => answer(200, &[("cache-control", "max-age=10")], format!("{call}")),
            },
        );
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        for round in 1..=3 {
            advance(SECOND * 12).await;
            let odd = with(get("/a"), "x-preview", "1");
            let (calls, _) = burst(&service, &origin, mixed([odd])).await;
            assert_eq!(calls, 2, "{status} {lines:?}, round {round}");
        }
    }
}

/// A forced call whose response is refused says nothing of the others' calls.
#[tokio::test(start_paused = true)]
async fn a_forced_call_ends_no_sharing() {
    let origin = slow(|request, _| match request.headers().get("cache-control") {
        Some(_) => answer(200, &[("cache-control", "no-store")], "forced"),
        None => answer(200, &[("cache-control", FOR_ALL)], "x"),
    });
    let service = layer().layer(origin.clone());
    let forced = || with(get("/a"), "cache-control", "no-cache");
    send(&service, forced()).await;
    let (calls, _) = burst(&service, &origin, mixed([forced()])).await;
    assert_eq!(calls, 2);
}

/// A response that all get and that is no longer to be stored ends the sharing after three calls in
/// a row.
#[tokio::test(start_paused = true)]
async fn a_known_response_that_becomes_private_makes_one_short_queue() {
    let origin = slow(|_, call| match call {
        1 => answer(200, &[("cache-control", "max-age=10")], "x"),
        _ => answer(200, &[("cache-control", "private")], format!("{call}")),
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    for expected in [SLOW * 4, SLOW] {
        let begun = Instant::now();
        let (calls, answers) = burst(&service, &origin, gets(100).collect()).await;
        assert_eq!((calls, begun.elapsed()), (100, expected));
        assert!(answers.iter().all(|answer| !answer.is_hit()));
    }
}

fn stacked(
    layer: &CacheLayer<MemoryBackend>,
    origin: &Origin,
) -> Cache<Cache<Origin, MemoryBackend>, MemoryBackend> {
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    layer.layer(inner.layer(origin.clone()))
}

fn page() -> Origin {
    slow(|_, _| -> Response { answer(200, &[("cache-control", FOR_ALL)], "x") })
}

/// Requests that an inner layer exempts delay no others, and use up none of their tries.
#[tokio::test(start_paused = true)]
async fn requests_that_an_inner_layer_exempts_end_no_sharing() {
    for exempt in [1, 3, 50] {
        let (layer, origin) = (layer(), page());
        let service = stacked(&layer, &origin);
        let own = (0..exempt).map(|_| with(get("/a"), "x-user", "alice"));
        let begun = Instant::now();
        send_all(&service, mixed(own)).await;
        assert_eq!((origin.calls(), begun.elapsed()), (exempt + 1, SLOW));
        let stats = layer.handle().stats();
        assert_eq!(stats.refusals.get(Refusal::Exempt), exempt as u64);
    }
}

/// A service between two layers of one cache that takes its time before it calls the inner one.
#[derive(Clone)]
struct Delayed<S>(S);

impl<S> Service<Request<()>> for Delayed<S>
where
    S: Service<Request<()>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            sleep(SLOW / 5).await;
            inner.oneshot(request).await
        })
    }
}

/// That others learn late of an exemption uses up none of their tries either.
#[tokio::test(start_paused = true)]
async fn requests_that_are_exempt_late_use_up_no_tries() {
    let (layer, origin) = (layer(), page());
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    let service = layer.layer(Delayed(inner.layer(origin.clone())));
    let exempt = || with(get("/a"), "x-user", "alice");
    // The one in the middle of the followers takes over, so that each of the exempt ones leads.
    let requests = vec![
        exempt(),
        exempt(),
        get("/a"),
        exempt(),
        get("/a"),
        get("/a"),
    ];
    let begun = Instant::now();
    send_all(&service, requests).await;
    // Three delays before it is known, a fourth one before the call.
    assert_eq!((origin.calls(), begun.elapsed()), (4, SLOW / 5 * 4 + SLOW));
    assert!(send(&service, get("/a")).await.is_hit());
}

/// A few requests that come before the others lead no flights in a row.
#[tokio::test(start_paused = true)]
async fn a_few_odd_requests_at_once_end_no_sharing_of_a_known_response() {
    for status in [200, 400] {
        let origin = slow(
            move |request, call| match request.headers().contains_key("x-preview") {
                true => answer(status, &[("cache-control", "private")], "odd"),
                false => answer(200, &[("cache-control", "max-age=10")], format!("{call}")),
            },
        );
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        let odd = (0..10).map(|_| with(get("/a"), "x-preview", "1"));
        let (calls, answers) = burst(&service, &origin, mixed(odd)).await;
        // The odd ones follow the others, and share their response.
        assert_eq!(calls, 2, "{status}");
        assert_eq!(
            answers.iter().filter(|answer| answer.body == "odd").count(),
            1
        );
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

/// An origin whose page has an entity tag, and is another one for clients with `x-preview`.
fn with_previews() -> Origin {
    slow(|request, call| match request.headers().get("x-preview") {
        Some(_) => answer(
            200,
            &[("cache-control", "private"), ("etag", "\"2\"")],
            "odd",
        ),
        None => {
            let lines = [("cache-control", FOR_ALL), ("etag", "\"1\"")];
            answer(200, &lines, format!("call {call}"))
        }
    })
}

/// A refresh that was refused lets the others call, together, until one of them gets a response
/// that may be stored.
#[tokio::test(start_paused = true)]
async fn a_refused_refresh_ends_neither_sharing_nor_later_refreshes() {
    let origin = with_previews();
    let layer = layer().uncacheable_ttl(SECOND * 1000);
    let service = layer.layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    for condition in [None, Some("\"1\""), None] {
        advance(SECOND * 12).await;
        let odd = send(&service, with(get("/a"), "x-preview", "1")).await;
        assert!(odd.cache_status().contains("stale-while-revalidate"));
        sleep(SLOW * 2).await;
        let others = gets(100).map(|request| match condition {
            Some(tag) => with(request, "if-none-match", tag),
            None => request,
        });
        let (calls, answers) = burst(&service, &origin, others.collect()).await;
        assert_eq!((calls, answers[0].is_hit()), (1, false), "{condition:?}");
        advance(SECOND * 12).await;
        let stale = send(&service, get("/a")).await;
        assert!(stale.cache_status().contains("stale-while-revalidate"));
        sleep(SLOW * 2).await;
        settle().await;
    }
}
