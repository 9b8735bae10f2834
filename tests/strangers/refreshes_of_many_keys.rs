//! Background refreshes of many keys: those of one client take no more than their places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::support::origin::{Origin, answer};
use crate::support::time::{in_time, in_virtual_time};
use crate::support::{get, send, with};

const KEYS: usize = 20_000;
const SECOND: Duration = Duration::from_secs(1);

/// Counts a call until it ends or is dropped.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An origin whose calls for requests with `X-Hang` do not end, and the number of these under way.
/// Other calls are numbered.
fn hanging() -> (Origin, Arc<AtomicUsize>) {
    let (under_way, number) = (Arc::<AtomicUsize>::default(), AtomicUsize::new(0));
    let count = under_way.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let (count, number) = (count.clone(), number.fetch_add(1, Ordering::SeqCst));
        async move {
            if request.headers().contains_key("x-hang") {
                let _counted = UnderWay::new(&count);
                std::future::pending::<()>().await;
            }
            let directives = "public, max-age=1, stale-while-revalidate=86400";
            Ok(answer(
                200,
                &[("cache-control", directives)],
                number.to_string(),
            ))
        }
    });
    (origin, under_way)
}

fn page(key: usize) -> Request<()> {
    get(&format!("/{key}"))
}

fn hangs(key: usize) -> Request<()> {
    with(page(key), "x-hang", &key.to_string())
}

/// Returns the most calls under way at once while a client asks for all stale pages.
async fn most_at_once(layer: &CacheLayer<MemoryBackend>) -> usize {
    let (origin, under_way) = hanging();
    let service = layer.layer(origin);
    for key in 0..KEYS {
        send(&service, page(key)).await;
    }
    sleep(SECOND * 3).await;
    let mut most = 0;
    for key in 0..KEYS {
        let stale = send(&service, hangs(key)).await;
        assert!(
            stale.cache_status().starts_with("hit"),
            "{}",
            stale.cache_status()
        );
        most = most.max(under_way.load(Ordering::SeqCst));
        if key % 100 == 0 {
            sleep(SECOND / 1000).await;
            most = most.max(under_way.load(Ordering::SeqCst));
        }
    }
    // Requests like those that have worked take other places than those that hang.
    let last = KEYS - 1;
    for _ in 0..100 {
        for key in [0, last] {
            send(&service, page(key)).await;
        }
        sleep(SECOND / 10).await;
    }
    for key in [0, last] {
        let refreshed = send(&service, page(key)).await.body;
        assert_ne!(refreshed, key.to_string());
    }
    most
}

/// P9: without a bound there would be 20,000 calls and tasks at once.
#[tokio::test(start_paused = true)]
async fn refreshes_of_many_keys_are_bounded_and_leave_others_theirs() {
    in_time(async {
        let layer = in_virtual_time(MemoryBackend::default());
        let most = most_at_once(&layer).await;
        assert!((256..=256 + 8).contains(&most), "{most}");
        let refused = layer.handle().stats().refused_refreshes;
        assert!(refused >= 19_000, "{refused}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_refreshes_is_an_option() {
    in_time(async {
        let layer = in_virtual_time(MemoryBackend::default()).max_refreshes(10);
        let most = most_at_once(&layer).await;
        assert!((10..=10 + 8).contains(&most), "{most}");
    })
    .await;
}
