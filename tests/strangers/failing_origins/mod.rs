//! What many clients can do to an inner service that fails: they do not call it all at once. Each
//! gets a response that is shared, or that of its own call; the cache itself answers no request.

mod hanging_calls;
mod healthy_refusals;
mod nobody_waits;
mod torn_bodies;

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer, ResponseBody};

use crate::support::origin::{
    Origin, OriginBody, OriginError, Response, answer, cacheable, scripted,
};
use crate::support::time::{FOREVER, SECOND, SLOW, in_virtual_time, settle};
use crate::support::{get, gets, put, send, with};

/// The default of `max_parallel_retries`.
const MAX_PARALLEL: usize = 8;

type Service = Cache<Origin, MemoryBackend>;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// Counts the calls of an origin that are under way.
#[derive(Clone, Default)]
struct Load {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Load {
    /// An origin whose calls are counted. The closure gets the number of the call, from 1.
    fn origin<F, Fut>(&self, answer: F) -> Origin
    where
        F: Fn(Request<()>, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, OriginError>> + Send + 'static,
    {
        let load = self.clone();
        Origin::new(move |request| {
            let call = load.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let now = load.running.fetch_add(1, Ordering::SeqCst) + 1;
            load.most.fetch_max(now, Ordering::SeqCst);
            let running = Running(load.running.clone());
            let answered = answer(request, call);
            async move {
                let _running = running;
                answered.await
            }
        })
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// What one client got: a status and the body, or what went wrong.
type Got = Result<(u16, String), String>;

/// Sends all at once. How long that took, and what each got.
async fn herd(
    service: &Service,
    asks: impl IntoIterator<Item = Request<()>>,
) -> (Duration, Vec<Got>) {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for ask in asks {
        tasks.spawn(service.clone().oneshot(ask));
    }
    let all = async {
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            all.push(match ended {
                Ok(Ok(response)) => collected(response).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("panicked".into()),
            });
        }
        all
    };
    let all = timeout(FOREVER, all).await.expect("every request ends");
    (begun.elapsed(), all)
}

async fn collected(response: http::Response<ResponseBody<OriginBody>>) -> Got {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn count(got: &[Got], status: u16) -> usize {
    let has_status = |got: &&Got| matches!(got, Ok((found, _)) if *found == status);
    got.iter().filter(has_status).count()
}

/// The ways in which a call fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Status(u16),
    Error,
    Panic,
    TornBody,
}

const FAILURES: [Failure; 7] = [
    Failure::Status(500),
    Failure::Status(503),
    Failure::Status(504),
    Failure::Status(429),
    Failure::Error,
    Failure::Panic,
    Failure::TornBody,
];

impl Failure {
    async fn fail(self, after: Duration) -> Result<Response, OriginError> {
        sleep(after).await;
        match self {
            Self::Status(status) => Ok(answer(status, &[], "failed")),
            Self::Error => Err(OriginError("connection refused")),
            Self::Panic => panic!("the handler's own panic"),
            Self::TornBody => {
                let (script, body) = scripted();
                script.send(Err(OriginError("torn").into())).expect("room");
                Ok(cacheable("").map(|_| body))
            }
        }
    }
}

fn report(what: &str, load: &Load, took: Duration) {
    eprintln!(
        "{what}: at most {} calls at once, {} calls, last answer after {took:?}",
        load.most(),
        load.calls()
    );
}

/// Every follower calls for itself in the end, but few of them at once.
#[tokio::test(start_paused = true)]
async fn followers_of_a_service_that_always_fails_call_a_few_at_once() {
    for failure in FAILURES {
        for followers in [500, 1000] {
            let load = Load::default();
            let origin = load.origin(move |_, _| failure.fail(SLOW));
            let service = layer().layer(origin);
            let (took, got) = herd(&service, gets(followers)).await;
            report(&format!("{failure:?} x {followers}"), &load, took);
            assert!(load.most() <= MAX_PARALLEL, "{failure:?}: {}", load.most());
            assert_eq!(
                load.calls(),
                followers,
                "{failure:?}: its own answer for each"
            );
            assert_eq!(got.len(), followers);
            let rounds = u32::try_from(followers).expect("few") / 4;
            assert!(took <= SLOW * (4 + rounds), "{failure:?}: {took:?}");
        }
    }
}

/// One good response is enough for all that wait.
#[tokio::test(start_paused = true)]
async fn the_first_success_ends_the_pacing_for_all() {
    for failure in FAILURES {
        let load = Load::default();
        let origin = load.origin(move |_, call| async move {
            match call {
                0..=20 => failure.fail(SLOW).await,
                _ => {
                    sleep(SLOW).await;
                    Ok(cacheable("good"))
                }
            }
        });
        let service = layer().layer(origin);
        let (took, got) = herd(&service, gets(1000)).await;
        report(&format!("recovers, {failure:?}"), &load, took);
        assert_eq!(count(&got, 200), 980, "{failure:?}");
        assert!(
            load.calls() <= 20 + MAX_PARALLEL,
            "{failure:?}: {}",
            load.calls()
        );
        assert!(took <= SLOW * 8, "{failure:?}: {took:?}");
    }
}

/// A service that takes long to fail: more and more call, and each gets an answer of its own.
#[tokio::test(start_paused = true)]
async fn followers_of_slow_failures_get_its_answers_within_their_time() {
    for (followers, most) in [(500, 400), (1000, 800)] {
        let load = Load::default();
        let origin = load.origin(|_, _| Failure::Status(503).fail(SECOND * 5));
        let layer = layer();
        let service = layer.layer(origin);
        let (took, got) = herd(&service, gets(followers)).await;
        report(&format!("503 after 5 s x {followers}"), &load, took);
        assert!(load.most() <= most, "{}", load.most());
        assert!(took <= SECOND * 65, "{took:?}");
        let failed = |got: &&Got| matches!(got, Ok((503, body)) if body == "failed");
        assert_eq!(got.iter().filter(failed).count(), followers);
        assert_eq!(load.calls(), followers);
        assert_eq!(layer.handle().stats().overloads, 0);
    }
}

/// With a shorter takeover timeout all have called well before their time is up.
#[tokio::test(start_paused = true)]
async fn followers_of_slow_failures_are_answered_sooner_with_a_shorter_takeover_timeout() {
    let load = Load::default();
    let origin = load.origin(|_, _| Failure::Error.fail(SECOND * 2));
    let service = layer().coalesce_takeover_timeout(SECOND * 4).layer(origin);
    let (took, _) = herd(&service, gets(1000)).await;
    report("2 s, takeover after 4 s", &load, took);
    assert!(load.most() <= 512, "{}", load.most());
    assert!(took <= SECOND * 36, "{took:?}");
    assert_eq!(load.calls(), 1000);
}

/// A service that never answers: no stampede when all have waited for responses as long as they
/// may. The number of calls doubles, and all call only when they have waited for places, too.
#[tokio::test(start_paused = true)]
async fn followers_of_calls_that_hang_call_a_few_at_once() {
    let load = Load::default();
    let origin = load.origin(|_, _| pending());
    let service = layer().layer(origin);
    let looks = async {
        let mut at = 0;
        for (seconds, calls) in [(29, 3), (39, 11), (49, 19), (59, 35)] {
            sleep(SECOND * (seconds - at)).await;
            at = seconds;
            report(&format!("hangs, {seconds} s"), &load, SECOND * seconds);
            assert!(load.calls() <= calls, "{} at {seconds} s", load.calls());
        }
        sleep(SECOND * 2).await;
        assert_eq!(load.calls(), 1000, "each calls for itself");
    };
    tokio::select! {
        _ = herd(&service, gets(1000)) => panic!("calls that hang do not end"),
        () = looks => {}
    }
}

/// A service that is slow, and well: the response to the first call is for all, however late.
#[tokio::test(start_paused = true)]
async fn followers_of_a_slow_success_wait_for_it_beyond_their_time() {
    let load = Load::default();
    let origin = load.origin(|_, _| async {
        sleep(SECOND * 40).await;
        Ok(cacheable("slow"))
    });
    let service = layer().fill_timeout(SECOND * 60).layer(origin);
    let (took, got) = herd(&service, gets(1000)).await;
    report("well after 40 s", &load, took);
    assert_eq!(count(&got, 200), 1000);
    assert!(load.most() <= MAX_PARALLEL + 3, "{}", load.most());
    assert!(took <= SECOND * 80, "{took:?}");
}

/// A herd that comes while the calls of the key fail finds the same limit.
#[tokio::test(start_paused = true)]
async fn later_requests_share_the_limit() {
    let load = Load::default();
    let origin = load.origin(|_, _| Failure::Error.fail(SLOW));
    let service = layer().layer(origin);
    let first = herd(&service, gets(500));
    let second = async {
        sleep(SLOW * 10).await;
        herd(&service, gets(500)).await
    };
    let ((took, _), _) = tokio::join!(first, second);
    report("two herds", &load, took);
    assert!(load.most() <= MAX_PARALLEL, "{}", load.most());
    assert_eq!(load.calls(), 1000);
}

/// A request that fails for its own sake, many times over, does not keep plain ones from an answer.
#[tokio::test(start_paused = true)]
async fn failing_requests_of_one_kind_do_not_hold_up_plain_ones() {
    for (name, value) in [
        ("cookie", "id=1"),
        ("authorization", "Basic x"),
        ("cache-control", "no-cache"),
        ("x-odd", "1"),
    ] {
        let load = Load::default();
        let origin = load.origin(move |request, _| async move {
            match request.headers().contains_key(name) {
                true => Failure::Status(500).fail(SECOND).await,
                false => Ok(cacheable("plain")),
            }
        });
        let service = layer().layer(origin);
        let odd = gets(1000).map(|ask| with(ask, name, value));
        let plain = async {
            sleep(SECOND * 10 + SLOW).await;
            herd(&service, gets(10)).await
        };
        let (_, (took, got)) = tokio::join!(herd(&service, odd), plain);
        report(name, &load, took);
        assert_eq!(count(&got, 200), 10, "{name}");
        assert!(took <= SECOND, "{name}: {took:?}");
    }
}

/// Requests whose own response could not be shared follow a failing call as others do.
#[tokio::test(start_paused = true)]
async fn followers_with_conditions_call_a_few_at_once() {
    for (name, value) in [("if-match", "\"1\""), ("expect", "100-continue")] {
        let load = Load::default();
        let origin = load.origin(|_, _| Failure::Status(503).fail(SLOW));
        let service = layer().layer(origin);
        let odd = gets(500).map(|ask| with(ask, name, value));
        let (took, got) = herd(&service, gets(1).chain(odd)).await;
        report(name, &load, took);
        assert_eq!(got.len(), 501);
        assert!(load.most() <= MAX_PARALLEL, "{name}: {}", load.most());
    }
}

/// The limit is an option; without it all call at once, and 0 counts as 1.
#[tokio::test(start_paused = true)]
async fn the_limit_can_be_set() {
    for (limit, most) in [(0, 1), (1, 1), (32, 32), (usize::MAX, 97)] {
        let load = Load::default();
        let origin = load.origin(|_, _| Failure::Error.fail(SLOW));
        let layer = layer().max_parallel_retries(limit);
        let service = layer.layer(origin);
        let (_, got) = herd(&service, gets(100)).await;
        assert_eq!((load.most(), load.calls()), (most, 100), "{limit}");
        assert_eq!(count(&got, 503), 0, "{limit}");
    }
}

/// Without a takeover timeout no request waits for another's call: there is no limit.
#[tokio::test(start_paused = true)]
async fn without_a_takeover_timeout_there_is_no_limit() {
    let load = Load::default();
    let origin = load.origin(|_, _| Failure::Error.fail(SLOW));
    let service = layer()
        .coalesce_takeover_timeout(Duration::ZERO)
        .layer(origin);
    let (took, _) = herd(&service, gets(100)).await;
    report("no takeover timeout", &load, took);
    assert_eq!(load.calls(), 100);
    assert!(took <= SLOW * 4, "{took:?}");
}

/// Only the key that fails is concerned.
#[tokio::test(start_paused = true)]
async fn other_keys_are_not_paced() {
    let load = Load::default();
    let origin = load.origin(|request, _| async move {
        match request.uri().path() {
            "/a" => Failure::Error.fail(SECOND).await,
            _ => {
                sleep(SLOW).await;
                Ok(cacheable("well"))
            }
        }
    });
    let service = layer().layer(origin);
    let others = async {
        sleep(SECOND * 5).await;
        herd(&service, (0..500).map(|n| get(&format!("/{n}")))).await
    };
    let (_, (took, got)) = tokio::join!(herd(&service, gets(500)), others);
    assert_eq!((took, count(&got, 200)), (SLOW, 500));
}

/// Clients that leave while they wait for a place, or while they have one, cost no place.
#[tokio::test(start_paused = true)]
async fn clients_that_leave_pass_their_places_on() {
    let load = Load::default();
    let origin = load.origin(|_, _| Failure::Error.fail(SECOND));
    let service = layer().layer(origin);
    let leaving: Vec<_> = (0..500)
        .map(|_| tokio::spawn(service.clone().oneshot(get("/a"))))
        .collect();
    let leave = async {
        sleep(SECOND * 3 + SLOW).await;
        leaving.iter().for_each(tokio::task::JoinHandle::abort);
    };
    let ((took, got), ()) = tokio::join!(herd(&service, gets(100)), leave);
    report("500 of 600 leave", &load, took);
    assert!(load.most() <= 2 * MAX_PARALLEL, "{}", load.most());
    let failed = got
        .iter()
        .filter(|got| matches!(got, Err(error) if error == "connection refused"));
    assert_eq!(failed.count(), 100);
    assert!(took <= SECOND * 18, "{took:?}");
}

/// Each leader's client leaves: the call goes on for those who follow.
#[tokio::test(start_paused = true)]
async fn leaders_that_leave_one_after_the_other_cause_one_call() {
    let load = Load::default();
    let origin = load.origin(|_, _| async {
        sleep(SECOND).await;
        Ok(cacheable("x"))
    });
    let service = layer().layer(origin);
    let tasks: Vec<_> = (0..501)
        .map(|_| tokio::spawn(service.clone().oneshot(get("/a"))))
        .collect();
    for task in &tasks[..500] {
        settle().await;
        task.abort();
    }
    let last = tasks.into_iter().next_back().expect("a task");
    assert_eq!(last.await.expect("no panic").expect("a head").status(), 200);
    assert_eq!(load.calls(), 1);
}

/// P1: a request that begins after a write gets nothing from a call that began before, whatever
/// place that has.
#[tokio::test(start_paused = true)]
async fn a_paced_call_from_before_a_write_is_not_shared_after_it() {
    let load = Load::default();
    let version = Arc::new(AtomicUsize::new(1));
    let current = version.clone();
    let origin = load.origin(move |request, call| {
        let version = current.clone();
        async move {
            if request.method() == http::Method::PUT {
                version.fetch_add(1, Ordering::SeqCst);
                return Ok(answer(204, &[], ""));
            }
            let sampled = version.load(Ordering::SeqCst);
            match call {
                0..=5 => Failure::Status(503).fail(SLOW).await,
                _ => {
                    sleep(SECOND).await;
                    Ok(cacheable(format!("v{sampled}")))
                }
            }
        }
    });
    let service = layer().layer(origin);
    let after = async {
        // Eight paced calls are under way, and have sampled the first version.
        sleep(SLOW * 4 + SECOND / 2).await;
        assert_eq!(send(&service, put("/a")).await.status, 204);
        herd(&service, gets(100)).await
    };
    let ((_, before), (_, after)) = tokio::join!(herd(&service, gets(100)), after);
    let is_new = |got: &Got| matches!(got, Ok((200, body)) if body == "v2");
    assert!(after.iter().all(is_new), "{after:?}");
    assert_eq!(before.len(), 100);
    assert!(load.most() <= MAX_PARALLEL + 1, "{}", load.most());
    assert_eq!(send(&service, get("/a")).await.body, "v2");
}
