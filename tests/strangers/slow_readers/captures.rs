//! Bytes that are collected for the store are released by `fill_timeout`, whatever clients do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, MemoryBackend, MemoryFence, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;
use tower_response_cache::stats::Refusal;

use super::{KIB, MIB, head_of, in_chunks, read_up_to, time_until_stored};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::polling::poll_once;
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, is_stored, request, send, with};

const FILL_TIMEOUT: Duration = Duration::from_secs(30);
/// More than one and a half times what may be buffered.
const READERS: usize = 100;

fn layer() -> tower_response_cache::CacheLayer<MemoryBackend> {
    let capacity = 256 * MIB as u64;
    in_virtual_time(MemoryBackend::builder().capacity(capacity).build())
}

/// A page of 100 KiB for `/new`; for all other paths what `other` makes.
fn origin(other: impl Fn() -> crate::support::origin::Response + Send + Sync + 'static) -> Origin {
    Origin::at_once(
        move |request| match request.uri().path().starts_with("/new") {
            true => cacheable(vec![7; 100 * KIB]),
            false => other(),
        },
    )
}

/// Promise: clients that stop reading do not stop storing for others.
#[tokio::test(start_paused = true)]
async fn stalled_readers_of_ranges_leave_the_budget_within_fill_timeout() {
    for is_endless in [false, true] {
        let part = move || {
            let fields = [
                ("cache-control", "max-age=600"),
                ("etag", "\"1\""),
                ("content-range", "bytes 0-1048575/4194304"),
            ];
            // One byte more never comes where the body is endless.
            in_chunks(206, &fields, MIB - usize::from(is_endless), is_endless)
        };
        let layer = layer();
        let service = layer.layer(origin(part));
        let mut readers = Vec::new();
        for number in 0..READERS {
            let wanted = with(get(&format!("/{number}")), "range", "bytes=0-1048575");
            let mut response = head_of(&service, wanted).await;
            read_up_to(&mut response, MIB - 20 * KIB).await;
            readers.push(response);
        }
        let waited = time_until_stored(&service, SECOND * 600).await;
        assert!(
            waited.is_some_and(|waited| waited <= FILL_TIMEOUT + SECOND),
            "{waited:?}"
        );
        sleep(FILL_TIMEOUT + SECOND).await;
        let stats = layer.handle().stats();
        assert_eq!(stats.in_flight.bytes, 0, "{stats:?}");
        drop(readers);
        settle().await;
        assert_eq!(layer.handle().stats().in_flight, Default::default());
    }
}

/// A response that must be validated each time is delivered to each client alone.
#[tokio::test(start_paused = true)]
async fn stalled_readers_of_pages_to_be_validated_leave_the_budget_within_fill_timeout() {
    let page = || {
        let fields = [("cache-control", "no-cache"), ("etag", "\"1\"")];
        in_chunks(200, &fields, MIB - 1, true)
    };
    let layer = layer();
    let service = layer.layer(origin(page));
    let mut readers = Vec::new();
    for number in 0..READERS {
        let mut response = head_of(&service, get(&format!("/{number}"))).await;
        read_up_to(&mut response, MIB - 20 * KIB).await;
        readers.push(response);
    }
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert!(
        waited.is_some_and(|waited| waited <= FILL_TIMEOUT + SECOND),
        "{waited:?}"
    );
}

/// Leaders and followers that never poll hold bounded bytes of bodies that are too large to be
/// stored, and take no room from others.
#[tokio::test(start_paused = true)]
async fn stalled_readers_of_bodies_that_are_not_stored_take_no_room_from_others() {
    let large = || in_chunks(200, &[("cache-control", "max-age=600")], 4 * MIB, true);
    let layer = layer();
    let service = layer.layer(origin(large));
    let mut readers = Vec::new();
    for number in 0..400 {
        let path = format!("/{}", number / 2);
        readers.push(Box::pin(head_of(&service, get(&path)).await));
    }
    settle().await;
    sleep(FILL_TIMEOUT).await;
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert_eq!(waited, Some(Duration::ZERO));
    drop(readers);
    settle().await;
    sleep(SECOND).await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// Leaders whose responses are not stored in the end, and who never poll them: they are cut off
/// when they have stopped for `slow_reader_timeout`.
#[tokio::test(start_paused = true)]
async fn stalled_readers_of_fills_that_took_too_long_take_no_room_from_others() {
    let endless = || in_chunks(200, &[("cache-control", "max-age=600")], MIB - 1, true);
    let layer = layer();
    let service = layer.layer(origin(endless));
    let mut readers = Vec::new();
    for number in 0..READERS {
        readers.push(head_of(&service, get(&format!("/{number}"))).await);
    }
    settle().await;
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert!(
        waited.is_some_and(|waited| waited <= FILL_TIMEOUT + SECOND * 11),
        "{waited:?}"
    );
}

/// A representation that a write returns, and whose body never ends, delays the head by
/// `fill_timeout` at most. The rest streams to its client.
#[tokio::test(start_paused = true)]
async fn a_body_of_a_write_that_never_ends_is_delivered_and_not_stored() {
    let origin = Origin::at_once(|request| match *request.method() {
        Method::GET => cacheable("old"),
        _ => {
            let fields = [("content-location", "/a"), ("content-length", "100000")];
            in_chunks(200, &fields, 100_000 - 1, true)
        }
    });
    let layer = layer().write_through(true).ttl(SECOND * 60);
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    let begun = Instant::now();
    let write = service.clone().oneshot(request(Method::PUT, "/a"));
    let answered = tokio::time::timeout(SECOND * 600, write).await;
    let mut response = answered.expect("a head in time").expect("a head");
    assert!(begun.elapsed() <= FILL_TIMEOUT, "{:?}", begun.elapsed());
    assert!(!is_stored(&service, get("/a")).await, "it is invalidated");
    let stats = layer.handle().stats();
    assert_eq!(stats.refusals.get(Refusal::TooSlow), 1, "{stats:?}");
    assert_eq!(stats.in_flight.bytes, 0);
    assert_eq!(read_up_to(&mut response, 99_999).await, 99_999);
    assert!(poll_once(&mut response.body_mut().frame()).is_pending());
}

/// Promise: what the cache adds costs no client a part of its response.
#[tokio::test(start_paused = true)]
async fn trailers_of_a_write_that_come_late_are_delivered() {
    let (script, body) = crate::support::origin::scripted();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::at_once(move |_| {
        let fields = [
            ("content-location", "/a"),
            ("content-length", "3"),
            ("trailer", "x-sum"),
        ];
        let body = body.lock().expect("a body").take().expect("one call");
        answer(200, &fields, "").map(|_| body)
    });
    script
        .send(crate::support::origin::data("abc"))
        .expect("a reader");
    let service = layer().write_through(true).ttl(SECOND * 60).layer(origin);
    let write = service.clone().oneshot(request(Method::PUT, "/a"));
    let answered = tokio::time::timeout(SECOND * 600, write).await;
    let response = answered.expect("a head in time").expect("a head");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "3".parse().expect("a value"));
    script
        .send(Ok(http_body::Frame::trailers(trailers)))
        .expect("a reader");
    drop(script);
    let whole = response.into_body().collect().await.expect("a whole body");
    assert_eq!(whole.trailers().expect("trailers")["x-sum"], "3");
    assert_eq!(whole.to_bytes(), "abc");
}

/// A backend that stores nothing, as one that is down: the bodies are left to their readers, in
/// bounded memory, and readers that stop are cut off when they crowd out others.
#[tokio::test(start_paused = true)]
async fn stalled_readers_of_bodies_that_a_backend_refuses_are_cut_off() {
    let refuses = Arc::new(AtomicBool::new(true));
    let backend = Refusing(MemoryBackend::default(), refuses.clone());
    let layer = in_virtual_time(backend);
    let service = layer.layer(origin(|| {
        in_chunks(200, &[("cache-control", "max-age=600")], MIB, false)
    }));
    let mut readers = Vec::new();
    for number in 0..600 {
        readers.push(head_of(&service, get(&format!("/{number}"))).await);
        settle().await;
    }
    sleep(SECOND).await;
    let held = layer.handle().stats().in_flight;
    assert!(
        (held.bytes + held.unread_bytes) as usize <= 66 * MIB,
        "{held:?}"
    );
    refuses.store(false, Ordering::SeqCst);
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert!(
        waited.is_some_and(|waited| waited <= SECOND * 11),
        "{waited:?}"
    );
    sleep(SECOND * 10).await;
    let held = layer.handle().stats().in_flight;
    assert!(held.unread_bytes as usize <= 33 * MIB, "{held:?}");
    let (mut whole, mut cut) = (0, 0);
    for response in readers {
        match response.into_body().collect().await {
            Ok(_) => whole += 1,
            Err(error) => {
                assert!(error.to_string().contains("too slowly"), "{error}");
                cut += 1;
            }
        }
    }
    assert!(cut > 0, "{whole} of 600 were delivered");
    settle().await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

#[derive(Clone)]
struct Refusing(MemoryBackend, Arc<AtomicBool>);

impl ForwardBackend for Refusing {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.0
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        // One that has to be waited for.
        sleep(SECOND / 1000).await;
        match self.1.load(Ordering::SeqCst) {
            true => Ok(PutOutcome::TooLarge),
            false => self.0.put(key, fence, response, now).await,
        }
    }
}
