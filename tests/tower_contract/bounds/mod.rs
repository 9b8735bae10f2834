//! The bounds on a service and its bodies: `Send`, and nothing else.

mod servers;
mod spawned;

use std::cell::Cell;
use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service};
use tower_response_cache::{BoxError, CacheLayer, ResponseBody};

use crate::on_both_backends;
use crate::support::origin::cacheable;
use crate::support::time::settled;
use crate::support::{collect, request};

/// Neither `Sync` nor `Unpin` nor `Default` nor `Clone`.
struct Awkward {
    data: Cell<Option<Bytes>>,
    _pinned: PhantomPinned,
}

fn awkward(text: &'static str) -> Awkward {
    Awkward {
        data: Cell::new(Some(Bytes::from_static(text.as_bytes()))),
        _pinned: PhantomPinned,
    }
}

/// `Send`, but no more.
#[derive(Debug)]
struct AwkwardError {
    _not_sync: Cell<()>,
}

impl From<AwkwardError> for BoxError {
    fn from(_: AwkwardError) -> Self {
        "awkward".into()
    }
}

impl Body for Awkward {
    type Data = Bytes;
    type Error = AwkwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AwkwardError>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }
}

/// `Clone` and `Send`, but no more.
#[derive(Clone)]
struct AwkwardService {
    calls: Cell<usize>,
}

struct AwkwardFuture {
    response: Cell<Option<Response<Awkward>>>,
    _pinned: PhantomPinned,
}

impl Future for AwkwardFuture {
    type Output = Result<Response<Awkward>, AwkwardError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.response.take().expect("polled once")))
    }
}

impl Service<Request<Awkward>> for AwkwardService {
    type Response = Response<Awkward>;
    type Error = AwkwardError;
    type Future = AwkwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AwkwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Awkward>) -> AwkwardFuture {
        self.calls.set(self.calls.get() + 1);
        AwkwardFuture {
            response: Cell::new(Some(cacheable("").map(|_| awkward("data")))),
            _pinned: PhantomPinned,
        }
    }
}

fn require_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(start_paused = true)]
async fn no_sync_unpin_or_default_is_asked_of_anything() {
    on_both_backends(async |backend| {
        let layer = CacheLayer::new(backend).write_through(true);
        let service = layer.layer(AwkwardService {
            calls: Cell::new(0),
        });
        let mut hits = Vec::new();
        for method in [Method::GET, Method::GET, Method::PUT, Method::OPTIONS] {
            let request = request(method, "/a").map(|()| awkward("request"));
            let response = require_send(service.clone()).call(request);
            let response = require_send(response).await.expect("an answer");
            let answer = collect(require_send(response)).await;
            assert_eq!(answer.body, "data");
            hits.push(answer.is_hit());
            settled().await;
        }
        assert_eq!(hits, [false, true, false, false]);
    })
    .await;
}

#[test]
fn the_default_body_needs_no_default_of_the_inner_one() {
    assert!(ResponseBody::<Awkward>::default().is_end_stream());
}
