//! A flood of refused requests to other pages makes the cache forget no page that is refused to all.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::layer;
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

const PAGES: usize = 20;

/// The mean time of requests to a few pages, by this many clients of each, which all differ.
async fn mean_time(
    service: &Cache<Origin, MemoryBackend>,
    clients: std::ops::Range<usize>,
    name: &'static str,
) -> Duration {
    let mut all = JoinSet::new();
    for page in 0..PAGES {
        for client in clients.clone() {
            let request = with(get(&format!("/page{page}")), name, &client.to_string());
            let service = service.clone();
            all.spawn(async move {
                let begun = Instant::now();
                send(&service, request).await;
                begun.elapsed()
            });
        }
    }
    let took = all.join_all().await;
    took.iter().sum::<Duration>() / u32::try_from(took.len()).expect("few")
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_requests_to_other_keys_makes_no_queue() {
    // Plain requests wait for one call of a second, those with cookies for none.
    for (name, seconds) in [("x-id", 2), ("cookie", 1)] {
        for flood in [0, 2_000, 4_000, 20_000] {
            let origin = Origin::new(|request: Request<()>| async move {
                if request.uri().query().is_none() {
                    sleep(SECOND).await;
                }
                Ok(answer(401, &[("cache-control", "no-store")], "no"))
            });
            let service = layer().layer(origin);
            mean_time(&service, 0..10, name).await;
            for number in 0..flood {
                let request = get(&format!("/a?{number}"));
                send(&service, with(request, name, &number.to_string())).await;
            }
            let mean = mean_time(&service, 10..60, name).await;
            println!("{name}, {flood} refused requests to other keys: {mean:?}");
            assert!(mean <= SECOND * seconds, "{name} {flood}: {mean:?}");
        }
    }
}
