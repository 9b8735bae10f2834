//! A good tower citizen. Under every limit, on hyper and on axum, in and out of a runtime, and with
//! any body.

mod bounds;
mod errors;
mod hosts;
mod hyper_servers;
mod limits;
mod methods;
mod readiness;
mod routers;
mod runtimes;
mod stacked;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tower_http_layers;
mod unannounced_content;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::Service;
use tower_response_cache::BoxError;
use tower_response_cache::backend::BackendError;

use crate::support::around::{Around, Wrapped};
use crate::support::both::{AnyBackend, both_backends};
use crate::support::origin::{Origin, answer, cacheable, data, scripted};
use crate::support::time::{in_time, settled};
use crate::support::{get, put, send};

/// Plays a scenario on a backend that answers at once and on one that waits.
async fn on_both_backends(scenario: impl AsyncFn(AnyBackend)) {
    for backend in both_backends() {
        in_time(scenario(backend)).await;
    }
}

/// An origin that holds requests for `/held` until it is given a permit for each.
fn gated() -> (Arc<Semaphore>, Origin) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |request| {
        let held = held.clone();
        async move {
            if request.uri().path() == "/held" {
                held.acquire().await.expect("an open gate").forget();
            }
            Ok(cacheable(request.uri().path().to_owned()))
        }
    });
    (gate, origin)
}

async fn miss_hit_write_miss<S, B>(service: &S)
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let first = send(service, get("/a")).await;
    assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
    settled().await;
    let second = send(service, get("/a")).await;
    assert!(second.is_hit(), "{}", second.cache_status());
    assert_eq!(second.body, first.body);
    let written = send(service, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    let third = send(service, get("/a")).await;
    assert_eq!(third.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(third.body, written.body);
}

/// Answers with trailers; the field is announced, as HTTP/1.1 wants it.
fn with_trailers() -> Origin {
    Origin::at_once(|_| {
        let (sender, body) = scripted();
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", "1".parse().expect("a field value"));
        trailers.append("x-sum", "2".parse().expect("a field value"));
        sender.send(data("data")).expect("a reader");
        sender
            .send(Ok(Frame::trailers(trailers)))
            .expect("a reader");
        let lines = [("cache-control", "max-age=3600"), ("trailer", "x-sum")];
        answer(200, &lines, "").map(|_| body)
    })
}

async fn next_data<B>(body: &mut B) -> Bytes
where
    B: Body<Data = Bytes, Error: Debug> + Unpin,
{
    let frame = body.frame().await.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}

const SLOW: Duration = Duration::from_secs(1);

/// A backend whose every operation takes a second.
fn slow_backend<B>(backend: B) -> Wrapped<B, Delay> {
    Wrapped {
        backend,
        around: Delay,
    }
}

#[derive(Clone)]
struct Delay;

impl Around for Delay {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        sleep(SLOW).await;
        operation.await
    }
}
