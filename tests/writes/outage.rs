//! While the backend cannot be asked: P2 and P3, an outage is no stampede; P1, nobody is answered by a call that began
//! before he came.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::support::dying::{Dying, Switch};
use crate::support::origin::{
    Origin, OriginBody, OriginError, Response, answer, cacheable, data, scripted,
};
use crate::support::schedule::{Actor, every_order_within, pause, random_orders};
use crate::support::yielding::Yielding;
use crate::support::{Answer, collect, get, put, send, with};
use bytes::Bytes;
use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend, Moment};
use tower_response_cache::stats::{FetchReason, Refusal};
use tower_response_cache::{BoxError, Cache, CacheLayer, ResponseBody};

const SLOW: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes: whoever is still waiting then was forgotten.
const FOR_EVER: Duration = Duration::from_secs(100_000);
const LEADS: &str = "fwd=miss; detail=backend-failed";
const FOLLOWS: &str = "fwd=miss; collapsed";

type Dead = Yielding<Dying<MemoryBackend>>;

/// On a backend that is dead.
fn layer() -> (CacheLayer<Dead>, Switch) {
    let (backend, switch) = Dying::new(MemoryBackend::default());
    (layer_on(Yielding(backend)), switch)
}

/// Both clocks are tokio's, so that nothing but virtual time passes.
fn layer_on<B: Backend>(backend: B) -> CacheLayer<B> {
    let begun = Instant::now();
    CacheLayer::new(backend).clock(move || {
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    })
}

/// Answers after a while what `answer` makes of the request and the number of the call, from 1.
fn slow(answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Origin {
    fallible(move |request, call| Ok(answer(request, call)))
}

fn fallible(
    answer: impl Fn(&Request<()>, usize) -> Result<Response, OriginError> + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(SLOW).await;
            answer(&request, call)
        }
    })
}

fn numbered() -> Origin {
    slow(|_, call| cacheable(format!("call {call}")))
}

/// Sends one, in a task of its own.
fn ask<S, R>(service: &S, ask: Request<()>) -> JoinHandle<Result<Answer, OriginError>>
where
    S: Service<Request<()>, Response = http::Response<R>, Error = OriginError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let answer = service.clone().oneshot(ask);
    tokio::spawn(async move {
        match answer.await {
            Ok(response) => Ok(collect(response).await),
            Err(error) => Err(error),
        }
    })
}

/// What came of it.
async fn end(task: JoinHandle<Result<Answer, OriginError>>) -> Result<Answer, OriginError> {
    let end = timeout(FOR_EVER, task).await;
    end.expect("somebody waits for ever").expect("no panic")
}

/// Sends all at once. How long that took, and what each got, if anything.
async fn burst<S, R>(
    service: &S,
    asks: impl IntoIterator<Item = Request<()>>,
) -> (Duration, Vec<Result<Answer, OriginError>>)
where
    S: Service<Request<()>, Response = http::Response<R>, Error = OriginError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let begun = Instant::now();
    let tasks: Vec<_> = asks.into_iter().map(|one| ask(service, one)).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(end(task).await);
    }
    (begun.elapsed(), answers)
}

fn gets(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|_| get("/a"))
}

fn count(answers: &[Result<Answer, OriginError>], is: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().flatten().filter(|answer| is(answer)).count()
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// P2, P3: a thousand misses are two calls, of which nothing is stored, and it is said so.
#[tokio::test(start_paused = true)]
async fn a_thousand_misses_are_two_calls() {
    async fn check(backend: impl Backend, switch: Switch) {
        let (layer, origin) = (layer_on(backend), numbered());
        let service = layer.layer(origin.clone());
        let (took, answers) = burst(&service, gets(1000)).await;
        assert_eq!((took, origin.calls()), (SLOW * 2, 2));
        assert_eq!(count(&answers, |a| a.body == "call 1"), 1);
        assert_eq!(count(&answers, |a| a.body == "call 2"), 999);
        assert_eq!(count(&answers, |a| a.cache_status() == LEADS), 2);
        assert_eq!(count(&answers, |a| a.cache_status() == FOLLOWS), 998);
        settle().await;
        let stats = layer.handle().stats();
        assert_eq!((stats.stores, stats.collapsed), (0, 998));
        assert_eq!(stats.refusals.get(Refusal::BackendFailed), 2);
        assert_eq!(stats.fetches.get(FetchReason::BackendFailed), 1000);
        assert_eq!(stats.usage.expect("memory tells").entries, 0);
        assert_eq!(stats.in_flight, Default::default());
        switch.revive();
        let status = send(&service, get("/a")).await.cache_status();
        assert_eq!(status, "fwd=uri-miss; stored");
        settle().await;
        assert!(send(&service, get("/a")).await.is_hit());
    }
    let (backend, switch) = Dying::new(MemoryBackend::default());
    check(backend, switch).await;
    let (backend, switch) = Dying::new(MemoryBackend::default());
    check(Yielding(backend), switch).await;
}

/// P2: also under traffic that never ends, whatever the requests insist on: a call each time the last one has answered, and
/// nobody waits for more than two.
#[tokio::test(start_paused = true)]
async fn sustained_traffic_is_one_call_after_the_other() {
    for directive in ["max-stale", "no-cache", "max-age=0"] {
        let (layer, _) = layer();
        let origin = numbered();
        let service = layer.layer(origin.clone());
        let mut tasks = JoinSet::new();
        for _ in 0..2000 {
            let one = ask(&service, with(get("/a"), "cache-control", directive));
            tasks.spawn(async move {
                let begun = Instant::now();
                end(one).await.expect("an answer");
                begun.elapsed()
            });
            sleep(Duration::from_millis(1)).await;
        }
        let longest = tasks.join_all().await.into_iter().max();
        assert!(longest <= Some(SLOW * 2), "{directive}: {longest:?}");
        let calls = origin.calls();
        assert!((38..=42).contains(&calls), "{directive}: {calls} calls");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
    }
}

/// P2: those whose call waits for the inner service's readiness wait for one call.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_has_not_begun() {
    let (layer, _) = layer();
    let origin = numbered();
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let service = layer.layer(inner);
    let mut asks: Vec<_> = gets(200).collect();
    asks.insert(0, get("/other"));
    let (took, answers) = burst(&service, asks).await;
    assert_eq!((took, origin.calls()), (SLOW * 2, 2));
    assert_eq!(count(&answers, |a| a.cache_status() == FOLLOWS), 199);
}

/// P2: leader and followers read the bytes while they arrive.
#[tokio::test(start_paused = true)]
async fn bytes_are_served_as_they_arrive() {
    let scripts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let own = scripts.clone();
    let origin = slow(move |_, _| {
        let (script, body) = scripted();
        own.lock().expect("no panic").push(script);
        cacheable("").map(|_| body)
    });
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(service.clone().oneshot(get("/a")));
    }
    let heads = timeout(SECOND, tasks.join_all()).await.expect("heads");
    let mut bodies: Vec<_> = heads
        .into_iter()
        .map(|head| head.expect("a head").into_body())
        .collect();
    let scripts = std::mem::take(&mut *scripts.lock().expect("no panic"));
    assert_eq!(scripts.len(), 2);
    for part in ["one ", "two ", "three"] {
        for script in &scripts {
            script.send(data(part)).expect("somebody reads");
        }
        for body in &mut bodies {
            let frame = timeout(SECOND, body.frame()).await.expect("it arrives");
            let frame = frame.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), part);
        }
    }
    drop(scripts);
    for body in &mut bodies {
        assert!(body.frame().await.is_none(), "it ends cleanly");
    }
}

/// S08, S09: what may not be stored is not queued for; the second time nobody waits at all.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_stored_makes_no_queue() {
    for line in [
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("set-cookie", "id=1"),
        ("vary", "*"),
        ("x-says", "nothing"),
    ] {
        let origin = slow(move |_, call| answer(200, &[line], format!("call {call}")));
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        for round in 1..=2 {
            let (took, answers) = burst(&service, gets(200)).await;
            assert_eq!(took, SLOW * (3 - round), "{line:?}");
            let mut bodies: Vec<_> = answers.iter().flatten().map(|a| &a.body).collect();
            bodies.sort();
            bodies.dedup();
            assert_eq!(bodies.len(), 200, "{line:?}: each has its own");
        }
    }
}

/// P2: nobody gets what could not have been stored for him.
#[tokio::test(start_paused = true)]
async fn nothing_is_shared_wrongly() {
    let says = |request: &Request<()>, name: &str| {
        let value = request.headers().get(name);
        value
            .map_or("", |value| value.to_str().expect("text"))
            .to_owned()
    };
    let ask = |name, n: usize| with(get("/a"), name, &format!("{name} {n}"));
    for name in ["cookie", "authorization"] {
        let origin = slow(move |request, _| answer(200, &[], says(request, name)));
        let (layer, _) = layer();
        let service = layer.ttl(SECOND * 60).layer(origin);
        let asks = (0..300).map(|n| if n % 3 == 0 { ask(name, n) } else { get("/a") });
        let (took, answers) = burst(&service, asks).await;
        for (n, answer) in answers.iter().flatten().enumerate() {
            let own = if n % 3 == 0 {
                format!("{name} {n}")
            } else {
                String::new()
            };
            assert_eq!(answer.body, own);
        }
        assert!(took <= SLOW * 4, "{name}: {took:?}");
    }
    let origin = slow(move |request, _| {
        let lines = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        answer(200, &lines, says(request, "accept-language"))
    });
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let asks = (0..300).map(|n| ask("accept-language", n % 3));
    let (took, answers) = burst(&service, asks).await;
    for (n, answer) in answers.iter().flatten().enumerate() {
        assert_eq!(answer.body, format!("accept-language {}", n % 3));
    }
    assert!(origin.calls() <= 2 + 3 * 2, "{} calls", origin.calls());
    assert!(took <= SLOW * 4, "{took:?}");
}

/// S03: a leader that is dropped, whether it waits for its turn, for its answer or reads, is nobody else's business.
#[tokio::test(start_paused = true)]
async fn a_leader_may_be_dropped_at_any_point() {
    /// `is_first`: it waits for nobody.
    async fn check(polls: usize, is_first: bool) -> bool {
        let origin = slow(|_, _| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for part in ["one ", "two ", "three"] {
                    sleep(SLOW).await;
                    let _ = script.send(data(part));
                }
            });
            cacheable("").map(|_| body)
        });
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        let before = (!is_first).then(|| ask(&service, get("/a")));
        settle().await;
        let own = service.clone();
        let mut leader = Box::pin(async move {
            let response = own.oneshot(get("/a")).await.expect("a head");
            response.into_body().collect().await.expect("a whole body")
        });
        let mut left = polls;
        let mut leads = Box::pin(std::future::poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            leader.as_mut().poll(cx).map(|_| true)
        }));
        let follows = async {
            settle().await;
            burst(&service, gets(3)).await.1
        };
        let leads = async {
            let over = leads.as_mut().await;
            drop(leads);
            over
        };
        let (over, mut answers) = tokio::join!(biased; leads, follows);
        if let Some(before) = before {
            answers.push(end(before).await);
        }
        let whole = count(&answers, |a| a.body == "one two three");
        assert_eq!(whole, answers.len(), "{polls}, {is_first}");
        let calls = origin.calls();
        // Its own may have been dropped before anybody waited.
        let most = 2 + usize::from(is_first);
        assert!(calls <= most, "{polls}, {is_first}: {calls} calls");
        settle().await;
        assert_eq!(layer.handle().stats().in_flight, Default::default());
        over
    }
    for is_first in [true, false] {
        let mut polls = 0;
        while !check(polls, is_first).await {
            polls += 1;
        }
        assert!(polls > 4, "several points, not {polls}");
    }
}

/// P2: whoever waits for a turn depends on nobody's polling.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_polled_any_more_holds_up_nobody() {
    let (layer, _) = layer();
    let service = layer.layer(numbered());
    let mut first = Box::pin(service.clone().oneshot(get("/a")));
    let begins = timeout(SLOW / 2, &mut first).await;
    assert!(begins.is_err(), "it has called");
    let (took, answers) = burst(&service, gets(20)).await;
    assert_eq!(took, SLOW / 2 + SLOW);
    assert_eq!(count(&answers, |a| a.body == "call 2"), 20);
    assert_eq!(
        collect(first.await.expect("an answer")).await.body,
        "call 1"
    );
}

/// P2: a call that waits for its turn goes with the last who wanted it, and leaves the one before alone.
#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_dropped_with_the_last_who_wanted_it() {
    let (layer, _) = layer();
    let origin = numbered();
    let service = layer.layer(origin.clone());
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let waiting: Vec<_> = (0..5)
        .map(|_| tokio::spawn(service.clone().oneshot(get("/a"))))
        .collect();
    settle().await;
    assert_eq!(layer.handle().stats().in_flight.fills, 2);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    assert_eq!(layer.handle().stats().in_flight.fills, 1);
    let late = send(&service, get("/a")).await;
    assert_eq!(
        (late.body.as_str(), origin.calls()),
        ("call 2", 2),
        "it waited, too"
    );
    assert!(first.await.expect("no panic").is_ok());
    // And the first of all goes with its client, whoever waits behind it.
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let begun = Instant::now();
    let next = ask(&service, get("/a"));
    settle().await;
    first.abort();
    assert_eq!(end(next).await.expect("an answer").body, "call 4");
    assert_eq!(
        begun.elapsed(),
        SLOW,
        "its turn came when the first one left"
    );
}

/// P2: a call that hangs costs those who wait their patience, once.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_not_waited_for_for_ever() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let wait = if call == 1 { FOR_EVER } else { SLOW };
            sleep(wait).await;
            Ok(cacheable(format!("call {call}")))
        }
    });
    let (layer, _) = layer();
    let service = layer.coalesce_takeover_timeout(SECOND * 10).layer(origin);
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let (took, answers) = burst(&service, gets(100)).await;
    assert!(took <= SECOND * 10 + SLOW * 2, "{took:?}");
    assert!(answers.iter().all(Result::is_ok));
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls <= 3, "{calls} calls");
    // Nor is it remembered for ever that it did.
    let (took, _) = burst(&service, gets(100)).await;
    assert!(took <= SLOW * 2, "{took:?}");
    first.abort();
}

/// P3: an error is the one's who called; the others get an answer, or an error of their own.
#[tokio::test(start_paused = true)]
async fn errors_end_nobodys_sharing() {
    for failing in 1..=3 {
        let origin = fallible(move |_, call| match call <= failing {
            true => Err(OriginError("refused")),
            false => Ok(cacheable("x")),
        });
        let (layer, _) = layer();
        let service = layer.layer(origin.clone());
        let (_, answers) = burst(&service, gets(100)).await;
        let errors = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(errors, failing);
        let calls = origin.calls();
        assert!(calls <= failing + 2, "{failing} fail: {calls} calls");
    }
    let origin = fallible(|_, _| Err(OriginError("refused")));
    let (layer, _) = layer();
    let service = layer.layer(origin.clone());
    let (took, answers) = burst(&service, gets(100)).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(origin.calls(), 100);
    assert!(took <= SLOW * 7, "{took:?}");
}

/// P1, P2: once the backend is back, nobody who has a fence joins a call that runs without; a write is seen at once.
#[tokio::test(start_paused = true)]
async fn a_backend_that_comes_back_is_used_at_once() {
    let version = Arc::new(AtomicU64::new(1));
    let own = version.clone();
    let origin = Origin::new(move |_| {
        let sampled = own.load(Ordering::SeqCst);
        async move {
            sleep(SLOW).await;
            Ok(cacheable(format!("version {sampled}")))
        }
    });
    let (layer, switch) = layer();
    let service = layer.layer(origin.clone());
    let running = ask(&service, get("/a"));
    settle().await;
    switch.revive();
    version.store(2, Ordering::SeqCst);
    let fenced = send(&service, get("/a")).await;
    assert_eq!(fenced.body, "version 2");
    assert_eq!(fenced.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(end(running).await.expect("an answer").body, "version 1");
    settle().await;
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit() && hit.body == "version 2", "{hit:?}");

    // A call that has not begun is for those with a fence, too.
    switch.kill();
    let begun = origin.calls();
    let _running = ask(&service, get("/b"));
    settle().await;
    let waiting = ask(&service, get("/b"));
    settle().await;
    switch.revive();
    version.store(3, Ordering::SeqCst);
    let (_, answers) = burst(&service, (0..100).map(|_| get("/b"))).await;
    assert_eq!(count(&answers, |a| a.body == "version 3"), 100);
    assert_eq!(end(waiting).await.expect("an answer").body, "version 3");
    assert_eq!(origin.calls() - begun, 2);
}

/// P2, P3: a backend that answers now and then makes no stampede either.
#[tokio::test(start_paused = true)]
async fn a_flapping_backend_is_no_stampede() {
    for works in 2..=5 {
        let (layer, switch) = layer();
        switch.works_every(works);
        let origin = numbered();
        let service = layer.layer(origin.clone());
        let (_, answers) = burst(&service, gets(1000)).await;
        assert!(answers.iter().all(Result::is_ok));
        let calls = origin.calls();
        assert!(calls <= 4, "every {works}th lookup works: {calls} calls");
    }
}

/// P3: a shutdown takes away what is in the background, not the answers.
#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_everybody_an_answer() {
    for deadline in [Duration::ZERO, SLOW, SECOND] {
        let (layer, _) = layer();
        let service = layer.layer(numbered());
        let handle = layer.handle();
        let shuts_down = async {
            sleep(SLOW / 2).await;
            handle.shutdown(deadline).await;
        };
        let ((_, answers), _) = tokio::join!(burst(&service, gets(50)), shuts_down);
        assert_eq!(count(&answers, |a| a.body.starts_with("call")), 50);
        let late = send(&service, get("/a")).await;
        assert_eq!(late.cache_status(), LEADS, "as ever");
    }
}

/// RFC 9111 §5.2.1.7: nobody is called for it.
#[tokio::test(start_paused = true)]
async fn only_if_cached_is_a_gateway_timeout() {
    let (layer, _) = layer();
    let origin = numbered();
    let service = layer.layer(origin.clone());
    let ask = || with(get("/a"), "cache-control", "only-if-cached");
    let (_, answers) = burst(&service, (0..10).map(|_| ask())).await;
    assert_eq!(count(&answers, |a| a.status == 504), 10);
    assert_eq!(origin.calls(), 0);
}

/// P1, P2: the same where nothing may be stored because a write's outcome is unknown: it may commit at any time.
#[tokio::test(start_paused = true)]
async fn the_grace_of_a_write_is_no_stampede() {
    let version = Arc::new(AtomicU64::new(1));
    let own = version.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let sampled = own.load(Ordering::SeqCst);
        async move {
            if request.method() == Method::PUT {
                return Ok(answer(500, &[], ""));
            }
            sleep(SLOW).await;
            Ok(cacheable(format!("version {sampled}")))
        }
    });
    let layer = layer_on(Yielding(MemoryBackend::default()));
    let service = layer.layer(origin.clone());
    send(&service, put("/a")).await;
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    version.store(2, Ordering::SeqCst);
    let (_, answers) = burst(&service, gets(200)).await;
    assert_eq!(count(&answers, |a| a.body == "version 2"), 200);
    let leads = |a: &Answer| a.cache_status() == "fwd=uri-miss; detail=write-grace";
    assert_eq!(count(&answers, leads), 1);
    assert_eq!(origin.calls(), 1 + 2);
    assert!(first.await.expect("no panic").is_ok());
    settle().await;
    assert_eq!(layer.handle().stats().stores, 0);
}

/// An origin whose one resource has a version, a dead backend before it, and what clients were promised.
#[derive(Clone)]
struct World<B: Backend> {
    layer: CacheLayer<B>,
    service: Cache<Origin, B>,
    version: Arc<AtomicU64>,
    promised: Rc<Cell<u64>>,
}

impl<B: Backend> World<B> {
    fn new(backend: B) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let layer = CacheLayer::new(backend);
        Self {
            service: layer.layer(sampling(version.clone())),
            layer,
            version,
            promised: Rc::default(),
        }
    }

    fn reader(&self, times: usize) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..times {
                let promised = world.promised.get();
                let response = world.service.clone().oneshot(get("/a")).await;
                let body = collect(response.expect("an answer")).await.body;
                let seen: u64 = body.parse().expect("a version");
                assert!(seen >= promised, "read {seen}, {promised} was promised");
            }
        })
    }

    /// A write through this instance.
    fn writer(&self) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let response = world.service.clone().oneshot(put("/a")).await;
            let head = response.expect("an answer");
            let version = head.headers()["x-version"].to_str().expect("a version");
            world.promise(version.parse().expect("a version"));
        })
    }

    /// Writes through another one.
    fn remote_writer(&self, times: usize) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..times {
                pause().await;
                world.promise(world.version.fetch_add(1, Ordering::SeqCst) + 1);
            }
        })
    }

    fn promise(&self, version: u64) {
        self.promised.set(self.promised.get().max(version));
    }
}

/// Samples the version when it is called, and answers later.
fn sampling(version: Arc<AtomicU64>) -> Origin {
    Origin::new(move |request: Request<()>| {
        let now = match *request.method() == Method::GET {
            true => version.load(Ordering::SeqCst),
            false => version.fetch_add(1, Ordering::SeqCst) + 1,
        };
        async move {
            pause().await;
            let lines = [
                ("cache-control", "max-age=3600"),
                ("x-version", &now.to_string()),
            ];
            Ok(answer(200, &lines, now.to_string()))
        }
    })
}

/// P1: whoever comes after a write was yielded, here or elsewhere, is not answered by a call that began before.
#[test]
fn nobody_is_answered_by_a_call_that_began_before_he_came() {
    let shared = Rc::new(Cell::new(0));
    let orders = every_order_within(2, || {
        let world = World::new(dead().0);
        vec![
            counted(&world, &shared, 1),
            world.reader(1),
            world.reader(1),
            world.remote_writer(1),
        ]
    });
    assert!(shared.get() > 1000, "they do share");
    println!("{orders} orders");
    assert!(orders > 1000);
}

/// P1: not even while the inner service is still on its way to return the future.
#[tokio::test(start_paused = true)]
async fn a_call_has_begun_before_the_service_is_asked() {
    type Came = Result<http::Response<ResponseBody<OriginBody>>, OriginError>;
    type Slot<T> = Arc<std::sync::Mutex<Option<T>>>;
    let service: Slot<Cache<Origin, Dying<MemoryBackend>>> = Arc::default();
    let late: Slot<Pin<Box<dyn Future<Output = Came> + Send>>> = Arc::default();
    let (inside, slot, calls) = (service.clone(), late.clone(), AtomicUsize::new(0));
    let origin = Origin::new(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == 1 {
            let service = inside.lock().expect("no panic").take();
            let service = service.expect("it is called once");
            let mut asked = Box::pin(service.oneshot(get("/a")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut cx).is_pending());
            *slot.lock().expect("no panic") = Some(asked);
        }
        std::future::ready(Ok(cacheable(format!("call {call}"))))
    });
    let cache = layer_on(dead().0).layer(origin);
    *service.lock().expect("no panic") = Some(cache.clone());
    assert_eq!(send(&cache, get("/a")).await.body, "call 1");
    let late = late.lock().expect("no panic").take().expect("it came");
    let late = collect(late.await.expect("an answer")).await;
    assert_eq!(late.body, "call 2");
}

/// P1: the same with writes through this instance, on a backend that waits.
#[test]
fn writes_and_readers_in_random_orders() {
    let shared = Rc::new(Cell::new(0));
    random_orders(0..3_000, || {
        let world = World::new(Yielding(dead().0));
        vec![
            counted(&world, &shared, 3),
            world.reader(3),
            world.reader(3),
            world.writer(),
            world.remote_writer(3),
        ]
    });
    println!("{} shared", shared.get());
    assert!(shared.get() > 1000, "they do share");
}

/// A reader, after whom it is counted how many have shared.
fn counted<B: Backend>(world: &World<B>, shared: &Rc<Cell<u64>>, times: usize) -> Actor {
    let (layer, shared) = (world.layer.clone(), shared.clone());
    let reader = world.reader(times);
    Box::pin(async move {
        reader.await;
        shared.set(shared.get() + layer.handle().stats().collapsed);
    })
}

/// P1: the same while the backend comes back.
#[test]
fn a_backend_that_comes_back_in_random_orders() {
    random_orders(0..3_000, || {
        let (backend, switch) = dead();
        let world = World::new(Yielding(backend));
        let comes_back: Actor = Box::pin(async move {
            for _ in 0..5 {
                pause().await;
            }
            switch.revive();
        });
        vec![
            comes_back,
            world.reader(3),
            world.reader(3),
            world.reader(3),
            world.writer(),
            world.writer(),
        ]
    });
}

fn dead() -> (Dying<MemoryBackend>, Switch) {
    Dying::new(MemoryBackend::new(1 << 20))
}
