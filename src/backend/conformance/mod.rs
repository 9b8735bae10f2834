//! Holds a backend against its contract: for the tests of whoever writes one.
//!
//! ```
//! use tower_response_cache::backend::{MemoryBackend, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! conformance::check(MemoryBackend::default).await;
//! # });
//! ```

mod fixtures;

use std::pin::pin;

use self::fixtures::{
    body, fence_of, invalidate, key, miss, poll_times, put, put_variant, response,
};
use super::{Backend, Lookup, Put};

/// Runs every check on a backend of its own, made by `make`, which must be empty and take responses of 1 KiB.
///
/// It asks for a little more than the contract, so that what it checks can be seen: a backend that nobody else uses keeps
/// what it is given, and an invalidation of one resource leaves a handful of others alone.
///
/// # Panics
/// When the contract is broken: the message names the rule.
pub async fn check<B: Backend>(make: impl Fn() -> B) {
    stores_and_finds(make()).await;
    refuses_a_put_that_was_overtaken(make()).await;
    refuses_every_kind_of_fence_from_before(make()).await;
    for polls in 0..8 {
        stores_nothing_old_when_a_put_is_overtaken_half_way(make(), polls).await;
    }
    invalidates_queries_and_variants_together(make()).await;
    leaves_other_resources_alone(make()).await;
    keeps_variants_apart(make()).await;
    forgets_the_rule_of_what_no_longer_varies(make()).await;
    clears(make()).await;
    replaces_only_when_nothing_overlapped(make()).await;
    replaces_the_whole_resource(make()).await;
    answers_now_what_it_answers_later(make()).await;
}

async fn stores_and_finds<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, fence, "one").await,
        Put::Stored,
        "a put under a fence that holds is stored"
    );
    assert_eq!(
        body(&backend.clone(), &key).await.as_deref(),
        Some("one"),
        "what was stored is found, through a clone as well"
    );
    let Ok(Lookup::Found(_, fence)) = backend.get(&key).await else {
        panic!("what was stored is found again");
    };
    let _ = put(&backend, &key, fence, "two").await;
    assert_eq!(
        body(&backend, &key).await.as_deref(),
        Some("two"),
        "a put under the fence of a found response replaces it"
    );
}

async fn refuses_a_put_that_was_overtaken<B: Backend>(backend: B) {
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

async fn refuses_every_kind_of_fence_from_before<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    for clears in [false, true] {
        let now = backend.get_now(&key).map(fence_of);
        let of_the_resource = backend.fence(Some(key.resource())).await;
        let of_any = backend.fence(None).await;
        match clears {
            true => backend.clear().await.expect("a clear"),
            false => invalidate(&backend, &key).await,
        }
        let fences = [
            ("get_now", now),
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
async fn stores_nothing_old_when_a_put_is_overtaken_half_way<B: Backend>(backend: B, polls: usize) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let mut put = pin!(backend.put(&key, fence, response("old", None)));
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

async fn invalidates_queries_and_variants_together<B: Backend>(backend: B) {
    let plain = key(&backend, "/a", None);
    let queries: Vec<_> = ["", "q=1", "q=2"]
        .map(|query| key(&backend, "/a", Some(query)))
        .into();
    let mut fences = Vec::new();
    for key in queries.iter().chain([&plain]) {
        fences.push((*key, miss(&backend, key).await));
    }
    for (key, fence) in fences.clone() {
        assert_eq!(
            put(&backend, &key, fence, "old").await,
            Put::Stored,
            "a query is stored"
        );
        assert_eq!(
            body(&backend, &key).await.as_deref(),
            Some("old"),
            "a query is found"
        );
    }
    let german = put_variant(&backend, &queries[0], "de").await;
    invalidate(&backend, &plain).await;
    for (key, fence) in fences {
        assert_eq!(
            body(&backend, &key).await,
            None,
            "all queries vanish with their resource"
        );
        assert_eq!(
            put(&backend, &key, fence, "old").await,
            Put::Superseded,
            "the fences of all queries are broken"
        );
    }
    assert_eq!(
        body(&backend, &german).await,
        None,
        "all variants vanish with their resource"
    );
    let fence = miss(&backend, &queries[1]).await;
    let _ = put(&backend, &queries[1], fence, "new").await;
    assert_eq!(
        body(&backend, &queries[2]).await,
        None,
        "storing one query anew brings no other back"
    );
}

async fn leaves_other_resources_alone<B: Backend>(backend: B) {
    let (a, b) = (key(&backend, "/a", None), key(&backend, "/b", None));
    let fence = miss(&backend, &b).await;
    let _ = put(&backend, &b, fence, "b").await;
    invalidate(&backend, &a).await;
    assert_eq!(
        body(&backend, &b).await.as_deref(),
        Some("b"),
        "an invalidation concerns its resource only"
    );
}

async fn keeps_variants_apart<B: Backend>(backend: B) {
    for query in [None, Some("q")] {
        let primary = key(&backend, "/a", query);
        let german = put_variant(&backend, &primary, "de").await;
        let english = put_variant(&backend, &primary, "en").await;
        assert_eq!(
            body(&backend, &german).await.as_deref(),
            Some("de"),
            "variants are apart"
        );
        assert_eq!(
            body(&backend, &english).await.as_deref(),
            Some("en"),
            "variants are apart"
        );
        match backend.get(&primary).await.expect("a lookup") {
            Lookup::Varies(rule, _) => assert_eq!(rule.names(), ["accept-language"]),
            other => panic!("the primary key of variants answers with their rule, not {other:?}"),
        }
        invalidate(&backend, &primary).await;
        for key in [primary, german, english] {
            assert!(
                matches!(backend.get(&key).await, Ok(Lookup::Miss(_))),
                "an invalidation takes the variants and their rule"
            );
        }
    }
}

async fn forgets_the_rule_of_what_no_longer_varies<B: Backend>(backend: B) {
    let primary = key(&backend, "/a", None);
    put_variant(&backend, &primary, "de").await;
    let (Lookup::Varies(_, fence) | Lookup::Found(_, fence) | Lookup::Miss(fence)) =
        backend.get(&primary).await.expect("a lookup");
    let _ = put(&backend, &primary, fence, "for all").await;
    assert_eq!(
        body(&backend, &primary).await.as_deref(),
        Some("for all"),
        "a response that does not vary takes the place of the rule"
    );
}

async fn clears<B: Backend>(backend: B) {
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

async fn replaces_only_when_nothing_overlapped<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let of_a_fill = miss(&backend, &key).await;
    for resource in [Some(key.resource()), None] {
        let Some(first) = backend.fence(resource).await.expect("a fence") else {
            continue;
        };
        let second = first.clone();
        let replaced = backend.replace(&key, first, response("first", None)).await;
        let found = body(&backend, &key).await;
        match replaced.expect("a replace") {
            Put::Stored => assert_eq!(found.as_deref(), Some("first"), "what replaces is found"),
            Put::Superseded | Put::TooLarge => assert_eq!(found, None, "or nothing is"),
        }
        let overlapped = backend
            .replace(&key, second, response("second", None))
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

async fn replaces_the_whole_resource<B: Backend>(backend: B) {
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
    let replaced = backend.replace(&plain, fence, response("new", None)).await;
    let _ = replaced.expect("a replace");
    for key in [query, variant] {
        assert_eq!(
            body(&backend, &key).await,
            None,
            "a replace invalidates all queries and variants"
        );
    }
}

async fn answers_now_what_it_answers_later<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let _ = put(&backend, &key, fence, "a").await;
    match backend.get_now(&key) {
        None => {}
        Some(Lookup::Found(response, _)) => assert_eq!(response.body(), "a", "the same response"),
        Some(other) => panic!("a lookup that needs no waiting finds what is stored, not {other:?}"),
    }
}
