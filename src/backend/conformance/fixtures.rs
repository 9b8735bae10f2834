//! The keys, responses and small steps that the checks consist of.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::backend::{
    Backend, Group, InvalidationTarget, JoinDecision, Lookup, PutOutcome, StoredResponse,
};
use crate::key::{CacheKey, KeyParts, Sites, group_digest as group_of};
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::{Vary, VarySelection};

pub(super) fn key<B: Backend>(
    backend: &B,
    path: &'static str,
    query: Option<&'static str>,
) -> CacheKey {
    let (request, ()) = Request::new(()).into_parts();
    let parts = KeyParts::from_request(&request, Cow::Borrowed("conformance.test"))
        .with_path(path)
        .with_query(query);
    CacheKey::new(&backend.seed(), "", Sites::One, &parts)
}

/// A group of the authority of all keys.
pub(super) fn group<B: Backend>(backend: &B, name: &str) -> Group {
    group_of(&backend.seed(), "", "conformance.test", name)
}

/// Whether a request shares the response of an earlier fill that turns out to be in these groups.
pub(super) fn shares<B: Backend>(
    backend: &B,
    key: &CacheKey,
    groups: &[Group],
    (flight, own): (&B::Fence, &B::Fence),
) -> bool {
    match backend.join_decision(key.resource(), flight, own) {
        JoinDecision::Join => true,
        JoinDecision::CheckGroups => backend.has_current_groups(groups, flight, own),
        JoinDecision::Refuse => false,
    }
}

/// A group of another authority.
pub(super) fn group_elsewhere<B: Backend>(backend: &B, authority: &str, name: &str) -> Group {
    group_of(&backend.seed(), "", authority, name)
}

/// The moment of all steps.
pub(super) fn now() -> Moment {
    Moment::new(Duration::ZERO, SystemTime::UNIX_EPOCH)
}

/// Polls a future up to `times` times; returns whether it has finished.
pub(super) async fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> bool {
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return true;
        }
    }
    false
}

/// Polls a put a few times, then runs a whole invalidation, then finishes the put.
pub(super) async fn overtake<R>(
    put: impl Future<Output = R>,
    polls: usize,
    invalidation: impl Future<Output = ()>,
) {
    let mut put = pin!(put);
    let has_ended = poll_times(put.as_mut(), polls).await;
    invalidation.await;
    if !has_ended {
        let _ = put.await;
    }
}

pub(super) async fn miss<B: Backend>(backend: &B, key: &CacheKey) -> B::Fence {
    match backend.get(key, now()).await.expect("a lookup") {
        Lookup::Miss(fence) => fence,
        found => panic!("expected a miss, found {found:?}"),
    }
}

pub(super) async fn put<B: Backend>(
    backend: &B,
    key: &CacheKey,
    fence: B::Fence,
    body: &'static str,
) -> PutOutcome {
    let response = response(body, None);
    backend
        .put(key, fence, response, now())
        .await
        .expect("a put")
}

/// Looks a key up and stores a response of these groups.
pub(super) async fn fill<B: Backend>(
    backend: &B,
    key: &CacheKey,
    body: &'static str,
    groups: &[Group],
) {
    let fence = backend
        .get(key, now())
        .await
        .expect("a lookup")
        .into_fence()
        .expect("a fence");
    let put = backend
        .put(key, fence, member(body, None, groups), now())
        .await;
    assert_eq!(
        put.expect("a put"),
        PutOutcome::Stored,
        "a member is stored"
    );
}

pub(super) async fn body<B: Backend>(backend: &B, key: &CacheKey) -> Option<String> {
    match backend.get(key, now()).await.expect("a lookup") {
        Lookup::Found(response, _) => {
            Some(String::from_utf8_lossy(response.body_bytes()).into_owned())
        }
        Lookup::Varies(..) | Lookup::Miss(_) | Lookup::Unfenced => None,
    }
}

pub(super) async fn invalidate<B: Backend>(backend: &B, key: &CacheKey) {
    let target = InvalidationTarget::Resource(*key.resource());
    backend.invalidate(&target).await.expect("an invalidation");
}

pub(super) async fn invalidate_group<B: Backend>(backend: &B, group: Group) {
    let target = InvalidationTarget::Group(group);
    backend.invalidate(&target).await.expect("an invalidation");
}

pub(super) async fn put_variant<B: Backend>(
    backend: &B,
    primary: &CacheKey,
    language: &'static str,
) -> CacheKey {
    put_variant_in(backend, primary, language, &[]).await
}

pub(super) async fn put_variant_in<B: Backend>(
    backend: &B,
    primary: &CacheKey,
    language: &'static str,
    groups: &[Group],
) -> CacheKey {
    let selected = selected(language);
    let key = primary.variant_for(&backend.seed(), selected.rule(), &asking_for(language));
    let fence = backend
        .get(&key, now())
        .await
        .expect("a lookup")
        .into_fence()
        .expect("a fence");
    let response = member(language, Some(selected), groups);
    let put = backend.put(&key, fence, response, now()).await;
    assert_eq!(
        put.expect("a put"),
        PutOutcome::Stored,
        "a variant is stored"
    );
    key
}

fn asking_for(language: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(language))])
}

fn selected(language: &'static str) -> VarySelection {
    let vary = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept-language"))]);
    match Vary::from_headers(&vary) {
        Vary::Fields(rule) => {
            VarySelection::from_request(rule, &asking_for(language)).expect("a short value")
        }
        Vary::Absent | Vary::NeverMatches => unreachable!("the header names a field"),
    }
}

pub(super) fn response(body: &'static str, selected: Option<VarySelection>) -> Arc<StoredResponse> {
    member(body, selected, &[])
}

pub(super) fn member(
    body: &'static str,
    selected: Option<VarySelection>,
    groups: &[Group],
) -> Arc<StoredResponse> {
    let vary = match &selected {
        Some(selected) => selected.rule().names(),
        None => &[],
    };
    let headers = vary.iter().map(|name| (VARY, name.clone().into()));
    let headers = headers.collect();
    let grant = StoragePolicy {
        freshness: Freshness {
            received: now(),
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(3600)),
            stale: Staleness::default(),
            immutable: false,
        },
        selected,
        groups: groups.into(),
        withheld: Box::default(),
    };
    let head = StoredHead::new(Arc::default(), StatusCode::OK, &headers, grant);
    Arc::new(head.with_body(Bytes::from_static(body.as_bytes()), None, Duration::ZERO))
}
