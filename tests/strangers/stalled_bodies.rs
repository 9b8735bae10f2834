//! Responses whose bodies stall, maybe for the fields of one client's request: others wait for them
//! no longer than for a call that hangs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
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
/// The bytes of a body that are shared before it is whole.
const SHARED_FROM: usize = 256 * 1024;

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
            ("content-length", "900000"),
        ];
        answer(200, &lines, "").map(|_| body)
    });
    (origin, scripts)
}

/// The client whose call it is has its head at once. All others share one further call.
#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_waited_for_as_long_as_a_call_that_hangs() {
    for bytes in [0, 1, SHARED_FROM - 1] {
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

/// A large body is shared while it comes. Who has its head waits as its own client does; who comes
/// once it stalls has another one.
#[tokio::test(start_paused = true)]
async fn a_large_body_that_stalls_is_not_joined() {
    let (origin, scripts) = stalling(SHARED_FROM);
    let service = layer().layer(origin.clone());
    let odd = service.clone().oneshot(with(get("/a"), "x-odd", "1"));
    let _stalled = odd.await.expect("a head");
    sleep(TAKEOVER_TIMEOUT - SECOND).await;
    let _early = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(origin.calls(), 1);
    // It goes on for a moment.
    let script = scripts.lock().expect("scripts").pop().expect("a call");
    script.send(data("x")).expect("a reader");
    sleep(TAKEOVER_TIMEOUT - SECOND).await;
    let _late = service.clone().oneshot(get("/a")).await.expect("a head");
    assert_eq!(origin.calls(), 1);
    sleep(SECOND * 2).await;
    assert_eq!(send(&service, get("/a")).await.body, "page");
    assert_eq!(origin.calls(), 2);
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
