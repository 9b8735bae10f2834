//! Invalidations that the backend acknowledges at once, not at all, or later.

use std::time::Duration;

use tokio::time::sleep;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::{Backend, Guarded, MemoryBackend};

use crate::support::dying::dying;
use crate::support::time::in_virtual_time;
use crate::support::yielding::yielding;

/// The value of a kind of invalidations in the metrics.
fn counted<B: Backend>(cache: &CacheHandle<B>, kind: (&str, &str, &str)) -> u64 {
    let (target, mode, result) = kind;
    let series = format!(
        "response_cache_invalidations_total{{cache=\"tower-response-cache\",target=\"{target}\",\
         mode=\"{mode}\",result=\"{result}\"}} "
    );
    let text = cache.stats().to_openmetrics();
    let value = text.lines().find_map(|line| line.strip_prefix(&*series));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_is_delivered_later_counts_as_failed_and_as_replayed() {
    for is_clear in [false, true] {
        let (backend, switch) = dying(yielding(MemoryBackend::default()));
        let layer = in_virtual_time(Guarded::new(backend));
        let cache = layer.handle();
        let expected = match is_clear {
            true => {
                assert!(cache.clear().await.is_err());
                vec![("all", "remove", 1)]
            }
            false => {
                assert!(cache.invalidate("/a").await.is_err());
                assert!(cache.invalidate("/b").await.is_err());
                assert!(cache.expire("/c").await.is_err());
                assert!(cache.invalidate_group("", "g").await.is_err());
                assert!(cache.expire_group("", "h").await.is_err());
                vec![
                    ("resource", "remove", 2),
                    ("resource", "expire", 1),
                    ("group", "remove", 1),
                    ("group", "expire", 1),
                ]
            }
        };
        for (target, mode, count) in &expected {
            assert_eq!(counted(&cache, (target, mode, "failed")), *count);
            assert_eq!(counted(&cache, (target, mode, "replayed")), 0);
        }
        switch.revive();
        while cache.stats().health.expect("guarded").undelivered > 0
            || cache.stats().health.expect("guarded").to_be_cleared
        {
            sleep(Duration::from_millis(10)).await;
        }
        for (target, mode, count) in &expected {
            let kind = (*target, *mode, "replayed");
            assert_eq!(counted(&cache, kind), *count, "{kind:?}");
            assert_eq!(counted(&cache, (target, mode, "failed")), *count);
        }
        let health = cache.stats().health.expect("guarded");
        let sum: u64 = expected.iter().map(|(_, _, count)| count).sum();
        assert_eq!(health.replayed, sum);
    }
}
