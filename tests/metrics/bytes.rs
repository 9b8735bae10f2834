//! Bytes of response bodies by their source.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::BodySource::{Origin as FromOrigin, Store};

use crate::layer;
use crate::support::origin::{Origin, answer, cacheable, data, scripted};
use crate::support::time::settled;
use crate::support::{get, put, request, send, with};

/// The bytes that were counted, from the store and from the origin.
fn bytes<B: tower_response_cache::backend::Backend>(
    layer: &tower_response_cache::CacheLayer<B>,
) -> (u64, u64) {
    let counts = layer.handle().stats().body_bytes;
    (counts.get(Store), counts.get(FromOrigin))
}

#[tokio::test(start_paused = true)]
async fn bytes_count_for_the_source_that_sent_them() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(|_| cacheable("0123456789")));
    send(&service, get("/a")).await;
    assert_eq!(bytes(&layer), (0, 10));
    send(&service, get("/a")).await;
    assert_eq!(bytes(&layer), (10, 10));
    send(&service, with(get("/a"), "range", "bytes=2-4")).await;
    assert_eq!(bytes(&layer), (13, 10));
    send(&service, request(Method::HEAD, "/a")).await;
    assert_eq!(bytes(&layer), (13, 10), "no bytes of a HEAD");
    send(&service, put("/a")).await;
    assert_eq!(bytes(&layer), (13, 20));
    let refused = with(get("/b"), "cache-control", "only-if-cached");
    send(&service, refused).await;
    assert_eq!(bytes(&layer), (13, 20), "what the cache makes is neither");
}

/// A body that claims a length, and fails after five bytes.
struct Lying(u64, bool);

impl Body for Lying {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(match std::mem::replace(&mut self.1, true) {
            false => Ok(Frame::data(Bytes::from_static(b"hello"))),
            true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// What an origin announces does not count, nor stops the counters.
#[tokio::test(start_paused = true)]
async fn bytes_that_do_not_come_are_not_counted() {
    for (length, directive) in [
        (u64::MAX - 2, "max-age=60"),
        (u64::MAX - 2, "no-store"),
        (u64::MAX / 2, "max-age=60"),
        (10, "max-age=60"),
    ] {
        let layer = layer();
        let service = layer.layer(tower::service_fn(move |_: http::Request<()>| async move {
            let response = http::Response::builder().header("cache-control", directive);
            response.body(Lying(length, false))
        }));
        for calls in 1..=3 {
            let response = service.clone().oneshot(get("/a")).await;
            let body = response.expect("a head").into_body();
            body.collect().await.expect_err("it breaks off");
            let expected = (0, 5 * calls);
            assert_eq!(bytes(&layer), expected, "{length} {directive}");
        }
    }
}

/// A body of unknown length counts when it ends, or with what its client has read.
#[tokio::test(start_paused = true)]
async fn bytes_of_an_unknown_length_count_as_they_are_read() {
    for is_stored in [true, false] {
        let layer = layer();
        let (frames, body) = scripted();
        let body = std::sync::Mutex::new(Some(body));
        let origin = Origin::at_once(move |_| {
            let body = body.lock().expect("no panic").take().expect("one call");
            let head = match is_stored {
                true => cacheable(""),
                false => answer(200, &[("cache-control", "no-store")], ""),
            };
            head.map(|_| body)
        });
        let service = layer.layer(origin);
        let response = service.clone().oneshot(get("/a")).await.expect("a head");
        frames.send(data("0123")).expect("it is read");
        frames.send(data("456")).expect("it is read");
        assert_eq!(bytes(&layer), (0, 0));
        drop(frames);
        assert_eq!(crate::support::collect(response).await.body, "0123456");
        assert_eq!(bytes(&layer), (0, 7), "{is_stored}");
        settled().await;
        if is_stored {
            send(&service, get("/a")).await;
            assert_eq!(bytes(&layer), (7, 7));
        }
    }
}
