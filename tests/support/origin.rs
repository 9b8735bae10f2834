//! A scripted origin: a closure from request to answer, which counts its calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::Service;
use tower_response_cache::BoxError;

use super::time::SLOW;

pub type OriginBody = UnsyncBoxBody<Bytes, BoxError>;
pub type Response = http::Response<OriginBody>;
pub type OriginFuture = Pin<Box<dyn Future<Output = Result<Response, OriginError>> + Send>>;

/// The origin's own error type, which must come through a cache untouched.
#[derive(Debug, PartialEq, Eq)]
pub struct OriginError(pub &'static str);

impl std::fmt::Display for OriginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OriginError {}

#[derive(Clone)]
pub struct Origin {
    answer: Arc<dyn Fn(Request<()>) -> OriginFuture + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

impl Origin {
    /// Answers with what an async closure makes of the request.
    pub fn new<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, OriginError>> + Send + 'static,
    {
        Self {
            answer: Arc::new(move |request| Box::pin(answer(request))),
            calls: Arc::default(),
        }
    }

    /// Answers at once, with what a closure makes of the request.
    pub fn at_once(answer: impl Fn(&Request<()>) -> Response + Send + Sync + 'static) -> Self {
        Self::new(move |request| std::future::ready(Ok(answer(&request))))
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<()>> for Origin {
    type Response = Response;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.answer)(request)
    }
}

/// Answers after [`SLOW`] with what a closure makes of the request and the number of the call, from
/// 1.
pub fn slow(answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Origin {
    after(SLOW, answer)
}

/// Answers after a delay.
pub fn after(
    delay: Duration,
    answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static,
) -> Origin {
    delayed(delay, move |request, call| Ok(answer(request, call)))
}

/// Answers or fails after [`SLOW`].
pub fn fallible(
    answer: impl Fn(&Request<()>, usize) -> Result<Response, OriginError> + Send + Sync + 'static,
) -> Origin {
    delayed(SLOW, answer)
}

fn delayed(
    delay: Duration,
    answer: impl Fn(&Request<()>, usize) -> Result<Response, OriginError> + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(delay).await;
            answer(&request, call)
        }
    })
}

/// An origin with one version of everything, which every write that reaches it counts up.
pub fn versions() -> Origin {
    let version = AtomicUsize::new(1);
    Origin::at_once(move |request| match *request.method() {
        Method::GET | Method::HEAD => cacheable(format!("v{}", version.load(Ordering::SeqCst))),
        _ => {
            let written = version.fetch_add(1, Ordering::SeqCst) + 1;
            answer(200, &[], format!("v{written}"))
        }
    })
}

/// An origin whose responses may be stored for an hour; those below `/g` are in the group `stock`.
pub fn with_group() -> Origin {
    Origin::at_once(|request| {
        let grouped = request.uri().path().starts_with("/g");
        let groups = if grouped { "\"stock\"" } else { "" };
        let lines = [("cache-control", "max-age=3600"), ("cache-groups", groups)];
        answer(200, &lines, "stored")
    })
}

/// A body of known size.
pub fn full(text: impl Into<Bytes>) -> OriginBody {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// 200 that may be stored for an hour.
pub fn cacheable(text: impl Into<Bytes>) -> Response {
    let response = http::Response::builder().header("cache-control", "max-age=3600");
    response.body(full(text)).expect("a response")
}

/// A response with these header lines.
pub fn answer(status: u16, lines: &[(&'static str, &str)], text: impl Into<Bytes>) -> Response {
    let mut response = http::Response::builder().status(status);
    for (name, value) in lines {
        response = response.header(*name, *value);
    }
    response.body(full(text)).expect("a response")
}

/// The next step of a scripted body.
pub type BodyStep = Result<Frame<Bytes>, BoxError>;

/// A body of unknown size that yields the frames sent to it, and ends when the sender is dropped.
pub fn scripted() -> (mpsc::UnboundedSender<BodyStep>, OriginBody) {
    let (sender, steps) = mpsc::unbounded_channel();
    (sender, ScriptedBody(steps).boxed_unsync())
}

struct ScriptedBody(mpsc::UnboundedReceiver<BodyStep>);

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyStep>> {
        self.0.poll_recv(cx)
    }
}

/// A data frame.
pub fn data(text: &'static str) -> BodyStep {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}
