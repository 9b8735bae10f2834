//! How an invalidation of a group affects its members and no other responses (RFC 9875).

use std::time::Duration;

use super::fixtures::{
    body, fill, group, group_elsewhere, invalidate_group, key, member, miss, now, overtake,
    put_variant_in, shares,
};
use crate::backend::{Backend, InvalidationTarget, Lookup, PutOutcome};

pub(super) async fn invalidates_all_members<B: Backend>(backend: B) {
    let (one, two) = (group(&backend, "one"), group(&backend, "two"));
    let plain = key(&backend, "/a", None);
    let query = key(&backend, "/b", Some("q"));
    let varying = key(&backend, "/c", None);
    for _ in 0..2 {
        fill(&backend, &plain, "a", &[one]).await;
        fill(&backend, &query, "b", &[two, one]).await;
        let variant = put_variant_in(&backend, &varying, "de", &[one]).await;
        let members = [plain, query, variant];
        for key in members {
            assert!(body(&backend, &key).await.is_some(), "a member is found");
        }
        invalidate_group(&backend, one).await;
        for key in members {
            assert_eq!(
                body(&backend, &key).await,
                None,
                "members of an invalidated group are not found, whatever their resource, query or variant"
            );
            if let Some(Lookup::Found(..)) = backend.get_now(&key) {
                panic!("get_now must not find members of an invalidated group either");
            }
        }
        // Repeated: harmless, and the next round stores members again.
        invalidate_group(&backend, one).await;
    }
}

/// The groups of a fill are only known when it stores.
pub(super) async fn refuses_a_member_after_an_invalidation<B: Backend>(backend: B) {
    let (one, two) = (group(&backend, "one"), group(&backend, "two"));
    let key = key(&backend, "/a", None);
    let looked_up = miss(&backend, &key).await;
    let captured = backend.fence(Some(key.resource())).await.expect("a fence");
    let for_any = backend.fence(None).await.expect("a fence");
    invalidate_group(&backend, one).await;
    let fences = [Some(looked_up.clone()), captured, for_any];
    for fence in fences.into_iter().flatten() {
        let response = member("old", None, &[two, one]);
        let put = backend.put(&key, fence, response, now()).await;
        assert_eq!(
            put.expect("a put"),
            PutOutcome::Superseded,
            "a member is not stored under a fence from before its group's invalidation"
        );
        assert_eq!(
            body(&backend, &key).await,
            None,
            "a refused member is not found"
        );
    }
    fill(&backend, &key, "new", &[one]).await;
    let old = member("old", None, &[one]);
    let put = backend.put(&key, looked_up, old, now()).await;
    assert_eq!(
        put.expect("a put"),
        PutOutcome::Superseded,
        "a broken fence stays broken"
    );
    assert_eq!(
        body(&backend, &key).await.as_deref(),
        Some("new"),
        "the newer member stays"
    );
}

pub(super) async fn stores_nothing_when_an_invalidation_overtakes_a_put<B: Backend>(
    backend: B,
    polls: usize,
) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    let fence = miss(&backend, &key).await;
    let put = backend.put(&key, fence, member("old", None, &[one]), now());
    overtake(put, polls, invalidate_group(&backend, one)).await;
    assert_eq!(
        body(&backend, &key).await,
        None,
        "an invalidation of a group takes effect at any point of a put (after {polls} polls)"
    );
}

pub(super) async fn leaves_other_groups_alone<B: Backend>(backend: B) {
    let none = key(&backend, "/none", None);
    fill(&backend, &none, "none", &[]).await;
    let paths = ["/1", "/2", "/3"].map(|path| key(&backend, path, None));
    let others = ["One", "one ", "two"].map(|name| group(&backend, name));
    let namesakes =
        ["1.test", "2.test", "3.test"].map(|there| group_elsewhere(&backend, there, "one"));
    for (groups, whose) in [
        (
            others,
            "an invalidation of a group leaves members of other groups alone",
        ),
        (
            namesakes,
            "an invalidation of a group leaves other authorities' groups of that name alone",
        ),
    ] {
        for (key, group) in paths.iter().zip(groups) {
            fill(&backend, key, "other", &[group]).await;
        }
        invalidate_group(&backend, group(&backend, "one")).await;
        let mut left = 0;
        for key in &paths {
            left += usize::from(body(&backend, key).await.is_some());
        }
        assert!(left > 0, "{whose}");
    }
    assert_eq!(
        body(&backend, &none).await.as_deref(),
        Some("none"),
        "an invalidation of a group leaves responses without groups alone"
    );
}

pub(super) async fn replaces_only_when_no_group_overlapped<B: Backend>(backend: B) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    let Some(before) = backend.fence(Some(key.resource())).await.expect("a fence") else {
        return;
    };
    invalidate_group(&backend, one).await;
    let replaced = backend
        .replace(&key, before, member("old", None, &[one]), now())
        .await;
    assert_ne!(
        replaced.expect("a replace"),
        PutOutcome::Stored,
        "a replace whose group was invalidated meanwhile does not store"
    );
    assert_eq!(
        body(&backend, &key).await,
        None,
        "a replace that does not store invalidates"
    );
    let fence = backend.fence(Some(key.resource())).await.expect("a fence");
    if let Some(fence) = fence {
        let replaced = backend
            .replace(&key, fence, member("new", None, &[one]), now())
            .await;
        if replaced.expect("a replace") == PutOutcome::Stored {
            assert_eq!(body(&backend, &key).await.as_deref(), Some("new"));
            invalidate_group(&backend, one).await;
        }
        assert_eq!(
            body(&backend, &key).await,
            None,
            "a response stored by a replace is a member like any other"
        );
    }
}

/// The response of a fill that started before the invalidation may turn out to be a member.
pub(super) async fn joins_nothing_that_may_be_a_member<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let flight = miss(&backend, &key).await;
    invalidate_group(&backend, group(&backend, "one")).await;
    let own = backend
        .get(&key, now())
        .await
        .expect("a lookup")
        .into_fence()
        .expect("a fence");
    let groups = [group(&backend, "one")];
    assert!(
        !shares(&backend, &key, &groups, (&flight, &own)),
        "a request that came after a group's invalidation shares no member of an earlier fill"
    );
}

/// Resources and groups in one call, each as if it were invalidated alone.
pub(super) async fn invalidates_many_targets<B: Backend>(backend: B) {
    let paths = ["/a", "/b", "/c", "/d"];
    for (grace, query) in [(None, None), (Some(Duration::from_millis(1)), Some("q"))] {
        let [a, b, c, d] = paths.map(|path| key(&backend, path, query));
        let (one, two) = (group(&backend, "one"), group(&backend, "two"));
        for (key, groups) in [(a, &[][..]), (b, &[two]), (c, &[one]), (d, &[two])] {
            fill(&backend, &key, "old", groups).await;
        }
        let fence = backend.get(&a, now()).await.expect("a lookup");
        let fence = fence.into_fence().expect("a fence");
        let targets = [
            InvalidationTarget::Resource(*a.resource()),
            InvalidationTarget::Group(one),
            InvalidationTarget::Resource(*b.resource()),
        ];
        let invalidated = backend.invalidate_many(&targets, grace).await;
        invalidated.expect("an acknowledged invalidation");
        for key in [a, b, c] {
            assert_eq!(
                body(&backend, &key).await,
                None,
                "each of many targets is invalidated"
            );
        }
        assert_eq!(
            body(&backend, &d).await.as_deref(),
            Some("old"),
            "an invalidation of many targets leaves others alone"
        );
        assert_eq!(
            super::fixtures::put(&backend, &a, fence, "old").await,
            PutOutcome::Superseded,
            "a put under a fence from before an invalidation of many targets is refused"
        );
    }
}
