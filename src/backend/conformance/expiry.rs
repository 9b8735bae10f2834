//! An expired response is stale or gone, and none is stored under an earlier fence.

use std::time::Duration;

use super::fixtures::{
    body, fill, group, invalidate, invalidate_group, key, member, miss, now, overtake, put,
    put_variant,
};
use crate::backend::{Backend, Group, InvalidationTarget, Lookup, PutOutcome};
use crate::key::CacheKey;
use crate::semantics::freshness::StoredTimes;

/// The extent of an expiration.
#[derive(Clone, Copy)]
enum Expiration {
    Resource,
    Group,
    All,
}

impl Expiration {
    const ALL: [Self; 3] = [Self::Resource, Self::Group, Self::All];

    async fn run<B: Backend>(self, backend: &B, key: &CacheKey, group: Group) {
        let expired = match self {
            Self::Resource => {
                let target = InvalidationTarget::Resource(*key.resource());
                backend.expire(&[target], now(), Duration::ZERO).await
            }
            Self::Group => {
                let target = InvalidationTarget::Group(group);
                backend.expire(&[target], now(), Duration::ZERO).await
            }
            Self::All => backend.expire_all(now()).await,
        };
        expired.expect("an acknowledged expiration");
    }
}

/// Whether a lookup finds a response that is still fresh.
async fn is_fresh<B: Backend>(backend: &B, key: &CacheKey) -> bool {
    match backend.get(key, now()).await.expect("a lookup") {
        Lookup::Found(response, _) => {
            let lifetime = response.lifetime();
            lifetime.is_none_or(|lifetime| lifetime > response.age(now()))
        }
        _ => false,
    }
}

/// Runs all checks of this file.
pub(super) async fn check<B: Backend>(make: impl Fn() -> B) {
    for expiration in Expiration::ALL {
        Box::pin(makes_stale(make(), expiration)).await;
        for polls in 0..8 {
            let put = stores_nothing_fresh_when_it_overtakes_a_put(make(), expiration, polls);
            Box::pin(put).await;
        }
    }
    Box::pin(a_removal_is_no_expiration(make())).await;
    Box::pin(leaves_others_alone(make())).await;
}

async fn makes_stale<B: Backend>(backend: B, expiration: Expiration) {
    let one = group(&backend, "one");
    let plain = key(&backend, "/a", None);
    let query = key(&backend, "/a", Some("q"));
    let varying = key(&backend, "/a", Some("v"));
    for _ in 0..3 {
        fill(&backend, &plain, "a", &[one]).await;
        fill(&backend, &query, "b", &[one]).await;
        let variant = match expiration {
            Expiration::Group => query,
            _ => put_variant(&backend, &varying, "de").await,
        };
        for key in [plain, query, variant] {
            assert!(is_fresh(&backend, &key).await, "what is stored is fresh");
        }
        let looked_up = backend.get(&plain, now()).await.expect("a lookup");
        let looked_up = looked_up.into_fence().expect("a fence");
        let captured = backend
            .fence(Some(plain.resource()))
            .await
            .expect("a fence");
        expiration.run(&backend, &plain, one).await;
        for key in [plain, query, variant] {
            assert!(
                !is_fresh(&backend, &key).await,
                "what is expired is not found fresh, whatever its query or variant"
            );
        }
        for fence in [Some(looked_up), captured].into_iter().flatten() {
            let put = backend.put(&plain, fence, member("old", None, &[one]), now());
            assert_eq!(
                put.await.expect("a put"),
                PutOutcome::Superseded,
                "nothing is stored under a fence from before an expiration"
            );
        }
        expiration.run(&backend, &plain, one).await;
        assert!(!is_fresh(&backend, &plain).await, "repeating is harmless");
    }
}

async fn stores_nothing_fresh_when_it_overtakes_a_put<B: Backend>(
    backend: B,
    expiration: Expiration,
    polls: usize,
) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    let fence = miss(&backend, &key).await;
    let put = backend.put(&key, fence, member("old", None, &[one]), now());
    overtake(put, polls, expiration.run(&backend, &key, one)).await;
    assert!(
        !is_fresh(&backend, &key).await,
        "an expiration takes effect at any point of a put (after {polls} polls)"
    );
}

/// A write always removes.
async fn a_removal_is_no_expiration<B: Backend>(backend: B) {
    let (plain, query) = (key(&backend, "/a", None), key(&backend, "/a", Some("q")));
    let one = group(&backend, "one");
    for expiration in Expiration::ALL {
        for removes_group in [false, true] {
            for key in [&plain, &query] {
                fill(&backend, key, "old", &[one]).await;
            }
            expiration.run(&backend, &plain, one).await;
            match removes_group {
                true => invalidate_group(&backend, one).await,
                false => invalidate(&backend, &plain).await,
            }
            expiration.run(&backend, &plain, one).await;
            for key in [&plain, &query] {
                assert_eq!(
                    body(&backend, key).await,
                    None,
                    "what was expired and then invalidated is not found"
                );
            }
        }
    }
}

async fn leaves_others_alone<B: Backend>(backend: B) {
    let keys = ["/a", "/b"].map(|path| key(&backend, path, None));
    let groups = ["one", "two"].map(|name| group(&backend, name));
    for key in &keys {
        let fence = miss(&backend, key).await;
        let _ = put(&backend, key, fence, "a").await;
    }
    Expiration::Resource
        .run(&backend, &keys[0], groups[0])
        .await;
    assert!(
        is_fresh(&backend, &keys[1]).await,
        "an expiration leaves other resources alone"
    );
    fill(&backend, &keys[0], "a", &[groups[0]]).await;
    fill(&backend, &keys[1], "b", &[groups[1]]).await;
    Expiration::Group.run(&backend, &keys[0], groups[0]).await;
    assert!(
        is_fresh(&backend, &keys[1]).await,
        "an expiration of a group leaves other groups alone"
    );
}
