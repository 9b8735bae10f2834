//! Responses whose bodies stall or trickle, maybe for the fields of one client's request: others
//! wait for them no longer than for a call that hangs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{self, BodyStep, Origin, answer, cacheable, data, scripted};
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, gets, is_stored, send, send_all, with};

const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes that the bodies which stall announce.
const LENGTH: usize = 900_000;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// The senders of the bodies of odd responses.
type Scripts = Arc<Mutex<Vec<UnboundedSender<BodyStep>>>>;

/// An origin whose responses to requests with `x-odd` have these fields, and bodies that stall after
/// so many bytes. The senders of their bodies are kept.
fn odd_origin(bytes: usize, lines: Vec<(&'static str, String)>) -> (Origin, Scripts) {
    let scripts = Scripts::default();
    let kept = scripts.clone();
    let origin = Origin::at_once(move |request: &Request<()>| {
        if !request.headers().contains_key("x-odd") {
            return cacheable("page");
        }
        let (script, body) = scripted();
        if bytes > 0 {
            let frame = Frame::data(Bytes::from(vec![7; bytes]));
            script.send(Ok(frame)).expect("room");
        }
        kept.lock().expect("scripts").push(script);
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        answer(200, &lines, "").map(|_| body)
    });
    (origin, scripts)
}

fn stalling(bytes: usize) -> (Origin, Scripts) {
    let length = ("content-length", LENGTH.to_string());
    odd_origin(
        bytes,
        vec![("cache-control", "max-age=60".to_owned()), length],
    )
}

/// The client whose call it is has its head at once. All others share one further call.
#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_waited_for_as_long_as_a_call_that_hangs() {
    for bytes in [0, 1, LENGTH - 1] {
        let (origin, _scripts) = stalling(bytes);
        let service = layer().layer(origin.clone());
        let begun = Instant::now();
        let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
        let _stalled = odd.await.expect("a head");
        assert!(begun.elapsed().is_zero());
        let answers = send_all(&service, gets(200)).await;
        assert!(answers.iter().all(|answer| answer.body == "page"));
        assert_eq!((origin.calls(), begun.elapsed()), (2, TAKEOVER_TIMEOUT));
    }
}

/// Each of the odd client's flights is overtaken, the later ones after twice the time.
#[tokio::test(start_paused = true)]
async fn many_bodies_that_stall_delay_others_as_calls_that_hang_do() {
    let mut took = Vec::new();
    for hangs in [true, false] {
        let origin = Origin::new(move |request: Request<()>| async move {
            if !request.headers().contains_key("x-odd") {
                return Ok(cacheable("page"));
            }
            if hangs {
                sleep(SECOND * 3600).await;
            }
            let (script, body) = scripted();
            script.send(data("x")).expect("room");
            tokio::spawn(async move {
                sleep(SECOND * 3600).await;
                drop(script);
            });
            Ok(cacheable("").map(|_| body))
        });
        let service = layer().layer(origin.clone());
        let mut odd = JoinSet::new();
        for number in 0..20 {
            let request = with(get("/a"), "x-odd", &number.to_string());
            odd.spawn(service.clone().oneshot(request));
        }
        settle().await;
        let begun = Instant::now();
        assert_eq!(send(&service, get("/a")).await.body, "page");
        took.push((begun.elapsed(), origin.calls()));
    }
    assert_eq!(took[0], took[1]);
    assert!(took[1].0 <= SECOND * 40, "{took:?}");
}

/// How the body of an odd client's response comes, which never ends.
#[derive(Clone, Copy, Debug)]
enum Never {
    /// The call hangs.
    Call,
    /// It stops after so many bytes.
    Stops(usize),
    /// A byte comes in each of these times.
    Trickles(Duration),
    /// A byte comes each second for so many seconds, then none.
    Fades(u32),
}

/// A body that never ends comes this way. Its length is announced, or not.
async fn endless(never: Never, is_announced: bool) -> origin::Response {
    let (script, body) = scripted();
    let (first, each, seconds) = match never {
        Never::Call => {
            sleep(SECOND * 36_000).await;
            (0, SECOND, 0)
        }
        Never::Stops(bytes) => (bytes, SECOND, 0),
        Never::Trickles(each) => (1, each, u32::MAX),
        Never::Fades(seconds) => (1, SECOND, seconds),
    };
    if first > 0 {
        let frame = Frame::data(Bytes::from(vec![7; first]));
        script.send(Ok(frame)).expect("room");
    }
    tokio::spawn(async move {
        let begun = Instant::now();
        while begun.elapsed() < SECOND * seconds {
            sleep(each).await;
            if script.send(data("x")).is_err() {
                return;
            }
        }
        script.closed().await;
    });
    let length = LENGTH.to_string();
    let lines = [("cache-control", "max-age=60"), ("content-length", &length)];
    let lines = &lines[..if is_announced { 2 } else { 1 }];
    answer(200, lines, "").map(|_| body)
}

/// The honest requests, one each second for two minutes, beside odd ones every `odd`: the time that
/// they took on average, and the longest. What is stored is fresh for a second.
async fn time_of_honest(never: Never, is_announced: bool, odd: Duration) -> (Duration, Duration) {
    let origin = Origin::new(move |request: Request<()>| async move {
        Ok(match request.headers().contains_key("x-odd") {
            true => endless(never, is_announced).await,
            false => answer(200, &[("cache-control", "max-age=1")], "page"),
        })
    });
    let service = layer().layer(origin);
    let (mut strangers, mut honest) = (JoinSet::new(), JoinSet::new());
    let begun = Instant::now();
    let strange = service.clone();
    strangers.spawn(async move {
        let mut running = JoinSet::new();
        for number in 0_u32.. {
            let request = with(get("/a"), "x-odd", &number.to_string());
            let response = strange.clone().oneshot(request);
            running.spawn(async move { response.await.expect("a head").collect().await.is_ok() });
            sleep(odd).await;
        }
    });
    for _ in 0..120 {
        sleep(SECOND).await;
        let service = service.clone();
        honest.spawn(async move {
            let asked = Instant::now();
            assert_eq!(send(&service, get("/a")).await.body, "page");
            asked.elapsed()
        });
    }
    let times = honest.join_all().await;
    strangers.abort_all();
    let most = times.iter().max().copied().unwrap_or_default();
    println!("{never:?}, {odd:?}: {most:?} of {:?}", begun.elapsed());
    (times.iter().sum::<Duration>() / 120, most)
}

/// Promise: no client can slow down a fill that others wait for, whatever its response does.
#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_waited_for_as_a_call_that_hangs() {
    let never = [
        Never::Stops(1),
        Never::Stops(LENGTH - 1),
        Never::Stops(2 * LENGTH),
        Never::Trickles(SECOND),
        Never::Trickles(SECOND * 4),
        Never::Fades(5),
        Never::Fades(25),
    ];
    for odd in [SECOND * 7, SECOND / 3] {
        let (mean, most) = time_of_honest(Never::Call, false, odd).await;
        println!("hangs: {mean:?} {most:?}");
        for (never, is_announced) in never
            .iter()
            .flat_map(|never| [(never, false), (never, true)])
        {
            let took = time_of_honest(*never, is_announced, odd).await;
            assert!(
                took.0 <= mean && took.1 <= most,
                "{never:?}, {is_announced}, {odd:?}: {took:?}, not {mean:?}, {most:?}"
            );
        }
    }
}

/// A page that takes its time is a few calls: a further one after each takeover timeout, which
/// doubles. The first that is whole is for all.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_a_few_calls() {
    for (takeover, waits, fill, takes, calls, later) in [
        (10, 30, 30, 9, 1, 0),
        (10, 30, 30, 20, 2, 1),
        (10, 30, 30, 28, 2, 1),
        (2, 30, 30, 10, 3, 2),
        (1, 30, 30, 25, 5, 4),
        (0, 30, 30, 10, 201, 0),
        (10, 0, 30, 10, 201, 0),
    ] {
        let origin = Origin::at_once(move |_| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for _ in 0..takes * 10 {
                    sleep(SECOND / 10).await;
                    let _ = script.send(data("x"));
                }
            });
            cacheable("").map(|_| body)
        });
        let layer = layer()
            .coalesce_takeover_timeout(SECOND * takeover)
            .coalesce_timeout(SECOND * waits)
            .fill_timeout(SECOND * fill);
        let service = layer.layer(origin.clone());
        let (mut asked, begun) = (JoinSet::new(), Instant::now());
        for _ in 0..201 {
            let service = service.clone();
            asked.spawn(
                async move { (send(&service, get("/a")).await.body.len(), begun.elapsed()) },
            );
        }
        let answers = asked.join_all().await;
        let case = (takeover, waits, fill, takes);
        assert!(
            answers
                .iter()
                .all(|(bytes, _)| *bytes == takes as usize * 10)
        );
        // All but those that call as well have the first.
        let late = answers.iter().filter(|(_, took)| *took > SECOND * takes);
        assert_eq!((origin.calls(), late.count()), (calls, later), "{case:?}");
    }
}

/// A page that takes longer than `fill_timeout` is neither stored nor shared: those that have waited
/// for it call for themselves, the last after `coalesce_timeout` and `fill_timeout`.
#[tokio::test(start_paused = true)]
async fn a_body_slower_than_a_fill_may_be_is_for_its_client() {
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        tokio::spawn(async move {
            for _ in 0..40 {
                sleep(SECOND).await;
                let _ = script.send(data("x"));
            }
        });
        cacheable("").map(|_| body)
    });
    let begun = Instant::now();
    let answers = send_all(&layer().layer(origin.clone()), gets(100)).await;
    assert!(answers.iter().all(|answer| answer.body.len() == 40));
    assert!(begun.elapsed() <= SECOND * 100, "{:?}", begun.elapsed());
}

/// Pages whose bodies take a moment are stored beside ten bodies a second that stop after so many
/// bytes: lengths that are announced, and never come, hold half of the budget at most, and bytes
/// that came hold it for seconds.
#[tokio::test(start_paused = true)]
async fn bodies_that_stop_leave_room_for_others() {
    const PAGE: usize = 200_000;
    for (bytes, is_announced) in [
        (0, true),
        (800_000, true),
        (800_000, false),
        (60_000, false),
    ] {
        let announced = ("content-length", LENGTH.to_string());
        let mut lines = vec![("cache-control", "max-age=60".to_owned()), announced];
        lines.truncate(if is_announced { 2 } else { 1 });
        let (origin, _scripts) = odd_origin(bytes, lines);
        let pages = Origin::at_once(|_| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for _ in 0..2 {
                    sleep(SECOND / 10).await;
                    let half = Bytes::from(vec![b'p'; PAGE / 2]);
                    let _ = script.send(Ok(Frame::data(half)));
                }
            });
            let length = PAGE.to_string();
            let lines = [
                ("cache-control", "max-age=60"),
                ("content-length", &*length),
            ];
            answer(200, &lines, "").map(|_| body)
        });
        let inner = tower::service_fn(move |request: Request<()>| {
            match request.headers().contains_key("x-odd") {
                true => origin.clone().oneshot(request),
                false => pages.clone().oneshot(request),
            }
        });
        let service = layer().layer(inner);
        let mut reading = JoinSet::new();
        for second in 0..60 {
            for number in 0..10 {
                let odd = with(get(&format!("/odd/{second}/{number}")), "x-odd", "1");
                let head = service.clone().oneshot(odd).await.expect("a head");
                reading.spawn(head.collect());
            }
            let path = format!("/page/{second}");
            assert_eq!(send(&service, get(&path)).await.body.len(), PAGE);
            sleep(SECOND).await;
            let is_stored = is_stored(&service, get(&path)).await;
            assert!(is_stored, "{bytes} {is_announced} {second}");
        }
    }
}

/// A body whose bytes are all here needs no end: that of one client's request may never come.
#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_waits_a_moment_for_its_end() {
    for announces_trailer in [false, true] {
        let scripts = Arc::<Mutex<Vec<_>>>::default();
        let kept = scripts.clone();
        let origin = Origin::at_once(move |_| {
            let (script, body) = scripted();
            script.send(data("page")).expect("room");
            kept.lock().expect("scripts").push(script);
            let length = ("content-length", "4");
            let trailer = ("trailer", "x-sum");
            let cache_control = ("cache-control", "max-age=60");
            let lines = [cache_control, length, trailer];
            let lines = &lines[..if announces_trailer { 3 } else { 2 }];
            answer(200, lines, "").map(|_| body)
        });
        let service = layer().layer(origin.clone());
        let begun = Instant::now();
        // Chunks without bytes make it no longer.
        let empty_chunks = async {
            settle().await;
            let script = scripts.lock().expect("scripts").pop().expect("a call");
            tokio::spawn(async move {
                while script.send(data("")).is_ok() {
                    sleep(SECOND / 2).await;
                }
            });
        };
        let (answers, ()) = tokio::join!(send_all(&service, gets(20)), empty_chunks);
        assert!(answers.iter().all(|answer| answer.body == "page"));
        let waited = match announces_trailer {
            true => TAKEOVER_TIMEOUT,
            false => SECOND,
        };
        assert_eq!((origin.calls(), begun.elapsed()), (1, waited));
        settle().await;
        assert_eq!(send(&service, get("/a")).await.body, "page");
        assert_eq!((origin.calls(), begun.elapsed()), (1, waited));
    }
}

/// A call that one request forces takes no follower from one that runs, and does not lengthen the
/// time after which that is taken over.
#[tokio::test(start_paused = true)]
async fn a_forced_call_that_hangs_is_for_those_that_force_one() {
    for directive in ["no-cache", "max-age=0"] {
        let origin = Origin::new(move |request: Request<()>| async move {
            if request.headers().contains_key("x-odd") {
                sleep(SECOND * 3600).await;
            }
            sleep(SECOND * 4).await;
            Ok(cacheable("page"))
        });
        let service = layer().layer(origin.clone());
        let mut asked = JoinSet::new();
        let begun = Instant::now();
        asked.spawn(service.clone().oneshot(get("/a")));
        let mut forced = JoinSet::new();
        for number in 0..30 {
            sleep(SECOND / 10).await;
            let odd = with(get("/a"), "x-odd", &number.to_string());
            let odd = with(odd, "cache-control", directive);
            forced.spawn(service.clone().oneshot(odd));
            asked.spawn(service.clone().oneshot(get("/a")));
        }
        asked.join_all().await;
        assert_eq!((origin.calls(), begun.elapsed()), (31, SECOND * 4));
    }
}

/// A body that is not whole after `fill_timeout` is left to its client, with all it waits for.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_given_up_is_not_shared() {
    let (origin, scripts) = stalling(1);
    let layer = layer()
        .coalesce_takeover_timeout(SECOND * 100)
        .coalesce_timeout(SECOND * 100)
        .fill_timeout(SECOND * 5);
    let service = layer.layer(origin.clone());
    let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
    let _stalled = odd.await.expect("a head");
    let follower = timeout(SECOND * 6, send(&service, get("/a"))).await;
    assert_eq!(follower.expect("it goes on").body, "page");
    settle().await;
    let script = scripts.lock().expect("scripts").pop().expect("a call");
    script.send(data("x")).expect("its client reads it");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::TooSlow), 1);
    assert_eq!(origin.calls(), 2);
}

/// A body that breaks off before it was shared costs its followers a further call, no error.
#[tokio::test(start_paused = true)]
async fn a_small_body_that_breaks_off_is_only_its_clients() {
    for bytes in [0, 1] {
        let (origin, scripts) = stalling(bytes);
        let service = layer().layer(origin.clone());
        let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
        let _broken = odd.await.expect("a head");
        let breaks = async {
            sleep(SECOND).await;
            let script = scripts.lock().expect("scripts").pop().expect("a call");
            script
                .send(Err("connection lost".into()))
                .expect("a reader");
        };
        let (answers, ()) = tokio::join!(send_all(&service, gets(20)), breaks);
        assert!(answers.iter().all(|answer| answer.body == "page"));
        assert_eq!(origin.calls(), 2);
    }
}

/// All bytes of a known length are here, and then the body fails, or goes on: only its client sees
/// that, whether trailers are announced or not.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_after_its_last_byte_is_only_its_clients() {
    for announces_trailer in [false, true] {
        for goes_on in [false, true] {
            let lines = [
                ("cache-control", "max-age=60"),
                ("content-length", "4"),
                ("trailer", "x-sum"),
            ];
            let lines = &lines[..if announces_trailer { 3 } else { 2 }];
            let owned = lines
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            let (origin, scripts) = odd_origin(0, owned.collect());
            let service = layer().layer(origin.clone());
            let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
            let _odd = odd.await.expect("a head");
            let script = scripts.lock().expect("scripts").pop().expect("a call");
            let breaks = async {
                settle().await;
                script.send(data("fake")).expect("room");
                sleep(SECOND / 2).await;
                let _ = match goes_on {
                    true => script.send(data("and more")),
                    false => script.send(Err("connection lost".into())),
                };
            };
            let (answers, ()) = tokio::join!(send_all(&service, gets(20)), breaks);
            assert!(answers.iter().all(|answer| answer.body == "page"));
            assert_eq!(origin.calls(), 2);
        }
    }
}
