//! A request that waits costs no work: whatever it waits for, and however short the timeouts are,
//! no task is busy meanwhile.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::clock::Moment;
use tower_response_cache::{CacheLayer, ResponseBody};

use crate::support::gate::{Gate, Gated};
use crate::support::origin::{
    BodyStep, Origin, OriginBody, OriginError, Response, answer, cacheable, data, scripted,
};
use crate::support::time::{FOREVER, SECOND, SLOW};
use crate::support::{gets, with};

/// Counts how often a layer reads its clock while no time passes. Each turn of a loop that waits
/// for nothing reads it.
#[derive(Clone, Default)]
struct Readings(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    at: Duration,
    count: usize,
    most: usize,
    total: usize,
}

impl Readings {
    /// A layer with this clock. It panics, where a loop would go on for ever, after `limit`
    /// readings of one time.
    fn layer(&self, limit: usize) -> CacheLayer<MemoryBackend> {
        self.layer_with(limit, true)
    }

    /// A layer whose clock may stand still.
    fn layer_with(&self, limit: usize, is_running: bool) -> CacheLayer<MemoryBackend> {
        let (readings, begun) = (self.clone(), Instant::now());
        CacheLayer::new(MemoryBackend::default()).clock(move || {
            let passed = match is_running {
                true => begun.elapsed() + SECOND,
                false => SECOND,
            };
            assert!(readings.note(passed) <= limit, "a task is busy");
            Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
        })
    }

    fn note(&self, now: Duration) -> usize {
        let mut state = self.0.lock().expect("no panic");
        if state.at != now {
            (state.at, state.count) = (now, 0);
        }
        state.count += 1;
        state.total += 1;
        state.most = state.most.max(state.count);
        state.count
    }

    fn most(&self) -> usize {
        self.0.lock().expect("no panic").most
    }

    fn total(&self) -> usize {
        self.0.lock().expect("no panic").total
    }
}

/// Sends all at once, each in a task, and waits until each has its whole answer. How many have one
/// without an error.
async fn answered<S>(service: &S, asks: impl IntoIterator<Item = Request<()>>) -> usize
where
    S: Service<Request<()>, Error = OriginError> + Clone + Send + 'static,
    S: Service<Request<()>, Response = http::Response<ResponseBody<OriginBody>>>,
    S::Future: Send,
{
    let mut tasks = JoinSet::new();
    for ask in asks {
        let service = service.clone();
        tasks.spawn(async move {
            let response = service.oneshot(ask).await?;
            let body = response.into_body().collect().await;
            body.map_err(|_| OriginError("torn"))
        });
    }
    let mut answered = 0;
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            answered += usize::from(ended.expect("no panic").is_ok());
        }
    };
    timeout(FOREVER, all).await.expect("every request ends");
    answered
}

/// With default options: no call begins for longer than a request may wait for one.
#[tokio::test(start_paused = true)]
async fn requests_wait_idly_for_a_service_that_is_not_ready() {
    let readings = Readings::default();
    let gate = Gate::default();
    gate.close();
    let inner = Origin::at_once(|_| cacheable("ready"));
    let gated = Gated {
        inner: inner.clone(),
        gate: gate.clone(),
    };
    let service = readings.layer(2_000).layer(gated);
    let open = async {
        sleep(SECOND * 49).await;
        gate.open();
    };
    let (answered, ()) = tokio::join!(answered(&service, gets(20)), open);
    eprintln!("not ready for 49 s: {} readings", readings.most());
    assert_eq!(answered, 20);
    assert!(inner.calls() <= 2 * 8 + 3, "{}", inner.calls());
}

/// With default options: the calls of a key have failed, and one has a response that the waiting
/// requests cannot use, as long as its body lasts.
#[tokio::test(start_paused = true)]
async fn requests_wait_idly_beside_a_response_that_they_cannot_use() {
    for (name, value) in [
        ("cache-control", "max-age=5"),
        ("cache-control", "min-fresh=7200"),
        ("cookie", "a=1"),
        ("x-odd", "1"),
        ("range", "bytes=0-1"),
        ("if-match", "\"1\""),
    ] {
        let readings = Readings::default();
        let service = readings.layer(4_000).layer(Habit::OldAndLong.origin());
        let odd = gets(20).map(|ask| with(ask, name, value));
        let all = answered(&service, gets(20).chain(odd)).await;
        eprintln!("{name}: {} readings", readings.most());
        assert_eq!(all, 37, "{name}: all but the three that failed");
    }
}

/// With a coarse clock: calls that began at the same time as a request do not count as newer, so
/// that an old response that may be joined is of no use, however often it is looked at.
#[tokio::test(start_paused = true)]
async fn requests_look_at_a_response_that_is_too_old_a_few_times() {
    let readings = Readings::default();
    let layer = readings.layer_with(2_000, false);
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| match calls.fetch_add(1, Ordering::SeqCst) + 1 {
        4 => Habit::OldAndLong.answer(4),
        call => Habit::FailsLate.answer(call),
    });
    let service = layer.layer(origin.clone());
    let odd = gets(20).map(|ask| with(ask, "cache-control", "max-age=5"));
    let all = answered(&service, odd).await;
    eprintln!("too old: {} readings, {all} answers", readings.most());
    assert_eq!((all, origin.calls()), (1, 20));
}

/// What an inner service does with its calls.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Hangs,
    FailsAtOnce,
    FailsLate,
    /// The body fails at once, or after a while.
    Tears(Duration),
    /// Three calls fail. Then the responses are old, and their bodies last.
    OldAndLong,
    Answers,
}

impl Habit {
    fn origin(self) -> Origin {
        let calls = Arc::new(AtomicUsize::new(0));
        Origin::new(move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            self.answer(call)
        })
    }

    async fn answer(self, call: usize) -> Result<Response, OriginError> {
        match self {
            Self::Hangs => pending().await,
            Self::FailsAtOnce => Ok(answer(503, &[], "failed")),
            Self::FailsLate => {
                sleep(SLOW).await;
                Err(OriginError("failed"))
            }
            Self::Answers => {
                sleep(SECOND * 2).await;
                Ok(cacheable("good"))
            }
            Self::Tears(after) => {
                sleep(SLOW).await;
                Ok(long_body(cacheable(""), after, Err("torn".into())))
            }
            Self::OldAndLong if call <= 3 => {
                sleep(SLOW).await;
                Err(OriginError("failed"))
            }
            Self::OldAndLong => {
                sleep(SLOW).await;
                let lines = [
                    ("cache-control", "max-age=3600"),
                    ("age", "10"),
                    ("vary", "x-odd"),
                ];
                Ok(long_body(answer(200, &lines, ""), SECOND * 20, data("end")))
            }
        }
    }
}

/// A body that begins at once and has this last step.
fn long_body(head: Response, after: Duration, last: BodyStep) -> Response {
    let (steps, body) = scripted();
    if !after.is_zero() {
        steps.send(data("begin")).expect("room");
    }
    tokio::spawn(async move {
        sleep(after).await;
        let _ = steps.send(last);
    });
    head.map(|_| body)
}

/// Whatever the timeouts are, zero included, and whether clients stay or leave.
#[tokio::test(start_paused = true)]
async fn requests_wait_idly_with_any_timeouts() {
    let times = [Duration::ZERO, Duration::from_millis(1), SECOND * 30];
    let habits = [
        Habit::Hangs,
        Habit::FailsAtOnce,
        Habit::FailsLate,
        Habit::Tears(Duration::ZERO),
        Habit::Tears(SLOW),
        Habit::OldAndLong,
        Habit::Answers,
    ];
    for habit in habits {
        let (mut most, mut total) = (0, 0);
        for takeover in times {
            for wait in times {
                for fill in times {
                    for not_ready in [Duration::ZERO, SECOND * 5] {
                        let readings = Readings::default();
                        let layer = readings
                            .layer(1_000)
                            .coalesce_takeover_timeout(takeover)
                            .coalesce_timeout(wait)
                            .fill_timeout(fill);
                        let what = format!("{habit:?} {takeover:?} {wait:?} {fill:?}");
                        herd(layer, habit, not_ready).await.expect(&what);
                        most = most.max(readings.most());
                        total = total.max(readings.total());
                    }
                }
            }
        }
        eprintln!("{habit:?}: at most {most} readings at once, {total} in all");
        assert!(total <= 6_000, "{habit:?}: {total}");
    }
}

/// Sends many kinds of requests to a service with this habit. Some leave.
async fn herd(
    layer: CacheLayer<MemoryBackend>,
    habit: Habit,
    not_ready: Duration,
) -> Result<(), &'static str> {
    let gate = Gate::default();
    gate.close();
    let inner = habit.origin();
    let gated = Gated {
        inner,
        gate: gate.clone(),
    };
    let service = layer.layer(gated);
    let leaving = tokio::spawn(timeout(SLOW * 3, {
        let service = service.clone();
        async move { answered(&service, gets(10)).await }
    }));
    let ranges = gets(10).map(|ask| with(ask, "range", "bytes=0-1"));
    let newer = gets(10).map(|ask| with(ask, "cache-control", "max-age=5"));
    let asks = gets(20).chain(ranges).chain(newer);
    let open = async {
        sleep(not_ready).await;
        gate.open();
    };
    let (all, ()) = tokio::join!(timeout(SECOND * 200, answered(&service, asks)), open);
    leaving.await.map_err(|_| "a client that left")?.ok();
    match (all, habit) {
        (Ok(_), _) | (_, Habit::Hangs) => Ok(()),
        (Err(_), _) => Err("a request is forgotten"),
    }
}
