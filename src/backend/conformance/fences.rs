//! How fences, invalidations, replacements and removals must affect each other.

use super::fixtures::{body, invalidate, key, miss, now, overtake, put, put_variant, response};
use crate::backend::{Backend, Lookup, PutOutcome};

pub(super) async fn refuses_a_put_after_an_invalidation<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let before = miss(&backend, &key).await;
    let written = backend.fence(Some(key.resource())).await.expect("a fence");
    invalidate(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, before.clone(), "old").await,
        PutOutcome::Superseded,
        "an invalidation breaks the fence of an earlier lookup, even if nothing was stored"
    );
    if let Some(fence) = written {
        assert_eq!(
            put(&backend, &key, fence, "old").await,
            PutOutcome::Superseded,
            "an invalidation breaks a fence that was captured without a lookup"
        );
    }
    assert_eq!(
        body(&backend, &key).await,
        None,
        "a refused response is not found"
    );
    let after = miss(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, after, "new").await,
        PutOutcome::Stored,
        "a fence captured after the invalidation holds"
    );
    assert_eq!(
        put(&backend, &key, before, "old").await,
        PutOutcome::Superseded,
        "a broken fence stays broken"
    );
    assert_eq!(
        body(&backend, &key).await.as_deref(),
        Some("new"),
        "the newer response stays"
    );
    invalidate(&backend, &key).await;
    invalidate(&backend, &key).await;
    assert_eq!(
        body(&backend, &key).await,
        None,
        "an invalidated response is not found"
    );
}

pub(super) async fn refuses_every_kind_of_earlier_fence<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    for clears in [false, true] {
        let from_get_now = backend.get_now(&key).and_then(Lookup::into_fence);
        let for_resource = backend.fence(Some(key.resource())).await;
        let for_any = backend.fence(None).await;
        match clears {
            true => backend.clear().await.expect("a clear"),
            false => invalidate(&backend, &key).await,
        }
        let fences = [
            ("get_now", from_get_now),
            ("fence of the resource", for_resource.expect("a fence")),
            ("fence of any resource", for_any.expect("a fence")),
        ];
        for (source, fence) in fences {
            let Some(fence) = fence else { continue };
            assert_eq!(
                put(&backend, &key, fence, "old").await,
                PutOutcome::Superseded,
                "{source}: a later invalidation breaks it (by clear: {clears})"
            );
        }
    }
}

pub(super) async fn stores_nothing_when_an_invalidation_overtakes_a_put<B: Backend>(
    backend: B,
    polls: usize,
) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let put = backend.put(&key, fence, response("old", None), now());
    overtake(put, polls, invalidate(&backend, &key)).await;
    assert_eq!(
        body(&backend, &key).await,
        None,
        "an invalidation takes effect at any point of a put (after {polls} polls)"
    );
}

pub(super) async fn clears<B: Backend>(backend: B) {
    let (a, b) = (key(&backend, "/a", None), key(&backend, "/b", Some("q")));
    let in_flight = miss(&backend, &a).await;
    let fence = miss(&backend, &b).await;
    let _ = put(&backend, &b, fence, "b").await;
    backend.clear().await.expect("a clear");
    assert_eq!(body(&backend, &b).await, None, "a clear removes everything");
    assert_eq!(
        put(&backend, &a, in_flight, "a").await,
        PutOutcome::Superseded,
        "a clear breaks every fence"
    );
}

pub(super) async fn replaces_only_when_nothing_overlapped<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fill_fence = miss(&backend, &key).await;
    for resource in [Some(key.resource()), None] {
        let Some(first) = backend.fence(resource).await.expect("a fence") else {
            continue;
        };
        let second = first.clone();
        let replaced = backend
            .replace(&key, first, response("first", None), now())
            .await;
        let found = body(&backend, &key).await;
        match replaced.expect("a replace") {
            PutOutcome::Stored => {
                assert_eq!(
                    found.as_deref(),
                    Some("first"),
                    "a response that was stored by a replace is found"
                )
            }
            PutOutcome::Superseded | PutOutcome::TooLarge => {
                assert_eq!(found, None, "a replace that does not store leaves nothing")
            }
        }
        let overlapped = backend
            .replace(&key, second, response("second", None), now())
            .await;
        assert_eq!(
            overlapped.expect("a replace"),
            PutOutcome::Superseded,
            "of two overlapping writes only the first may store"
        );
        assert_eq!(
            body(&backend, &key).await,
            None,
            "the second of two overlapping writes invalidates"
        );
    }
    if backend.fence(None).await.expect("a fence").is_some() {
        assert_eq!(
            put(&backend, &key, fill_fence, "old").await,
            PutOutcome::Superseded,
            "a replace breaks the fences of fills"
        );
    }
}

pub(super) async fn replaces_the_whole_resource<B: Backend>(backend: B) {
    let (plain, query) = (key(&backend, "/a", None), key(&backend, "/a", Some("q")));
    let fence = miss(&backend, &query).await;
    let _ = put(&backend, &query, fence, "old").await;
    let variant = put_variant(&backend, &key(&backend, "/a", Some("v")), "de").await;
    let Some(fence) = backend
        .fence(Some(plain.resource()))
        .await
        .expect("a fence")
    else {
        return;
    };
    let replaced = backend
        .replace(&plain, fence, response("new", None), now())
        .await;
    let _ = replaced.expect("a replace");
    for key in [query, variant] {
        assert_eq!(
            body(&backend, &key).await,
            None,
            "a replace invalidates all queries and variants"
        );
    }
}

pub(super) async fn removes_one_entry_under_a_fence_that_holds<B: Backend>(backend: B) {
    for query in [None, Some("q")] {
        let key = key(&backend, "/a", query);
        let sibling = self::key(&backend, "/a", Some("sibling"));
        let before = miss(&backend, &key).await;
        for key in [&key, &sibling] {
            assert_eq!(
                put(&backend, key, before.clone(), "old").await,
                PutOutcome::Stored,
                "a put under a fence that holds is stored"
            );
        }
        let removed = backend.remove(&key, before.clone()).await;
        if removed.expect("a removal") {
            assert!(
                body(&backend, &sibling).await.is_some(),
                "a removal leaves the other keys of the resource"
            );
            assert_eq!(
                put(&backend, &sibling, before, "newer").await,
                PutOutcome::Stored,
                "a removal breaks no fence"
            );
            assert_eq!(
                body(&backend, &key).await,
                None,
                "a removed response is not found"
            );
            if let Some(Lookup::Found(..)) = backend.get_now(&key) {
                panic!("a removed response is not found without waiting either");
            }
        } else {
            panic!("a fence holds until its resource is invalidated");
        }
        let stale = miss(&backend, &key).await;
        invalidate(&backend, &key).await;
        let after = miss(&backend, &key).await;
        assert_eq!(
            put(&backend, &key, after, "new").await,
            PutOutcome::Stored,
            "a response is stored again after a removal"
        );
        let is_removed = backend.remove(&key, stale).await.expect("a removal");
        assert_eq!(
            body(&backend, &key).await.as_deref(),
            (!is_removed).then_some("new"),
            "a removal that answers `false` leaves the entry alone"
        );
        invalidate(&backend, &key).await;
    }
}
