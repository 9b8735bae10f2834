//! P9: calls without a fence, which nobody can join, hold up others once, too.

use std::time::Duration;

use http::Method;
use tokio::time::sleep;
use tower::Layer;

use super::{MS, honest, odd, origin, waits, with_clients};
use crate::support::send;
use crate::support::time::SECOND;

/// What honest clients wait for a page, one request each second, while the stranger keeps it from being
/// stored by writes whose outcome is unknown (as documented), and sends one request at a time.
async fn waited_without_fences(stranger: Option<&'static str>) -> (Duration, Duration, usize) {
    let service = with_clients().layer(origin(50 * MS, "public, max-age=1"));
    let writes = service.clone();
    let writing = tokio::spawn(async move {
        for number in 0.. {
            let mut write = odd("/a", "fails-at-once", number);
            *write.method_mut() = Method::POST;
            send(&writes, write).await;
            sleep(4 * SECOND).await;
        }
    });
    let attacked = service.clone();
    let reading = tokio::spawn(async move {
        let Some(what) = stranger else { return };
        for number in 0.. {
            sleep(300 * MS).await;
            send(&attacked, odd("/a", what, number)).await;
        }
    });
    let all = waits(&service, 150, honest).await;
    writing.abort();
    reading.abort();
    let waited = all.iter().sum::<Duration>() / 150;
    let longest = *all.iter().max().expect("many");
    (
        waited,
        longest,
        all.iter().filter(|took| **took > SECOND).count(),
    )
}

/// The calls of the stranger are slow, and nobody joins them.
#[tokio::test(start_paused = true)]
async fn calls_without_a_fence_wait_once_for_those_of_a_stranger_that_are_slow() {
    let cases = [None, Some("is-slow"), Some("is-refused"), Some("fails")];
    let mut all = Vec::new();
    for stranger in cases {
        let got = waited_without_fences(stranger).await;
        println!("{stranger:?}: {got:?} (on average, at most, more than a second of 150)");
        all.push((stranger, got));
    }
    for (stranger, got) in all {
        assert!(got.0 <= SECOND, "{stranger:?}: {got:?}");
    }
}
