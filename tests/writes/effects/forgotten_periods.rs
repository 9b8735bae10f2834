//! Periods after writes of unknown outcome that have ended by the time a response is judged which
//! was asked for while they lasted. Other writes that fail meanwhile must not make them forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use tokio::join;
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{Origin, answer};
use crate::support::time::{in_virtual_time, settled};
use crate::support::{get, put, request, send};

async fn sleep_millis(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

/// An origin with a version that writes to `/team` or `/a` change after 4.9 seconds, though they
/// are answered 503 at once, and that takes two seconds for a GET or PATCH, whose content it reads
/// at their beginning.
fn late() -> Origin {
    let version = Arc::<AtomicU64>::default();
    Origin::new(move |request| {
        let version = version.clone();
        async move {
            let is_team = request.uri().path() != "/a";
            let known = version.load(Ordering::SeqCst).to_string();
            let fields = [
                ("cache-control", "max-age=60"),
                ("cache-groups", "\"team\""),
                ("content-location", "/a"),
            ];
            match *request.method() {
                Method::GET => {
                    sleep_millis(2_000).await;
                    Ok(answer(200, &fields[..if is_team { 2 } else { 1 }], known))
                }
                Method::PATCH => {
                    sleep_millis(2_000).await;
                    Ok(answer(200, &[fields[0], fields[2]], known))
                }
                _ => {
                    if request.uri().path() != "/other" {
                        tokio::spawn(async move {
                            sleep_millis(4_900).await;
                            version.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                    let group = [("cache-group-invalidation", "\"team\"")];
                    let is_named = request.uri().path() == "/team";
                    Ok(answer(503, &group[..usize::from(is_named)], ""))
                }
            }
        }
    })
}

/// Promise: no stale read. RFC 9875 §2.2: a member of a group is known when its head is there.
#[tokio::test(start_paused = true)]
async fn a_members_period_is_known_until_its_last_fill_has_ended() {
    let layer = in_virtual_time(MemoryBackend::default());
    let service = layer.layer(late());
    send(&service, put("/team")).await;
    sleep_millis(4_000).await;
    let fill = send(&service, get("/m/1"));
    let other = async {
        sleep_millis(1_500).await;
        send(&service, put("/other")).await;
    };
    let (filled, ()) = join!(fill, other);
    assert_eq!(filled.body, "0", "it was read before the commit");
    settled().await;
    let later = send(&service, get("/m/1")).await;
    assert_eq!(later.body, "1", "{}", later.cache_status());
    let refusals = layer.handle().stats().refusals;
    assert_eq!(refusals.get(Refusal::WriteGrace), 1);
}

/// Promise: no stale read. The response to another write is judged by the period at its beginning.
#[tokio::test(start_paused = true)]
async fn a_written_resources_period_is_known_until_the_last_write_has_ended() {
    let layer = in_virtual_time(MemoryBackend::default()).write_through(true);
    let service = layer.layer(late());
    send(&service, put("/a")).await;
    sleep_millis(4_000).await;
    let write = send(&service, request(Method::PATCH, "/a"));
    let other = async {
        sleep_millis(1_500).await;
        send(&service, put("/other")).await;
    };
    let (written, ()) = join!(write, other);
    assert_eq!(written.body, "0", "it was read before the commit");
    settled().await;
    let later = send(&service, get("/a")).await;
    assert_eq!(later.body, "1", "{}", later.cache_status());
}

/// Promise: failing writes of one client do not stop the stores of others.
#[tokio::test(start_paused = true)]
async fn what_begins_after_a_period_is_stored_though_others_fail() {
    let layer = in_virtual_time(MemoryBackend::default());
    let service = layer.layer(late());
    send(&service, put("/team")).await;
    sleep_millis(5_000).await;
    let fill = send(&service, get("/m/1"));
    let others = async {
        for _ in 0..10 {
            sleep_millis(100).await;
            send(&service, put("/a")).await;
        }
    };
    join!(fill, others);
    settled().await;
    assert!(send(&service, get("/m/1")).await.is_hit());
}
