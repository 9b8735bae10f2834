//! Writes whose work goes on after the head of their response, to the end of its body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedSender;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::Backend;
use tower_response_cache::{Cache, CacheLayer, ResponseBody};

use super::origin;
use crate::support::both::on_both_backends;
use crate::support::origin::{BodyStep, Origin, OriginBody, answer, data, scripted};
use crate::support::{collect, get, in_memory, is_stored, put, request, send};

/// The lines of a head.
pub(super) type Lines = &'static [(&'static str, &'static str)];

/// What a body says, step by step.
type Steps = &'static [fn() -> BodyStep];

/// An origin whose writes answer with a head, and then with what the test says.
pub(super) struct Late {
    version: Arc<AtomicU64>,
    pub(super) origin: Origin,
    bodies: Arc<Mutex<Vec<UnboundedSender<BodyStep>>>>,
}

impl Late {
    pub(super) fn new(lines: Lines) -> Self {
        let (version, bodies) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<_>>>::default());
        let all = bodies.clone();
        let origin = origin(&version, move |_| {
            let (sender, body) = scripted();
            all.lock().expect("no panic").push(sender);
            let (head, _) = answer(200, lines, "").into_parts();
            std::future::ready(Ok(Response::from_parts(head, body)))
        });
        Self {
            version,
            origin,
            bodies,
        }
    }

    /// What says the body of the write that was called last.
    pub(super) fn body(&self) -> UnboundedSender<BodyStep> {
        let body = self.bodies.lock().expect("no panic").pop();
        body.expect("a write")
    }

    /// Does the work.
    pub(super) fn commit(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }
}

/// The head of the response to a PUT.
pub(super) async fn write<B: Backend>(
    service: &Cache<Origin, B>,
) -> Response<ResponseBody<OriginBody>> {
    let response = service.clone().oneshot(put("/a")).await;
    response.expect("an answer")
}

pub(super) fn trailers() -> BodyStep {
    Ok(Frame::trailers(http::HeaderMap::new()))
}

/// Promise: no stale read after a write. What a request between the head and the end has stored is
/// older than the write.
#[tokio::test(start_paused = true)]
async fn a_read_after_the_end_of_a_write_gets_nothing_older() {
    on_both_backends(async |layer| {
        // The end is told by the end of the stream, by trailers, and by the announced length.
        let cases: [(Lines, Steps); 3] = [
            (&[], &[|| data("do"), || data("ne")]),
            (&[], &[|| data("done"), trailers]),
            (&[("content-length", "4")], &[|| data("do"), || data("ne")]),
        ];
        for (lines, steps) in cases {
            let late = Late::new(lines);
            let service = layer.layer(late.origin.clone());
            let mut response = write(&service).await;
            let body = late.body();
            assert_eq!(send(&service, get("/a")).await.body, "/a v0");
            assert!(is_stored(&service, get("/a")).await);
            for step in steps {
                late.commit();
                body.send(step()).expect("it is read");
            }
            // A server sends no more than the announced length, and does not ask for more.
            let mut frames = steps.len();
            if lines.is_empty() {
                drop(body);
                frames += 1;
            }
            for _ in 0..frames {
                let _ = response.body_mut().frame().await;
            }
            assert!(!is_stored(&service, get("/a")).await, "{lines:?}");
            assert_eq!(send(&service, get("/a")).await.body, "/a v2", "{lines:?}");
        }
    })
    .await;
}

/// A call that began before the end may have read the old state: it is neither stored nor joined.
#[tokio::test(start_paused = true)]
async fn a_fill_over_the_end_of_a_write_is_not_stored() {
    on_both_backends(async |layer: CacheLayer<_>| {
        let (version, gate) = (
            Arc::<AtomicU64>::default(),
            Arc::new(tokio::sync::Notify::new()),
        );
        let (sender, body) = scripted();
        let body = Mutex::new(Some(body));
        let (read, held) = (version.clone(), gate.clone());
        let origin = Origin::new(move |request| {
            let (read, held) = (read.load(Ordering::SeqCst), held.clone());
            let body = (*request.method() == Method::PUT)
                .then(|| body.lock().expect("no panic").take().expect("one write"));
            async move {
                if let Some(body) = body {
                    return Ok(Response::new(body));
                }
                if read == 0 {
                    held.notified().await;
                }
                Ok(crate::support::origin::cacheable(format!("v{read}")))
            }
        });
        let service = layer.layer(origin);
        let (response, begin) = (write(&service).await, tokio::time::Instant::now());
        let early = tokio::spawn(service.clone().oneshot(get("/a")));
        tokio::task::yield_now().await;
        version.store(1, Ordering::SeqCst);
        drop(sender);
        collect(response).await;
        assert_eq!(send(&service, get("/a")).await.body, "v1");
        assert!(
            begin.elapsed().is_zero(),
            "it has waited for the call from before"
        );
        gate.notify_one();
        let early = early.await.expect("no panic").expect("an answer");
        assert_eq!(collect(early).await.body, "v0");
        assert_eq!(send(&service, get("/a")).await.body, "v1");
    })
    .await;
}

/// A client that leaves within the body gets no end, nor does one whose response breaks off: what was
/// stored until then is removed at once.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_given_up_within_its_body_invalidates() {
    on_both_backends(async |layer| {
        for leaves in [true, false] {
            let late = Late::new(&[]);
            let service = layer.layer(late.origin.clone());
            let mut response = write(&service).await;
            send(&service, get("/a")).await;
            late.commit();
            match leaves {
                true => drop(response),
                false => {
                    late.body().send(Err("broken".into())).expect("it is read");
                    let broken = response.body_mut().frame().await.expect("a frame");
                    assert!(broken.is_err());
                }
            }
            let mut turns = 0;
            while is_stored(&service, get("/a")).await {
                turns += 1;
                assert!(turns < 1000, "it is never invalidated");
                tokio::task::yield_now().await;
            }
            assert_eq!(send(&service, get("/a")).await.body, "/a v1");
        }
    })
    .await;
}

/// P9: a client that does not read keeps nobody from storing.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_holds_up_no_store() {
    let late = Late::new(&[]);
    let service = in_memory().layer(late.origin.clone());
    let _unread = write(&service).await;
    send(&service, get("/a")).await;
    assert!(is_stored(&service, get("/a")).await);
}

/// The end of a body that is there with the head is that of the write.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_with_the_head_costs_no_further_invalidation() {
    let whole: [fn() -> OriginBody; 3] = [
        || crate::support::origin::full(""),
        || crate::support::origin::full("done"),
        || {
            let (sender, body) = scripted();
            sender.send(data("done")).expect("it is read");
            body
        },
    ];
    for body in whole {
        let layer = in_memory();
        let origin = origin(&Arc::default(), move |_| async move {
            Ok(Response::new(body()))
        });
        let service = layer.layer(origin);
        let response = service.clone().oneshot(put("/a")).await.expect("an answer");
        let hint = response.body().size_hint().exact();
        let answer = collect(response).await;
        assert!(hint.is_none_or(|hint| hint == answer.body.len() as u64));
        assert_eq!(layer.handle().stats().invalidations, 1);
    }
}

/// RFC 9112 §8: a server must not take a body for whole that is shorter than its head says.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_at_once_claims_no_length() {
    for breaks_off in [true, false] {
        let origin = origin(&Arc::default(), move |_| {
            let (sender, body) = scripted();
            sender.send(data("d")).expect("it is read");
            if breaks_off {
                sender.send(Err("broken".into())).expect("it is read");
            }
            let response = Response::builder().header("content-length", "4");
            std::future::ready(Ok(response.body(body).expect("a response")))
        });
        let service = in_memory().layer(origin);
        let response = service.oneshot(put("/a")).await.expect("an answer");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), None);
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        let last = body.frame().await;
        assert_eq!(last.is_some_and(|frame| frame.is_err()), breaks_off);
    }
}

/// A write that was rejected changes nothing, whatever its body takes.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_rejected_write_invalidates_nothing() {
    let (sender, body) = scripted();
    let body = Mutex::new(Some(body));
    let origin = origin(&Arc::default(), move |_| {
        let body = body.lock().expect("no panic").take().expect("one write");
        let response = Response::builder().status(404).body(body);
        std::future::ready(Ok(response.expect("a response")))
    });
    let service = in_memory().layer(origin);
    send(&service, get("/a")).await;
    let response = service.clone().oneshot(request(Method::POST, "/a")).await;
    sender.send(data("no")).expect("it is read");
    drop(sender);
    assert_eq!(collect(response.expect("an answer")).await.body, "no");
    assert!(is_stored(&service, get("/a")).await);
}

/// What arrives is passed on: frame by frame, trailers included.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_write_comes_as_it_is() {
    let late = Late::new(&[]);
    let service = in_memory().layer(late.origin.clone());
    let mut response = write(&service).await;
    let body = late.body();
    for text in ["a", "b", "c"] {
        body.send(data(text)).expect("it is read");
        let frame = response.body_mut().frame().await.expect("a frame");
        let frame = frame.expect("no error").into_data().expect("data");
        assert_eq!(frame, Bytes::from(text));
        assert!(!response.body().is_end_stream());
    }
    let mut last = http::HeaderMap::new();
    last.insert("x-sum", "3".parse().expect("a value"));
    body.send(Ok(Frame::trailers(last.clone())))
        .expect("it is read");
    drop(body);
    let frame = response.body_mut().frame().await.expect("a frame");
    let frame = frame.expect("no error").into_trailers().expect("trailers");
    assert_eq!(frame, last);
    assert!(response.body_mut().frame().await.is_none());
    assert!(response.body().is_end_stream());
}
