//! What must be found, under which key, and what must not.

use super::fixtures::{body, invalidate, key, miss, now, put, put_variant};
use crate::backend::{Backend, Lookup, Put};

pub(super) async fn stores_and_finds<B: Backend>(backend: B) {
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
    let Ok(Lookup::Found(_, fence)) = backend.get(&key, now()).await else {
        panic!("what was stored is found again");
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

pub(super) async fn leaves_other_resources_alone<B: Backend>(backend: B) {
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

pub(super) async fn keeps_variants_apart<B: Backend>(backend: B) {
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
        match backend.get(&primary, now()).await.expect("a lookup") {
            Lookup::Varies(rule, _) => assert_eq!(rule.names(), ["accept-language"]),
            other => panic!("the primary key of variants answers with their rule, not {other:?}"),
        }
        invalidate(&backend, &primary).await;
        for key in [primary, german, english] {
            assert!(
                matches!(backend.get(&key, now()).await, Ok(Lookup::Miss(_))),
                "an invalidation takes the variants and their rule"
            );
        }
    }
}

pub(super) async fn forgets_the_rule_of_what_no_longer_varies<B: Backend>(backend: B) {
    let primary = key(&backend, "/a", None);
    put_variant(&backend, &primary, "de").await;
    let (Lookup::Varies(_, fence) | Lookup::Found(_, fence) | Lookup::Miss(fence)) =
        backend.get(&primary, now()).await.expect("a lookup");
    let _ = put(&backend, &primary, fence, "for all").await;
    assert_eq!(
        body(&backend, &primary).await.as_deref(),
        Some("for all"),
        "a response that does not vary takes the place of the rule"
    );
}

pub(super) async fn answers_now_what_it_answers_later<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let fence = miss(&backend, &key).await;
    let _ = put(&backend, &key, fence, "a").await;
    match backend.get_now(&key) {
        None => {}
        Some(Lookup::Found(response, _)) => assert_eq!(response.body(), "a", "the same response"),
        Some(other) => panic!("a lookup that needs no waiting finds what is stored, not {other:?}"),
    }
}
