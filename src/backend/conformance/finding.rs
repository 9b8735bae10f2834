//! Which responses must be found under which key, and which must not.

use super::fixtures::{body, invalidate, key, miss, now, put, put_variant};
use crate::backend::{Backend, Lookup, PutOutcome};

pub(super) async fn stores_and_finds<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    assert_eq!(
        put(&backend, &key, fence, "one").await,
        PutOutcome::Stored,
        "a put under a fence that holds is stored"
    );
    assert_eq!(
        body(&backend.clone(), &key).await.as_deref(),
        Some("one"),
        "a stored response is found, also through a clone"
    );
    let Ok(Lookup::Found(_, fence)) = backend.get(&key, now()).await else {
        panic!("a stored response is found again");
    };
    let _ = put(&backend, &key, fence, "two").await;
    assert_eq!(
        body(&backend, &key).await.as_deref(),
        Some("two"),
        "a put under the fence of a found response replaces it"
    );
}

pub(super) async fn invalidates_queries_and_variants_together<B: Backend>(backend: B) {
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
            PutOutcome::Stored,
            "a response with a query is stored"
        );
        assert_eq!(
            body(&backend, &key).await.as_deref(),
            Some("old"),
            "a response with a query is found"
        );
    }
    let german = put_variant(&backend, &queries[0], "de").await;
    invalidate(&backend, &plain).await;
    for (key, fence) in fences {
        assert_eq!(
            body(&backend, &key).await,
            None,
            "an invalidation removes all queries of its resource"
        );
        assert_eq!(
            put(&backend, &key, fence, "old").await,
            PutOutcome::Superseded,
            "an invalidation breaks the fences of all queries"
        );
    }
    assert_eq!(
        body(&backend, &german).await,
        None,
        "an invalidation removes all variants of its resource"
    );
    let fence = miss(&backend, &queries[1]).await;
    let _ = put(&backend, &queries[1], fence, "new").await;
    assert_eq!(
        body(&backend, &queries[2]).await,
        None,
        "storing one query again does not bring another one back"
    );
}

pub(super) async fn leaves_other_resources_alone<B: Backend>(backend: B) {
    let (a, b) = (key(&backend, "/a", None), key(&backend, "/b", None));
    let fence = miss(&backend, &b).await;
    let _ = put(&backend, &b, fence, "b").await;
    invalidate(&backend, &a).await;
    assert_eq!(
        body(&backend, &b).await.as_deref(),
        Some("b"),
        "an invalidation leaves other resources alone"
    );
}

pub(super) async fn keeps_variants_apart<B: Backend>(backend: B) {
    for query in [None, Some("q")] {
        let primary = key(&backend, "/a", query);
        let german = put_variant(&backend, &primary, "de").await;
        let english = put_variant(&backend, &primary, "en").await;
        assert_eq!(
            body(&backend, &german).await.as_deref(),
            Some("de"),
            "a variant is found under its own key"
        );
        assert_eq!(
            body(&backend, &english).await.as_deref(),
            Some("en"),
            "a variant is found under its own key"
        );
        match backend.get(&primary, now()).await.expect("a lookup") {
            Lookup::Varies(rule, _) => assert_eq!(rule.names(), ["accept-language"]),
            other => panic!("a lookup of the primary key must find the rule, not {other:?}"),
        }
        invalidate(&backend, &primary).await;
        for key in [primary, german, english] {
            assert!(
                matches!(backend.get(&key, now()).await, Ok(Lookup::Miss(_))),
                "an invalidation removes variants and their rule"
            );
        }
    }
}

pub(super) async fn a_response_that_does_not_vary_replaces_the_rule<B: Backend>(backend: B) {
    let primary = key(&backend, "/a", None);
    put_variant(&backend, &primary, "de").await;
    let lookup = backend.get(&primary, now()).await.expect("a lookup");
    let fence = lookup.into_fence().expect("a fence");
    let _ = put(&backend, &primary, fence, "for all").await;
    assert_eq!(
        body(&backend, &primary).await.as_deref(),
        Some("for all"),
        "a response that does not vary replaces the rule"
    );
}

pub(super) async fn a_rule_that_comes_back_finds_no_older_variant<B: Backend>(backend: B) {
    let primary = key(&backend, "/a", None);
    let german = put_variant(&backend, &primary, "de").await;
    put_variant(&backend, &primary, "en").await;
    let lookup = backend.get(&primary, now()).await.expect("a lookup");
    let fence = lookup.into_fence().expect("a fence");
    let _ = put(&backend, &primary, fence, "for all").await;
    for _ in 0..2 {
        let english = put_variant(&backend, &primary, "en").await;
        assert_eq!(
            body(&backend, &english).await.as_deref(),
            Some("en"),
            "a rule replaces a response that does not vary"
        );
    }
    assert_eq!(
        body(&backend, &german).await,
        None,
        "a rule that comes back finds no older variant"
    );
}

pub(super) async fn get_now_agrees_with_get<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let _ = put(&backend, &key, fence, "a").await;
    match backend.get_now(&key) {
        None => {}
        Some(Lookup::Found(response, _)) => assert_eq!(
            response.body(),
            "a",
            "get_now finds the same response as get"
        ),
        Some(other) => panic!("get_now must find the stored response, not {other:?}"),
    }
}

/// A variant that was looked up with its key is what `get` finds; it may not be looked up at all.
pub(super) async fn a_key_is_looked_up_with_a_variant<B: Backend>(backend: B) {
    let primary = key(&backend, "/a", None);
    let german = put_variant(&backend, &primary, "de").await;
    let english = german.with_variant(german.variant() ^ 1);
    for (variant, stored) in [(german, Some("de")), (english, None)] {
        let lookup = backend.get_with_variant(&primary, &variant, now()).await;
        let (rule, found) = lookup.expect("a lookup");
        assert!(
            matches!(rule, Lookup::Varies(..)),
            "a lookup with a variant finds the rule under the key, not {rule:?}"
        );
        let found = found.map(|found| match found {
            Lookup::Found(response, _) => Some(response.body().clone()),
            _ => None,
        });
        assert!(
            found.is_none_or(|found| found.as_deref() == stored.map(str::as_bytes)),
            "a lookup with a variant finds the one that get finds"
        );
    }
    invalidate(&backend, &primary).await;
    let lookup = backend.get_with_variant(&primary, &german, now()).await;
    let (rule, found) = lookup.expect("a lookup");
    let is_gone = |lookup: &Lookup<_>| !matches!(lookup, Lookup::Found(..) | Lookup::Varies(..));
    assert!(
        is_gone(&rule) && found.is_none_or(|found| is_gone(&found)),
        "an invalidation removes variants and their rule"
    );
}
