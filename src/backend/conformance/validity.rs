//! A response that was found beside an invalidation must not come back.

use std::pin::pin;

use super::fixtures::{body, fill, group, key, member, now, poll_times, shares};
use crate::backend::{Backend, Group, InvalidationTarget, Lookup, PutOutcome};
use crate::key::CacheKey;

/// The ways in which a stored response becomes invalid.
#[derive(Clone, Copy, Debug)]
pub(super) enum Invalidation {
    Resource,
    Group,
    Clear,
}

impl Invalidation {
    pub(super) const ALL: [Self; 3] = [Self::Resource, Self::Group, Self::Clear];

    async fn run<B: Backend>(self, backend: &B, key: &CacheKey, group: Group) {
        let invalidated = match self {
            Self::Resource => {
                let resource = InvalidationTarget::Resource(*key.resource());
                backend.invalidate(&resource).await
            }
            Self::Group => {
                let group = InvalidationTarget::Group(group);
                backend.invalidate(&group).await
            }
            Self::Clear => backend.clear().await,
        };
        invalidated.expect("an invalidation");
    }
}

/// Polls a lookup a few times, then runs a whole invalidation, then finishes the lookup.
pub(super) async fn an_invalidation_during_a_lookup<B: Backend>(
    backend: B,
    invalidation: Invalidation,
    polls: usize,
) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    fill(&backend, &key, "old", &[one]).await;
    let mut found = None;
    {
        let mut lookup = pin!(async { found = Some(backend.get(&key, now()).await) });
        let has_ended = poll_times(lookup.as_mut(), polls).await;
        invalidation.run(&backend, &key, one).await;
        if !has_ended {
            lookup.await;
        }
    }
    let found = found.expect("it has ended").expect("a lookup");
    let case = format!("{invalidation:?} after {polls} polls of the lookup");
    assert_gone(&backend, &key, found, &case).await;
}

/// Polls an invalidation a few times, then runs a whole lookup, then finishes the invalidation.
pub(super) async fn a_lookup_during_an_invalidation<B: Backend>(
    backend: B,
    invalidation: Invalidation,
    polls: usize,
) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    fill(&backend, &key, "old", &[one]).await;
    let found = {
        let mut invalidating = pin!(invalidation.run(&backend, &key, one));
        let has_ended = poll_times(invalidating.as_mut(), polls).await;
        let found = backend.get(&key, now()).await;
        if !has_ended {
            invalidating.await;
        }
        found
    };
    let case = format!("lookup after {polls} polls of {invalidation:?}");
    // A backend may refuse to be read meanwhile.
    if let Ok(found) = found {
        assert_gone(&backend, &key, found, &case).await;
    }
}

/// Asserts that a response that was found, and has been invalidated by now, is not called valid
/// under a fence that still holds.
async fn assert_gone<B: Backend>(backend: &B, key: &CacheKey, found: Lookup<B::Fence>, case: &str) {
    let Lookup::Found(response, fence) = found else {
        return;
    };
    if !backend.is_still_valid(key, &response, &fence) {
        return;
    }
    let own = backend.get(key, now()).await.expect("a lookup");
    if let Some(own) = own.into_fence() {
        assert!(
            !shares(backend, key, response.groups(), (&fence, &own)),
            "a response that is called valid was valid when its fence was captured; a request \
             that came after its invalidation does not share a response under that fence ({case})"
        );
    }
    let put = backend.put(key, fence, member("old", None, response.groups()), now());
    assert_ne!(
        put.await.expect("a put"),
        PutOutcome::Stored,
        "a response that is called valid was valid when its fence was captured; it is not stored \
         again after its invalidation ({case})"
    );
    assert_eq!(body(backend, key).await, None, "it is not found ({case})");
}
