//! Leaders and followers that leave, or stop being polled.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::backend::{Backend, MemoryBackend};

use crate::layer;
use crate::support::origin::{Origin, answer, cacheable, data, scripted, slow};
use crate::support::time::{FOREVER, SECOND, SLOW, in_virtual_time, settle};
use crate::support::yielding::yielding;
use crate::support::{collect, get, send};

/// A client that holds its request without polling it delays no other request.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_no_longer_polled_blocks_no_request() {
    let origin = slow(|_, _| cacheable("x"));
    let service = layer().layer(origin.clone());
    let mut held = pin!(service.clone().oneshot(get("/a")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(held.as_mut().poll(&mut cx).is_pending());
    let begun = Instant::now();
    let follower = timeout(FOREVER, send(&service, get("/a"))).await;
    assert_eq!(follower.expect("it is told").body, "x");
    assert_eq!(begun.elapsed(), SLOW);
    let held = timeout(FOREVER, held).await.expect("it is woken");
    assert_eq!(collect(held.expect("an answer")).await.body, "x");
    assert_eq!(origin.calls(), 1);
}

/// Nor does its error, or its panic, wait for it.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_polled_does_not_keep_its_failure_from_being_seen() {
    for panics in [false, true] {
        let origin = slow(move |_, call| match call {
            1 if panics => panic!("in the first call"),
            1 => answer(503, &[], "an error"),
            _ => cacheable("x"),
        });
        let service = layer().layer(origin.clone());
        let mut held = Box::pin(service.clone().oneshot(get("/a")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(held.as_mut().poll(&mut cx).is_pending());
        let begun = Instant::now();
        assert_eq!(send(&service, get("/a")).await.body, "x");
        assert_eq!(begun.elapsed(), SLOW * 2);
        // The panic is its own, where it is polled again.
        match tokio::spawn(held).await {
            Ok(response) => assert_eq!(response.expect("an answer").status(), 503),
            Err(error) => assert!(panics && error.is_panic()),
        }
    }
}

/// A request that comes while the inner service is called, before its leader has waited for
/// anything, keeps the call going: whether that is polled on, is held, or leaves.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_while_the_call_is_made_keeps_it_going() {
    type Follower = Pin<Box<dyn Future<Output = String> + Send>>;
    for leader in ["polled", "held", "gone"] {
        let follower = Arc::new(Mutex::new(None::<Follower>));
        let calls = Arc::new(AtomicUsize::new(0));
        let (comes, counted) = (follower.clone(), calls.clone());
        let service = layer().layer(service_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let follower = comes.lock().expect("no panic").take();
            if let Some(mut follower) = follower {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(follower.as_mut().poll(&mut cx).is_pending());
                *comes.lock().expect("no panic") = Some(follower);
            }
            async {
                sleep(SLOW).await;
                Ok::<_, Infallible>(cacheable("x"))
            }
        }));
        let own = service.clone();
        let follow = async move { send(&own, get("/a")).await.body };
        *follower.lock().expect("no panic") = Some(Box::pin(follow));
        let mut leads = Box::pin(send(&service, get("/a")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(leads.as_mut().poll(&mut cx).is_pending());
        let mut leads = Some(leads).filter(|_| leader != "gone");
        let follow = follower.lock().expect("no panic").take().expect("it came");
        let begun = Instant::now();
        let followed = timeout(FOREVER, follow);
        let followed = match leads.take_if(|_| leader == "polled") {
            Some(leads) => tokio::join!(leads, followed).1,
            None => followed.await,
        };
        assert_eq!(followed.as_deref(), Ok("x"), "{leader}");
        assert_eq!(begun.elapsed(), SLOW, "{leader}");
        if let Some(held) = leads {
            assert_eq!(held.await.body, "x");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{leader}");
    }
}

/// The leader is dropped after any number of polls, of its head or its body: followers complete, by
/// its call if there were any while it lived.
#[tokio::test(start_paused = true)]
async fn a_leader_may_be_dropped_at_any_point() {
    async fn check(backend: impl Backend, polls: usize) -> bool {
        let origin = slow(|_, _| {
            let (script, body) = scripted();
            tokio::spawn(async move {
                for part in ["one ", "two ", "three"] {
                    sleep(SLOW).await;
                    let _ = script.send(crate::support::origin::data(part));
                }
            });
            cacheable("").map(|_| body)
        });
        let layer = in_virtual_time(backend);
        let service = layer.layer(origin.clone());
        let own = service.clone();
        let mut leader = Box::pin(async move {
            let response = own.oneshot(get("/a")).await.expect("a head");
            response.into_body().collect().await.expect("a whole body")
        });
        let leads = async move {
            let mut left = polls;
            // Whether it came to its end; dropped with the polls it had otherwise.
            std::future::poll_fn(move |cx| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                leader.as_mut().poll(cx).map(|_| true)
            })
            .await
        };
        let local = LocalSet::new();
        let follow = local.run_until(async {
            let mut followers = JoinSet::new();
            for _ in 0..3 {
                let service = service.clone();
                followers.spawn_local(async move { send(&service, get("/a")).await.body });
            }
            followers.join_all().await
        });
        let (over, bodies) = tokio::join!(biased; leads, follow);
        assert!(
            bodies.iter().all(|body| body == "one two three"),
            "{polls}: {bodies:?}"
        );
        let most = if polls == 0 { 2 } else { 1 };
        assert!(origin.calls() <= most, "{polls}: {} calls", origin.calls());
        settle().await;
        assert!(send(&service, get("/a")).await.is_hit(), "{polls}");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
        over
    }
    let mut polls = 0;
    while !check(MemoryBackend::default(), polls).await {
        polls += 1;
    }
    assert!(polls > 3, "several points, not {polls}");
    let mut polls = 0;
    while !check(yielding(MemoryBackend::default()), polls).await {
        polls += 1;
    }
    assert!(polls > 5, "more with a backend that waits, not {polls}");
}

/// When all waiting requests have left, the call is dropped.
#[tokio::test(start_paused = true)]
async fn a_call_is_dropped_with_its_last_waiting_request() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let origin = Origin::new(move |_| {
        let counted = Counted(count.clone());
        async move {
            let _counted = counted;
            std::future::pending::<()>().await;
            Ok(cacheable("never"))
        }
    });
    let layer = layer();
    let service = layer.layer(origin);
    let local = LocalSet::new();
    local
        .run_until(async {
            let leader = tokio::task::spawn_local(service.clone().oneshot(get("/a")));
            settle().await;
            let follower = tokio::task::spawn_local(service.clone().oneshot(get("/a")));
            settle().await;
            leader.abort();
            settle().await;
            assert_eq!(dropped.load(Ordering::SeqCst), 0);
            follower.abort();
            settle().await;
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        })
        .await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// A request that calls for itself does not delay those it followed before.
#[tokio::test(start_paused = true)]
async fn a_follower_that_leaves_delays_no_other() {
    for (patience, wait) in [(SLOW, SECOND * 30), (SECOND * 10, SLOW)] {
        let origin = Origin::new({
            let calls = Arc::new(AtomicUsize::new(0));
            move |_| {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    if call > 1 {
                        std::future::pending::<()>().await;
                    }
                    sleep(SLOW * 2).await;
                    let (script, body) = scripted();
                    for _ in 0..25 {
                        let frame = Bytes::from(vec![7; 64 * 1024]);
                        let _ = script.send(Ok(http_body::Frame::data(frame)));
                    }
                    Ok(cacheable("").map(|_| body))
                }
            }
        });
        let service = layer()
            .max_body(1000)
            .coalesce_takeover_timeout(patience)
            .coalesce_timeout(wait)
            .layer(origin);
        let begun = Instant::now();
        let leader = async {
            let response = service.clone().oneshot(get("/a")).await.expect("a head");
            let body = response.into_body().collect().await.expect("a whole body");
            assert_eq!(body.to_bytes().len(), 25 * 64 * 1024);
            begun.elapsed()
        };
        let follower = timeout(SECOND, service.clone().oneshot(get("/a")));
        let (took, hung) = tokio::join!(leader, follower);
        assert!(hung.is_err());
        assert_eq!(took, SLOW * 2);
    }
}

/// The leader's client leaves before the head, at every poll of it.
#[tokio::test(start_paused = true)]
async fn followers_survive_a_leader_who_leaves_before_the_head() {
    let origin = slow(|_, call| cacheable(format!("call {call}")));
    let service = layer().layer(origin.clone());
    let leader = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let follower = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    leader.abort();
    let answer = collect(follower.await.expect("it runs on").expect("an answer")).await;
    assert_eq!(answer.body, "call 1");
    assert_eq!(origin.calls(), 1);
    settle().await;
    assert!(send(&service, get("/a")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_waiting_requests_is_dropped() {
    let origin = slow(|_, _| cacheable("x"));
    let layer = layer();
    let service = layer.layer(origin.clone());
    let leader = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    leader.abort();
    sleep(SLOW * 4).await;
    assert_eq!((origin.calls(), layer.handle().stats().stores), (1, 0));
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

/// In the middle of the body; the response is stored although no client reads any more.
#[tokio::test(start_paused = true)]
async fn a_fill_goes_on_without_its_clients() {
    for followers in [0, 2] {
        let (body, response) = scripted();
        let response = std::sync::Mutex::new(Some(response));
        let origin = Origin::at_once(move |_| {
            let body = response.lock().expect("a lock").take().expect("one call");
            cacheable("").map(|_| body)
        });
        let service = layer().layer(origin.clone());
        let leader = service.clone().oneshot(get("/a")).await.expect("a head");
        let mut follow = JoinSet::new();
        for _ in 0..followers {
            follow.spawn(service.clone().oneshot(get("/a")));
        }
        body.send(data("first, ")).expect("a reader");
        settle().await;
        drop(leader);
        settle().await;
        body.send(data("second")).expect("it goes on");
        drop(body);
        for response in follow.join_all().await {
            let response = response.expect("a head");
            assert_eq!(collect(response).await.body, "first, second");
        }
        settle().await;
        assert_eq!(send(&service, get("/a")).await.body, "first, second");
        assert_eq!(origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_fill_that_is_not_kept_is_dropped() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |_| {
        let body = response.lock().expect("a lock").take().expect("one call");
        cacheable("").map(|_| body)
    });
    let service = layer().max_body(1).layer(origin.clone());
    let reader = service.clone().oneshot(get("/a")).await.expect("a head");
    body.send(data("longer than that")).expect("a reader");
    settle().await;
    drop(reader);
    settle().await;
    assert!(body.is_closed());
}
