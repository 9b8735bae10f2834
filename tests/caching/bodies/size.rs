//! Which sizes are announced, and which are believed.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, MemoryBackend, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;

use super::{
    CACHEABLE, LONGEST_FILL, SLOW, Script, Stream, clock, directed, is_hit, next_data,
    on_both_backends, open, refusals, tell,
};
use crate::support::origin::{Origin, OriginError, cacheable, data, scripted};
use crate::support::polling::poll_once;
use crate::support::time::settled;
use crate::support::{get, send};

#[tokio::test(start_paused = true)]
async fn a_body_announced_as_too_large_streams_through_uncaptured() {
    on_both_backends(async |layer| {
        let lines = &[("cache-control", "max-age=3600"), ("content-length", "9")];
        let (origin, script) = directed(lines);
        let layer = layer.max_body(8);
        let service = layer.layer(origin);
        let response = open(&service, "/a").await;
        assert_eq!(
            response.headers()["cache-status"],
            "tower-response-cache; fwd=uri-miss; detail=too-large"
        );
        assert_eq!(refusals(&layer), [("too-large", 1)], "known from the head");
        let mut body = response.into_body();
        let script = script();
        for part in ["one", "two", "end"] {
            assert!(poll_once(&mut body.frame()).is_pending());
            tell(&script, data(part));
            assert_eq!(next_data(&mut body).await, part, "at once");
        }
        drop(script);
        assert!(body.frame().await.is_none());
        settled().await;
        assert_eq!(layer.handle().stats().stores, 0);
    })
    .await;
}

/// The size may also be known from the body alone.
#[tokio::test(start_paused = true)]
async fn a_body_known_to_be_too_large_streams_through_uncaptured() {
    on_both_backends(async |layer| {
        let service = layer
            .max_body(8)
            .layer(Origin::at_once(|_| cacheable("123456789")));
        for _ in 0..2 {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=too-large");
            assert_eq!(answer.body, "123456789");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_grows_too_large_streams_on_byte_for_byte_and_is_not_stored() {
    on_both_backends(async |layer| {
        let layer = layer.max_body(1000);
        let origin = Origin::at_once(|_| {
            let (script, body) = scripted();
            for frame in frames() {
                tell(&script, Ok(Frame::data(frame)));
            }
            cacheable("").map(|_| body)
        });
        let service = layer.layer(origin.clone());
        for call in 1..=2 {
            let body = open(&service, "/a").await.into_body();
            let whole = body.collect().await.expect("a whole body");
            let expected: Vec<u8> = frames().flatten().collect();
            assert_eq!(whole.to_bytes(), expected);
            settled().await;
            assert_eq!(origin.calls(), call);
        }
        assert_eq!(refusals(&layer), [("too-large", 2)]);
    })
    .await;
}

/// Some thousand bytes in frames of all sizes, empty ones included.
fn frames() -> impl Iterator<Item = Bytes> {
    (0..200_u8).map(|n| Bytes::from(vec![n; usize::from(n) % 37]))
}

#[tokio::test(start_paused = true)]
async fn a_body_of_just_the_limit_is_stored() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let service = layer.max_body(8).layer(origin);
        let mut body = open(&service, "/a").await.into_body();
        let script = script();
        tell(&script, data("1234"));
        tell(&script, data("5678"));
        drop(script);
        while body.frame().await.is_some() {}
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "12345678"));
    })
    .await;
}

/// Room for one chunk of ten bytes and its bookkeeping.
const ONE_CHUNK: u64 = 10 + 96;

#[tokio::test(start_paused = true)]
async fn fills_beyond_the_budget_stream_unstored() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let layer = layer.max_buffered_bytes(ONE_CHUNK);
        let service = layer.layer(origin);
        let mut first = open(&service, "/first").await.into_body();
        let first_script = script();
        tell(&first_script, data("12345678"));
        next_data(&mut first).await;

        let mut second = open(&service, "/second").await.into_body();
        let second_script = script();
        for part in ["12", "345678", "9"] {
            tell(&second_script, data(part));
            assert_eq!(next_data(&mut second).await, part);
        }
        drop(second_script);
        assert!(second.frame().await.is_none());
        assert_eq!(refusals(&layer), [("budget", 1)]);

        drop(first_script);
        assert!(first.frame().await.is_none());
        settled().await;
        assert!(is_hit(&service, "/first").await);
        assert_eq!(layer.handle().stats().stores, 1);
    })
    .await;
}

/// Nor is a fill at its end while the backend has yet to take it.
#[tokio::test(start_paused = true)]
async fn bodies_waiting_for_a_slow_backend_count() {
    let slow = SlowToStore(MemoryBackend::default());
    let layer = CacheLayer::new(slow)
        .clock(clock())
        .max_buffered_bytes(ONE_CHUNK);
    let service = layer.layer(Origin::at_once(|_| cacheable("12345678")));
    send(&service, get("/first")).await;
    send(&service, get("/second")).await;
    assert_eq!(refusals(&layer), [("budget", 1)]);
    sleep(2 * SLOW).await;
    send(&service, get("/third")).await;
    sleep(2 * SLOW).await;
    assert_eq!(layer.handle().stats().stores, 2, "given back then");
}

type End = fn(Stream, Script) -> Vec<Stream>;

/// Whatever a fill's end.
#[tokio::test(start_paused = true)]
async fn the_budget_is_given_back() {
    let ends: [(&str, End); 5] = [
        ("it ended", |body, script| {
            drop(script);
            vec![body]
        }),
        ("its client left", |body, script| {
            drop((body, script));
            vec![]
        }),
        ("its client left and it never ends", |body, script| {
            drop(body);
            std::mem::forget(script);
            vec![]
        }),
        ("it failed", |body, script| {
            tell(&script, Err(OriginError("gone").into()));
            vec![body]
        }),
        ("it grew too large", |body, script| {
            tell(&script, data("123"));
            vec![body]
        }),
    ];
    for (how, end) in ends {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let service = layer
                .max_buffered_bytes(ONE_CHUNK)
                .max_body(10)
                .layer(origin);
            let mut body = open(&service, "/first").await.into_body();
            let first_script = script();
            tell(&first_script, data("12345678"));
            next_data(&mut body).await;
            for body in end(body, first_script) {
                let _ = body.collect().await;
            }
            sleep(LONGEST_FILL).await;

            let mut next = open(&service, "/next").await.into_body();
            tell(&script(), data("12345678"));
            assert_eq!(next_data(&mut next).await, "12345678");
            assert!(next.frame().await.is_none());
            settled().await;
            assert!(is_hit(&service, "/next").await, "{how}");
        })
        .await;
    }
}

/// A body that is no longer captured does not hold the budget while it streams on.
#[tokio::test(start_paused = true)]
async fn an_endless_stream_gives_its_budget_back_once_it_is_too_large() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let layer = layer.max_buffered_bytes(ONE_CHUNK).max_body(10);
        let service = layer.layer(origin);
        let mut endless = open(&service, "/endless").await.into_body();
        let endless_script = script();
        for part in ["12345678", "9abcdefg"] {
            tell(&endless_script, data(part));
            assert_eq!(next_data(&mut endless).await, part);
        }
        assert_eq!(refusals(&layer), [("too-large", 1)]);

        let mut next = open(&service, "/next").await.into_body();
        tell(&script(), data("12345678"));
        assert_eq!(next_data(&mut next).await, "12345678");
        assert!(next.frame().await.is_none());
        settled().await;
        assert!(is_hit(&service, "/next").await);
        tell(&endless_script, data("and on"));
        assert_eq!(next_data(&mut endless).await, "and on");
    })
    .await;
}

/// Nor what has been stored, for as long as its client keeps the body.
#[tokio::test(start_paused = true)]
async fn a_stored_fill_gives_its_budget_back_before_its_body_is_dropped() {
    on_both_backends(async |layer| {
        let service = layer
            .max_buffered_bytes(ONE_CHUNK)
            .layer(Origin::at_once(|_| cacheable("12345678")));
        let mut kept = open(&service, "/kept").await.into_body();
        next_data(&mut kept).await;
        settled().await;
        send(&service, get("/next")).await;
        settled().await;
        assert!(is_hit(&service, "/kept").await);
        assert!(is_hit(&service, "/next").await);
        drop(kept);
    })
    .await;
}

/// A backend that takes a second to store.
#[derive(Clone)]
struct SlowToStore(MemoryBackend);

impl ForwardBackend for SlowToStore {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.0
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: <MemoryBackend as Backend>::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        sleep(SLOW).await;
        self.0.put(key, fence, response, now).await
    }
}
