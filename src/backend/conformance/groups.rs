//! What an invalidation of a group must do to its members, and must not do to others (RFC 9875).

use std::pin::pin;

use super::fixtures::{
    body, fence_of, fill, group, group_elsewhere, invalidate_group, key, member, miss, now,
    poll_times, put_variant_in,
};
use crate::backend::{Backend, Lookup, Put};

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
                "an invalidated group's members are not found, of whatever resource, query or variant"
            );
            if let Some(Lookup::Found(..)) = backend.get_now(&key) {
                panic!("nor by a lookup that needs no waiting");
            }
        }
        // Again: harmless, and what is fetched since is stored again.
        invalidate_group(&backend, one).await;
    }
}

/// What a fill is in is known when it stores.
pub(super) async fn refuses_a_member_that_was_overtaken<B: Backend>(backend: B) {
    let (one, two) = (group(&backend, "one"), group(&backend, "two"));
    let key = key(&backend, "/a", None);
    let looked_up = miss(&backend, &key).await;
    let captured = backend.fence(Some(key.resource())).await.expect("a fence");
    let of_any = backend.fence(None).await.expect("a fence");
    invalidate_group(&backend, one).await;
    let fences = [Some(looked_up.clone()), captured, of_any];
    for fence in fences.into_iter().flatten() {
        let response = member("old", None, &[two, one]);
        let put = backend.put(&key, fence, response, now()).await;
        assert_eq!(
            put.expect("a put"),
            Put::Superseded,
            "a member is not stored under a fence from before its group's invalidation"
        );
        assert_eq!(body(&backend, &key).await, None, "nor found");
    }
    fill(&backend, &key, "new", &[one]).await;
    let old = member("old", None, &[one]);
    let put = backend.put(&key, looked_up, old, now()).await;
    assert_eq!(
        put.expect("a put"),
        Put::Superseded,
        "a broken fence stays broken"
    );
    assert_eq!(
        body(&backend, &key).await.as_deref(),
        Some("new"),
        "the newer member stays"
    );
}

/// A put that has been polled some times when an invalidation of its group runs from beginning to end.
pub(super) async fn stores_nothing_old_when_a_put_is_overtaken_half_way<B: Backend>(
    backend: B,
    polls: usize,
) {
    let (key, one) = (key(&backend, "/a", None), group(&backend, "one"));
    let fence = miss(&backend, &key).await;
    let mut put = pin!(backend.put(&key, fence, member("old", None, &[one]), now()));
    let ended = poll_times(put.as_mut(), polls).await;
    invalidate_group(&backend, one).await;
    if !ended {
        let _ = put.await;
    }
    assert_eq!(
        body(&backend, &key).await,
        None,
        "a group's invalidation counts wherever in a put it falls (after {polls} polls)"
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
        (others, "members of other groups stay"),
        (namesakes, "members of other authorities' namesakes stay"),
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
        "what is in no group stays"
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
        Put::Stored,
        "a member whose group was invalidated meanwhile does not replace anything"
    );
    assert_eq!(body(&backend, &key).await, None, "it only invalidates");
    let fence = backend.fence(Some(key.resource())).await.expect("a fence");
    if let Some(fence) = fence {
        let replaced = backend
            .replace(&key, fence, member("new", None, &[one]), now())
            .await;
        if replaced.expect("a replace") == Put::Stored {
            assert_eq!(body(&backend, &key).await.as_deref(), Some("new"));
            invalidate_group(&backend, one).await;
        }
        assert_eq!(
            body(&backend, &key).await,
            None,
            "what replaced is a member like others"
        );
    }
}

/// What a call that began before an invalidation brings may be a member.
pub(super) async fn joins_nothing_that_may_be_a_member<B: Backend>(backend: B) {
    let key = key(&backend, "/a", None);
    let flight = miss(&backend, &key).await;
    invalidate_group(&backend, group(&backend, "one")).await;
    let own = fence_of(backend.get(&key, now()).await.expect("a lookup"));
    assert!(
        !backend.may_join(key.resource(), &flight, &own),
        "nobody joins a fill that began before a group's invalidation that he came after"
    );
}
