//! What fences, invalidations and replacements must do to one another.

use std::pin::pin;

use super::fixtures::{
    body, fence_of, invalidate, key, miss, now, poll_times, put, put_variant, response,
};
use crate::backend::{Backend, Put};

pub(super) async fn refuses_a_put_that_was_overtaken<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let before = miss(&backend, &key).await;
    let written = backend.fence(Some(key.resource())).await.expect("a fence");
    invalidate(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, before.clone(), "old").await,
        Put::Superseded,
        "a lookup's fence is broken by a later invalidation, of nothing too"
    );
    if let Some(fence) = written {
        assert_eq!(
            put(&backend, &key, fence, "old").await,
            Put::Superseded,
            "a fence captured without lookup is broken likewise"
        );
    }
    assert_eq!(
        body(&backend, &key).await,
        None,
        "what was refused is not found"
    );
    let after = miss(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, after, "new").await,
        Put::Stored,
        "a fence captured after the invalidation holds"
    );
    assert_eq!(
        put(&backend, &key, before, "old").await,
        Put::Superseded,
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

pub(super) async fn refuses_every_kind_of_fence_from_before<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    for clears in [false, true] {
        let at_once = backend.get_now(&key).map(fence_of);
        let of_the_resource = backend.fence(Some(key.resource())).await;
        let of_any = backend.fence(None).await;
        match clears {
            true => backend.clear().await.expect("a clear"),
            false => invalidate(&backend, &key).await,
        }
        let fences = [
            ("get_now", at_once),
            ("fence of the resource", of_the_resource.expect("a fence")),
            ("fence of any resource", of_any.expect("a fence")),
        ];
        for (source, fence) in fences {
            let Some(fence) = fence else { continue };
            assert_eq!(
                put(&backend, &key, fence, "old").await,
                Put::Superseded,
                "{source}: broken by what came after it (clear: {clears})"
            );
        }
    }
}

/// A put that has been polled some times when an invalidation runs from beginning to end.
pub(super) async fn stores_nothing_old_when_a_put_is_overtaken_half_way<B: Backend>(
    backend: B,
    polls: usize,
) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let mut put = pin!(backend.put(&key, fence, response("old", None), now()));
    let ended = poll_times(put.as_mut(), polls).await;
    invalidate(&backend, &key).await;
    if !ended {
        let _ = put.await;
    }
    assert_eq!(
        body(&backend, &key).await,
        None,
        "an invalidation counts wherever in a put it falls (after {polls} polls)"
    );
}

pub(super) async fn clears<B: Backend>(backend: B) {
    let (a, b) = (key(&backend, "/a", None), key(&backend, "/b", Some("q")));
    let in_flight = miss(&backend, &a).await;
    let fence = miss(&backend, &b).await;
    let _ = put(&backend, &b, fence, "b").await;
    backend.clear().await.expect("a clear");
    assert_eq!(
        body(&backend, &b).await,
        None,
        "nothing is left after a clear"
    );
    assert_eq!(
        put(&backend, &a, in_flight, "a").await,
        Put::Superseded,
        "a clear breaks every fence"
    );
}

pub(super) async fn replaces_only_when_nothing_overlapped<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let of_a_fill = miss(&backend, &key).await;
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
            Put::Stored => assert_eq!(found.as_deref(), Some("first"), "what replaces is found"),
            Put::Superseded | Put::TooLarge => assert_eq!(found, None, "or nothing is"),
        }
        let overlapped = backend
            .replace(&key, second, response("second", None), now())
            .await;
        assert_eq!(
            overlapped.expect("a replace"),
            Put::Superseded,
            "of two overlapping writes only the first to end may store"
        );
        assert_eq!(
            body(&backend, &key).await,
            None,
            "the other one invalidates"
        );
    }
    if backend.fence(None).await.expect("a fence").is_some() {
        assert_eq!(
            put(&backend, &key, of_a_fill, "old").await,
            Put::Superseded,
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
