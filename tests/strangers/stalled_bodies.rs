//! Responses whose bodies stall, maybe for the fields of one client's request: others wait for them
//! no longer than for a call that hangs.

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

use crate::support::origin::{BodyStep, Origin, answer, cacheable, data, scripted};
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, gets, send, send_all, with};

const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes that the bodies which stall announce.
const LENGTH: usize = 900_000;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// An origin whose responses to requests with `x-odd` stall after so many bytes. The senders of
/// their bodies are kept.
fn stalling(bytes: usize) -> (Origin, Arc<Mutex<Vec<UnboundedSender<BodyStep>>>>) {
    let scripts = Arc::<Mutex<Vec<_>>>::default();
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
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-length", &LENGTH.to_string()),
        ];
        answer(200, &lines, "").map(|_| body)
    });
    (origin, scripts)
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

/// A body that keeps coming is shared before it is whole. Who has its head waits as its own client
/// does; who comes once it stalls has another one.
#[tokio::test(start_paused = true)]
async fn a_shared_body_that_stalls_is_not_joined() {
    let (origin, scripts) = stalling(1);
    let service = layer().layer(origin.clone());
    let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
    let _stalled = odd.await.expect("a head");
    let script = scripts.lock().expect("scripts").pop().expect("a call");
    sleep(TAKEOVER_TIMEOUT / 2).await;
    script.send(data("x")).expect("a reader");
    sleep(TAKEOVER_TIMEOUT - SECOND).await;
    let _early = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(origin.calls(), 1);
    // It goes on for a moment.
    script.send(data("x")).expect("a reader");
    sleep(TAKEOVER_TIMEOUT - SECOND).await;
    let _late = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(origin.calls(), 1);
    sleep(SECOND * 2).await;
    assert_eq!(send(&service, get("/a")).await.body, "page");
    assert_eq!(origin.calls(), 2);
}

/// Those that share a body that keeps coming have it before their own time is up, however long it
/// takes.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_one_call() {
    for (takeover, waits, fill, takes) in [
        (10, 30, 30, 9),
        (10, 30, 30, 20),
        (10, 30, 30, 28),
        (10, 30, 30, 40),
        (2, 30, 30, 10),
        (10, 2, 30, 10),
        (10, 30, 2, 10),
        (0, 30, 30, 10),
        (10, 0, 30, 10),
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
        let mut asked = JoinSet::new();
        asked.spawn(service.clone().oneshot(get("/a")));
        // Those that come before its first byte call as well where no request waits for another.
        sleep(SECOND / 5).await;
        for _ in 0..200 {
            asked.spawn(service.clone().oneshot(get("/a")));
        }
        let begun = Instant::now();
        for response in asked.join_all().await {
            let body = response.expect("a head").into_body();
            let bytes = body.collect().await.expect("a whole body").to_bytes();
            assert_eq!(bytes.len(), takes as usize * 10);
        }
        let case = (takeover, waits, fill, takes);
        assert_eq!(origin.calls(), 1, "{case:?}");
        assert!(begun.elapsed() <= SECOND * takes, "{case:?}");
    }
}

/// A head that comes late leaves its body less time to be stored, and to be shared.
#[tokio::test(start_paused = true)]
async fn a_slow_body_after_a_late_head_is_one_call() {
    for head in [20, 26, 29] {
        let origin = Origin::new(move |_: Request<()>| async move {
            sleep(SECOND * head).await;
            let (script, body) = scripted();
            tokio::spawn(async move {
                for _ in 0..60 {
                    sleep(SECOND / 10).await;
                    let _ = script.send(data("x"));
                }
            });
            Ok(cacheable("").map(|_| body))
        });
        let layer = layer()
            .coalesce_takeover_timeout(SECOND * 60)
            .coalesce_timeout(SECOND * 60);
        let answers = send_all(&layer.layer(origin.clone()), gets(200)).await;
        assert!(answers.iter().all(|answer| answer.body.len() == 60));
        assert_eq!(origin.calls(), 1, "a head after {head} s");
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
