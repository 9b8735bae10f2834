//! Places of short refreshes, their times, and what they are noted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::{around, layer};
use crate::support::origin::{Origin, answer, scripted};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";
const FOR_EVER: Duration = Duration::from_secs(3600);

fn odd(path: &str, number: usize) -> Request<()> {
    with(get(path), "x-odd", &number.to_string())
}

fn traced(path: &str, number: usize) -> Request<()> {
    with(get(path), "x-n", &number.to_string())
}

/// Different requests that hang take all places of keys for which no short refresh has brought a
/// response. The page has others as soon as one has.
#[tokio::test(start_paused = true)]
async fn a_page_beside_many_that_hang_is_refreshed() {
    const OTHERS: usize = 30;
    let begun = Instant::now();
    let origin = Origin::new(move |request: Request<()>| async move {
        if begun.elapsed() > SECOND && request.headers().contains_key("x-odd") {
            sleep(FOR_EVER).await;
        }
        let made = begun.elapsed().as_millis().to_string();
        sleep(20 * MS).await;
        Ok(answer(200, &[("cache-control", FOR_ALL)], made))
    });
    let service = layer().layer(origin);
    for key in 0..=OTHERS {
        send(&service, get(&format!("/{key}"))).await;
    }
    sleep(3 * SECOND).await;
    let (mut sum, mut count) = (0, 0);
    for number in 0..30_000 {
        let path = format!("/{}", number % (OTHERS + 1));
        send(&service, odd(&path, number)).await;
        if number % 50 == 0 {
            let now = begun.elapsed().as_millis();
            let got = send(&service, traced("/0", number)).await;
            sum += now.saturating_sub(got.body.parse().expect("a time"));
            count += 1;
        }
        sleep(11 * MS).await;
    }
    let mean = Duration::from_millis(u64::try_from(sum / count).expect("less than an hour"));
    assert!(mean < 4 * SECOND, "{mean:?}");
}

/// The 304 tells nothing of the time that a new body takes.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_made_more_slowly_than_confirmed_is_made_anew() {
    let begun = Instant::now();
    let version = move || (begun.elapsed().as_secs() / 60).to_string();
    let origin = Origin::new(move |request: Request<()>| async move {
        if request.headers().contains_key("x-odd") {
            sleep(FOR_EVER).await;
        }
        let tag = format!("\"{}\"", version());
        let lines = [("cache-control", FOR_ALL), ("etag", tag.as_str())];
        let known = request.headers().get("if-none-match");
        if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            sleep(10 * MS).await;
            return Ok(answer(304, &lines, ""));
        }
        let made = version();
        sleep(900 * MS).await;
        Ok(answer(200, &lines, made))
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    let (mut old, mut count, mut state) = (0, 0, 7);
    for number in 0..9000 {
        sleep(around(200, &mut state)).await;
        if number % 6 > 0 {
            send(&service, odd("/a", number)).await;
        } else {
            let now = version();
            let got = send(&service, traced("/a", number)).await;
            count += 1;
            old += usize::from(got.body != now);
        }
    }
    assert!(old * 4 < count, "{old} of {count} are old");
}

/// Requests with its fields begin no other one within a minute.
#[tokio::test(start_paused = true)]
async fn a_short_refresh_whose_body_stalls_has_hung() {
    for bytes in ["", "x"] {
        let begun = Instant::now();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let origin = Origin::new(move |request: Request<()>| {
            let calls = counted.clone();
            async move {
                if begun.elapsed() < SECOND {
                    return Ok(answer(200, &[("cache-control", FOR_ALL)], "page"));
                }
                if request.headers().contains_key("x-odd") {
                    sleep(FOR_EVER).await;
                }
                calls.fetch_add(1, Ordering::Relaxed);
                let (script, body) = scripted();
                let first = http_body::Frame::data(bytes.as_bytes().into());
                script.send(Ok(first)).expect("room");
                tokio::spawn(async move {
                    script.closed().await;
                });
                Ok(answer(200, &[("cache-control", FOR_ALL)], "").map(|_| body))
            }
        });
        let service = layer().layer(origin);
        send(&service, get("/a")).await;
        sleep(3 * SECOND).await;
        for number in 0..500 {
            if number % 10 == 0 {
                send(&service, odd("/a", number)).await;
            }
            if number > 0 {
                send(&service, traced("/a", 1)).await;
            }
            sleep(100 * MS).await;
        }
        let calls = calls.load(Ordering::Relaxed);
        println!("{bytes:?}: {calls} calls");
        assert!(calls <= 2, "{calls}");
    }
}
