//! Virtual time, and letting tasks go on in it.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::clock::Moment;

/// How long a slow origin takes to answer.
pub const SLOW: Duration = Duration::from_millis(50);
pub const SECOND: Duration = Duration::from_secs(1);
/// Longer than any wait of the cache: a request that still waits then was forgotten.
pub const FOREVER: Duration = Duration::from_secs(100_000);

/// A cache whose clocks are tokio's, so that only virtual time passes.
pub fn in_virtual_time<B: Backend>(backend: B) -> CacheLayer<B> {
    let begun = Instant::now();
    CacheLayer::new(backend).clock(move || {
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    })
}

/// Runs a future to its end. Panics when that takes more than a day of virtual time.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    let output = timeout(Duration::from_secs(24 * 60 * 60), future).await;
    output.expect("it ends within a day")
}

/// Lets spawned tasks run until they wait for time.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Lets spawned tasks run to their end, those included that wait for a moment.
pub async fn settled() {
    sleep(Duration::from_millis(10)).await;
}
