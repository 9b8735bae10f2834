//! What follows a write that may still be committed.

use std::time::{Duration, Instant};

use super::fixtures::{body, fill, invalidate, key, member, miss, now, put};
use crate::backend::{Backend, GraceScope, InvalidationTarget, Lookup, PutOutcome};
use crate::key::CacheKey;

/// Longer than the operations of a check, as far as possible.
const GRACE: Duration = Duration::from_secs(2);

/// The target of a write of unknown outcome is invalidated as that of any other write.
pub(super) async fn a_write_of_unknown_outcome_invalidates<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    fill(&backend, &key, "old", &[]).await;
    let before = backend.get(&key, now()).await.expect("a lookup");
    invalidate_unknown(&backend, &key).await;
    assert_eq!(
        body(&backend, &key).await,
        None,
        "an invalidated response is not found, whatever the outcome of the write"
    );
    let before = before.into_fence().expect("a fence");
    assert_eq!(
        put(&backend, &key, before, "old").await,
        PutOutcome::Superseded,
        "a write of unknown outcome breaks earlier fences"
    );
}

/// A backend that says so stores nothing with a fence from within the period.
pub(super) async fn nothing_is_stored_in_the_period<B: Backend>(backend: B) {
    let (key, other) = (key(&backend, "/a", None), key(&backend, "/b", None));
    let began = Instant::now();
    if invalidate_unknown(&backend, &key).await != GraceScope::AllInstances {
        return;
    }
    let lookup = || async { backend.get(&key, now()).await.expect("a lookup") };
    let mut fences = vec![lookup().await.into_fence()];
    fences.push(backend.fence(Some(key.resource())).await.expect("a fence"));
    invalidate(&backend, &key).await;
    fences.push(lookup().await.into_fence());
    // Before the clear, which would break it anyway.
    if let Some(fence) = fences.iter().flatten().last() {
        let put = put(&backend, &key, fence.clone(), "early").await;
        assert!(
            began.elapsed() >= GRACE || put == PutOutcome::Superseded,
            "a later invalidation does not end the period"
        );
    }
    backend.clear().await.expect("a clear");
    fences.push(lookup().await.into_fence());
    fences.push(backend.fence(None).await.expect("a fence"));
    let is_within = began.elapsed() < GRACE;
    for fence in fences.into_iter().flatten() {
        let put = put(&backend, &key, fence.clone(), "early").await;
        let replaced = backend.replace(&key, fence, member("early", None, &[]), now());
        let outcomes = [put, replaced.await.expect("a replace")];
        assert!(
            !is_within || outcomes.iter().all(|it| *it == PutOutcome::Superseded),
            "nothing is stored with a fence from the period after a write of unknown outcome"
        );
    }
    fill(&backend, &other, "other", &[]).await;
    assert!(
        body(&backend, &other).await.is_some(),
        "other resources are stored in the period"
    );
    // The backend's clock runs, whatever the runtime's does.
    while let Lookup::Unfenced = lookup().await {
        assert!(began.elapsed() < 10 * GRACE, "the period ends");
    }
    let fence = miss(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, fence, "new").await,
        PutOutcome::Stored,
        "after the period, responses are stored again"
    );
}

async fn invalidate_unknown(backend: &impl Backend, key: &CacheKey) -> GraceScope {
    let target = InvalidationTarget::Resource(*key.resource());
    let scope = backend.invalidate_unknown(&target, GRACE).await;
    scope.expect("an invalidation")
}
