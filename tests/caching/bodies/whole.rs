//! Only whole bodies are stored.

use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, Service};
use tower_response_cache::BoxError;

use super::{
    CACHEABLE, LONGEST_FILL, ask, connect, directed, is_hit, memory, next_data, on_both_backends,
    open, refusals, tell,
};
use crate::support::origin::{Origin, OriginError, answer, cacheable, data, full, scripted};
use crate::support::polling::poll_once;
use crate::support::time::settled;
use crate::support::{get, send};

/// The origin's error, itself or as a source: outer layers look for the types they know.
fn cause<'e>(mut error: &'e (dyn Error + 'static)) -> &'e OriginError {
    loop {
        if let Some(cause) = error.downcast_ref() {
            return cause;
        }
        error = error.source().expect("the origin's error in the chain");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_midway_fails_for_its_client_and_is_not_stored() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let service = layer.layer(origin.clone());
        for call in 1..=2 {
            let mut body = open(&service, "/a").await.into_body();
            let script = script();
            tell(&script, data("half"));
            assert_eq!(next_data(&mut body).await, "half");
            tell(&script, Err(OriginError("gone").into()));
            let error = body.frame().await.expect("no clean end").expect_err("gone");
            assert_eq!(cause(&*BoxError::from(error)), &OriginError("gone"));
            settled().await;
            assert_eq!(origin.calls(), call);
        }
        assert_eq!(refusals(&layer), [("body-failed", 2)]);
    })
    .await;
}

/// Also when nothing was missing.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_after_its_last_byte_is_not_stored() {
    on_both_backends(async |layer| {
        let lines = &[("cache-control", "max-age=3600"), ("content-length", "4")];
        let (origin, script) = directed(lines);
        let service = layer.layer(origin.clone());
        let mut body = open(&service, "/a").await.into_body();
        let script = script();
        tell(&script, data("data"));
        tell(&script, Err(OriginError("gone").into()));
        assert_eq!(next_data(&mut body).await, "data");
        assert!(body.frame().await.expect("no clean end").is_err());
        drop(body);
        settled().await;
        assert_eq!(refusals(&layer), [("body-failed", 1)]);
    })
    .await;
}

/// On the wire, too, it must not look like a clean end.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_midway_is_cut_off_on_the_wire() {
    let origin = Origin::at_once(|_| {
        let (script, body) = scripted();
        tell(&script, data("half"));
        tell(&script, Err(OriginError("gone").into()));
        cacheable("").map(|_| body)
    });
    let mut stream = connect(memory().layer(origin));
    for _ in 0..2 {
        let answer = ask(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            assert_eq!(answer, "", "the connection is closed");
            continue;
        };
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!body.contains("\r\n0\r\n"), "{body}");
    }
}

/// Has one chunk, and panics when it is asked for the next.
struct Panicking(bool);

impl Body for Panicking {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(!std::mem::replace(&mut self.0, true), "as asked");
        Poll::Ready(Some(data("half")))
    }
}

/// Whether the panic is its client's or becomes an error, it must be no clean end, and no endless
/// wait.
#[tokio::test(start_paused = true)]
async fn a_body_that_panics_midway_ends_for_its_client_and_is_not_stored() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| cacheable("").map(|_| Panicking(false).boxed_unsync()));
        let service = layer.layer(origin.clone());
        for call in 1..=2 {
            let mut reading = Box::pin(async {
                let body = open(&service, "/a").await.into_body();
                body.collect().await.is_ok()
            });
            let is_whole = std::future::poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| reading.as_mut().poll(cx)));
                polled.unwrap_or(Poll::Ready(false))
            });
            let is_whole = is_whole.await;
            assert!(!is_whole, "half of it is not all");
            settled().await;
            assert_eq!(origin.calls(), call);
        }
        assert_eq!(layer.handle().stats().stores, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_midway_stores_no_part() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let service = layer.layer(origin.clone());
        for call in 1..=2 {
            let mut body = open(&service, "/a").await.into_body();
            let script = script();
            tell(&script, data("half"));
            assert_eq!(next_data(&mut body).await, "half");
            drop(body);
            sleep(LONGEST_FILL).await;
            assert!(script.is_closed(), "the origin is told");
            assert_eq!(origin.calls(), call);
        }
        assert_eq!(layer.handle().stats().stores, 0);
        assert_eq!(layer.handle().stats().refusals.total(), 2);
    })
    .await;
}

/// A fill that goes on without its client must see the error, too.
#[tokio::test(start_paused = true)]
async fn a_body_that_fails_after_its_client_left_is_not_stored() {
    on_both_backends(async |layer| {
        let (origin, script) = directed(CACHEABLE);
        let service = layer.layer(origin.clone());
        drop(open(&service, "/a").await);
        let script = script();
        // The receiver may be gone.
        let _ = script.send(data("half"));
        let _ = script.send(Err(OriginError("gone").into()));
        settled().await;
        assert!(!is_hit(&service, "/a").await);
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

/// A server stops polling once it has sent the announced length.
#[tokio::test(start_paused = true)]
async fn a_body_dropped_after_its_last_announced_byte_is_whole() {
    on_both_backends(async |layer| {
        let lines = &[("cache-control", "max-age=3600"), ("content-length", "4")];
        let (origin, script) = directed(lines);
        let service = layer.layer(origin.clone());
        let mut body = open(&service, "/a").await.into_body();
        tell(&script(), data("data"));
        assert_eq!(next_data(&mut body).await, "data");
        drop(body);
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "data"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_200_from_an_aborted_call_is_never_stored() {
    on_both_backends(async |layer| {
        let (origin, _script) = directed(CACHEABLE);
        let service = layer.layer(origin.clone());
        // Its client left with the head, before the first byte.
        drop(open(&service, "/a").await);
        // And with nothing at all.
        let mut early = service.clone().call(get("/a"));
        let _ = poll_once(&mut early);
        drop(early);
        settled().await;
        let next = open(&service, "/a").await;
        let status = next.headers()["cache-status"].to_str().expect("text");
        assert!(status.contains("fwd=uri-miss"), "{status}");
        assert_eq!(layer.handle().stats().stores, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_content_length_that_disagrees_stores_nothing() {
    on_both_backends(async |layer| {
        for (announced, frames) in [
            ("10", &["short"][..]),
            ("10", &["sho", "rt"]),
            ("1", &[]),
            ("3", &["longer"]),
            ("3", &["lon", "ger"]),
            ("0", &["longer"]),
        ] {
            for is_scripted in [true, false] {
                let origin = Origin::at_once(move |_| {
                    let (script, body) = scripted();
                    frames.iter().for_each(|frame| tell(&script, data(frame)));
                    let body = match is_scripted {
                        true => body,
                        false => full(frames.concat()),
                    };
                    let lines = [
                        ("cache-control", "max-age=3600"),
                        ("content-length", announced),
                    ];
                    answer(200, &lines, "").map(|_| body)
                });
                let service = layer.layer(origin.clone());
                for _ in 0..2 {
                    let answer = send(&service, get("/a")).await;
                    assert_eq!(answer.body, frames.concat(), "as it came");
                    settled().await;
                }
                assert_eq!(origin.calls(), 2, "{announced} {frames:?}");
            }
        }
        assert_eq!(refusals(&layer), [("truncated", 24)]);
    })
    .await;
}
