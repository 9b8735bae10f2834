//! A write ends the sharing of calls that began before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::support::origin::{Origin, OriginError, Response, answer, cacheable, scripted, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{collect, get, gets, put, send, send_all, with};
use crate::{burst, layer, times};

/// A write makes the fills before it worthless, but not each of their followers a leader.
#[tokio::test(start_paused = true)]
async fn a_write_among_followers_costs_one_more_call() {
    for (case, wait) in [("leader errs", SLOW), ("slow origin", SECOND * 12)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let origin = Origin::new(move |request| {
            let call = match request.method() == http::Method::GET {
                true => count.fetch_add(1, Ordering::SeqCst) + 1,
                false => 0,
            };
            async move {
                if call == 0 {
                    return Ok(answer(204, &[], ""));
                }
                sleep(wait).await;
                match call {
                    1 if wait == SLOW => Err(OriginError("the first")),
                    _ => Ok(cacheable("x")),
                }
            }
        });
        let service = layer().layer(origin);
        let writes = async {
            sleep(SLOW / 2).await;
            send(&service, crate::support::put("/a")).await;
        };
        let ((_, answers), ()) = tokio::join!(burst(&service, gets(100)), writes);
        assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 99);
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls <= 3, "{case}: {calls} calls");
        settle().await;
        assert!(
            send(&service, get("/a")).await.is_hit(),
            "{case}: what came last is stored"
        );
    }
}

/// A response that varies by language, whose body, the language, takes its time.
fn slowly_in(language: HeaderValue) -> Response {
    let (script, body) = scripted();
    tokio::spawn(async move {
        sleep(SLOW * 4).await;
        let text = Bytes::copy_from_slice(language.as_bytes());
        let _ = script.send(Ok(http_body::Frame::data(text)));
    });
    let lines = [("cache-control", "max-age=60"), ("vary", "accept-language")];
    answer(200, &lines, "").map(|_| body)
}

/// A write among followers that turn out to want another variant costs one more call.
#[tokio::test(start_paused = true)]
async fn a_write_among_followers_of_another_variant_costs_one_more_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |request| {
        let language = request.headers().get("accept-language").cloned();
        let count = count.clone();
        async move {
            let Some(language) = language else {
                return Ok(answer(204, &[], ""));
            };
            count.fetch_add(1, Ordering::SeqCst);
            sleep(SLOW).await;
            Ok(slowly_in(language))
        }
    });
    let service = layer().layer(origin);
    let ask = |language: &str| with(get("/a"), "accept-language", language);
    let asks = std::iter::once(ask("de")).chain((0..50).map(|_| ask("fr")));
    let writes = async {
        sleep(SLOW / 2).await;
        send(&service, crate::support::put("/a")).await;
    };
    let ((_, answers), ()) = tokio::join!(burst(&service, asks), writes);
    let french = answers
        .iter()
        .filter(|answer| answer.as_deref() == Ok("fr"));
    assert_eq!((french.count(), calls.load(Ordering::SeqCst)), (50, 2));
}

/// A request that follows a call from before a write turns to its own variant, for which no rule is
/// stored then. Those who come later find its call all the same.
#[tokio::test(start_paused = true)]
async fn a_variant_that_no_stored_rule_names_is_called_for_once() {
    let origin = Origin::new(|request: Request<()>| async move {
        sleep(SLOW).await;
        let Some(language) = request.headers().get("accept-language").cloned() else {
            return Ok(cacheable("other"));
        };
        Ok(slowly_in(language))
    });
    let layer = layer();
    let handle = layer.handle();
    let one = tower::limit::ConcurrencyLimitLayer::new(1);
    let service = layer.layer(one.layer(origin.clone()));
    let asked_at = |quarter: u32, request: Request<()>| {
        let service = service.clone();
        async move {
            sleep(SLOW * quarter / 4).await;
            send(&service, request).await.body
        }
    };
    let ask = |language| with(get("/a"), "accept-language", language);
    let (_, french, german, latest, _) = tokio::join!(
        asked_at(0, get("/other")),
        asked_at(1, ask("fr")),
        asked_at(3, ask("de")),
        asked_at(16, ask("de")),
        async {
            sleep(SLOW / 2).await;
            handle.invalidate("/a").await.expect("in memory");
        },
    );
    assert_eq!((&*french, &*german, &*latest), ("fr", "de", "de"));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_begins_after_a_write_joins_no_flight_from_before_it() {
    let version = Arc::new(AtomicUsize::new(1));
    let origin = Origin::new(move |request: Request<()>| {
        let version = version.clone();
        async move {
            if request.method() == http::Method::PUT {
                version.fetch_add(1, Ordering::SeqCst);
                return Ok(answer(200, &[], ""));
            }
            let sampled = version.load(Ordering::SeqCst);
            sleep(SLOW).await;
            Ok(cacheable(format!("v{sampled}")))
        }
    });
    let service = layer().layer(origin.clone());
    let before = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    send(&service, put("/a")).await;
    let after = send_all(&service, times(10, "/a")).await;
    assert!(after.iter().all(|answer| answer.body == "v2"));
    assert_eq!(origin.calls(), 3);
    let before = before.await.expect("it runs on").expect("an answer");
    assert_eq!(collect(before).await.body, "v1");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "v2");
}

/// A write to one resource does not keep the misses of another from sharing.
#[tokio::test(start_paused = true)]
async fn writes_elsewhere_do_not_keep_misses_from_sharing() {
    let origin = slow(|_, _| cacheable("x"));
    let service = layer().layer(origin.clone());
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    send(&service, put("/other")).await;
    send_all(&service, times(10, "/a")).await;
    first.await.expect("it runs on").expect("an answer");
    assert_eq!(origin.calls(), 2);
}
