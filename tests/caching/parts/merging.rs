//! Which parts are put together, and how many are kept.

use std::time::Duration;

use http::Method;
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, BackendError, ForwardBackend, Lookup, MemoryBackend};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;

use super::{DIGITS, LETTERS, Library, Line, MINUTE, TAG, TEXT, asks, assert_part, part, ranges};
use crate::support::both::{AnyBackend, both_backends, on_both_backends};
use crate::support::origin::Origin;
use crate::support::time::settled;
use crate::support::{get, put, request, send};

#[tokio::test(start_paused = true)]
async fn parts_of_a_changed_response_are_not_combined() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        advance(Duration::from_secs(61)).await;
        // Behind the cache's back.
        send(&library.origin, put("/a")).await;
        let whole = send(&service, asks("bytes=3-7")).await;
        assert_eq!(
            (whole.status.as_u16(), &*whole.body),
            (200, LETTERS),
            "If-Range did not hold"
        );
        assert_eq!(library.asked(), ["bytes=0-4", "bytes=5-7 \"a\""]);
        settled().await;
        let hit = send(&service, asks("bytes=3-7")).await;
        assert_part(&hit, "3-7", "defgh", "hit; ttl=60");
    })
    .await;
}

/// Parts are merged also where completion is disabled.
#[tokio::test(start_paused = true)]
async fn parts_of_two_representations_are_not_put_together() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        send(&service, asks("bytes=6-9")).await;
        settled().await;
        let hit = send(&service, asks("bytes=6-9")).await;
        assert_part(&hit, "6-9", "ghij", "hit; ttl=60");
        let part = send(&service, asks("bytes=0-4")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcde", false));
    })
    .await;
}

/// A seeker leaves at most as many parts as are kept; then it begins anew.
#[tokio::test(start_paused = true)]
async fn parts_of_one_response_are_bounded() {
    let text: &'static str = Box::leak("x".repeat(1000).into_boxed_str());
    let origin = Origin::at_once(move |request| {
        let range = request.headers()["range"].to_str().expect("text");
        let (first, last) = range["bytes=".len()..].split_once('-').expect("one part");
        part(
            text,
            first.parse().expect("a number")..last.parse::<usize>().expect("one") + 1,
            &[TAG, MINUTE],
        )
    });
    let service = CacheLayer::new(MemoryBackend::default()).layer(origin.clone());
    let ask = async |number: usize| {
        let range = format!("bytes={0}-{0}", 10 * number);
        let answer = send(&service, asks(&range)).await;
        settled().await;
        answer.is_hit()
    };
    for number in 0..16 {
        assert!(!ask(number).await);
    }
    for number in 0..16 {
        assert!(ask(number).await, "{number} is kept");
    }
    assert!(!ask(16).await);
    assert!(ask(16).await, "the latest is kept");
    assert!(!ask(0).await, "the others are gone");
}

const MODIFIED: Line = ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT");

/// A file server's answers: `Last-Modified`, no `ETag`, and no `Date` before hyper adds one.
#[tokio::test(start_paused = true)]
async fn parts_are_put_together_by_when_they_were_modified() {
    on_both_backends(async |layer| {
        let service = layer.layer(ranges(|_| vec![MODIFIED, MINUTE]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let more = send(&service, asks("bytes=3-7")).await;
        assert_part(&more, "3-7", "34567", "fwd=partial; stored");
        settled().await;
        let all = send(&service, asks("bytes=0-7")).await;
        assert_part(&all, "0-7", "01234567", "hit; ttl=60");
    })
    .await;
}

/// A backend that has evicted all that is whole.
#[derive(Clone)]
struct WithoutWhole(AnyBackend);

impl ForwardBackend for WithoutWhole {
    type Inner = AnyBackend;

    fn inner(&self) -> &AnyBackend {
        &self.0
    }

    /// Every lookup goes to `get`.
    fn get_now(&self, _: &CacheKey) -> Option<Lookup<<AnyBackend as Backend>::Fence>> {
        None
    }

    async fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> Result<Lookup<<AnyBackend as Backend>::Fence>, BackendError> {
        Ok(match self.0.get(key, now).await? {
            Lookup::Found(response, fence) if response.body().len() == DIGITS.len() => {
                Lookup::Miss(fence)
            }
            lookup => lookup,
        })
    }
}

/// RFC 9111 §4: a later stored response supersedes them, also once it is gone.
#[tokio::test(start_paused = true)]
async fn older_parts_do_not_outlive_the_whole() {
    const HOUR: Line = ("cache-control", "max-age=3600");
    for backend in both_backends() {
        let library = Library::new(&[HOUR]);
        let service = CacheLayer::new(backend.clone()).layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        let whole = send(&service, get("/a")).await;
        assert_eq!(whole.body, LETTERS);
        settled().await;
        let service = CacheLayer::new(WithoutWhole(backend)).layer(library.origin.clone());
        let part = send(&service, asks("bytes=0-3")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcd", false));
    }
}

/// RFC 9111 §4.3.5
#[tokio::test(start_paused = true)]
async fn head_updates_stored_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&service, request(Method::HEAD, "/a")).await;
        let same = send(&service, asks("bytes=0-4")).await;
        assert!(same.is_hit(), "it is the same still");
        send(&library.origin, put("/a")).await;
        send(&service, request(Method::HEAD, "/a")).await;
        let part = send(&service, asks("bytes=0-4")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcde", false));
    })
    .await;
}

/// The stored parts count too while they are merged with a new one. A chunk costs 96 bytes more.
#[tokio::test(start_paused = true)]
async fn putting_together_is_within_the_budget() {
    for (budget, is_stored) in [(104, true), (103, false)] {
        on_both_backends(async |layer| {
            let layer = layer.max_buffered_bytes(budget);
            let service = layer.layer(ranges(|_| vec![TAG, MINUTE]));
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let more = send(&service, asks("bytes=5-7")).await;
            assert_eq!(more.body, "567");
            settled().await;
            let both = send(&service, asks("bytes=0-7")).await;
            assert_eq!(both.is_hit(), is_stored, "{budget}");
        })
        .await;
    }
}
