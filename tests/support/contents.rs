//! Requests with content, and an origin that answers by it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use tokio::time::{Duration, sleep};
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;

use super::origin::{OriginBody, OriginError, Response, answer, full};
use super::{Answer, collect};

/// A request with this content, which it announces.
pub fn with_content(method: &str, path: &str, content: &str) -> Request<OriginBody> {
    let mut request = with_body(method, path, full(content.to_owned()));
    request
        .headers_mut()
        .insert(CONTENT_LENGTH, content.len().into());
    request
}

/// A request whose content is this body, of which it announces no length.
pub fn with_body(method: &str, path: &str, body: OriginBody) -> Request<OriginBody> {
    let builder = Request::builder().method(method).uri(path);
    let builder = builder.header("host", "test.example");
    let builder = builder.header(CONTENT_TYPE, "text/plain");
    builder.body(body).expect("a request")
}

pub fn query(path: &str, content: &str) -> Request<OriginBody> {
    with_content("QUERY", path, content)
}

pub fn post(path: &str, content: &str) -> Request<OriginBody> {
    with_content("POST", path, content)
}

/// Adds a header line.
pub fn line<B>(mut request: Request<B>, name: &'static str, value: &str) -> Request<B> {
    let value = value.parse().expect("a field value");
    request.headers_mut().append(name, value);
    request
}

/// A request as the origin got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub method: Method,
    pub headers: HeaderMap,
    /// Its content, or the text of the error in its place.
    pub content: Result<String, String>,
    pub trailers: Option<HeaderMap>,
}

/// What the origin of [`Contents`] answers to a request, and the number of writes before it.
pub type Answering = dyn Fn(&Heard, usize) -> Response + Send + Sync;

/// An origin that answers by the content of requests: each PUT, and each POST whose content begins
/// with `write`, changes its answers.
#[derive(Clone)]
pub struct Contents {
    writes: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<Heard>>>,
    delay: Duration,
    answering: Arc<Answering>,
}

impl Contents {
    /// Answers for an hour with an `ETag`, and confirms that.
    pub fn new() -> Self {
        Self::answering(|heard, writes| versioned(heard, writes, "max-age=3600"))
    }

    /// Answers with what a function makes of requests that are no writes.
    pub fn answering(
        answering: impl Fn(&Heard, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self {
            writes: Arc::default(),
            heard: Arc::default(),
            delay: Duration::ZERO,
            answering: Arc::new(answering),
        }
    }

    /// Answers after a delay.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic").clone()
    }

    pub fn calls(&self) -> usize {
        self.heard().len()
    }

    pub fn last(&self) -> Heard {
        self.heard().pop().expect("a request")
    }
}

/// An answer that names the method, the content and the number of writes, or confirms its `ETag`.
pub fn versioned(heard: &Heard, writes: usize, control: &str) -> Response {
    let content = heard.content.as_deref().unwrap_or("broken");
    let text = format!("{} {content} v{writes}", heard.method);
    let tag = format!("\"{content}-{writes}\"");
    let lines = [("cache-control", control), ("etag", tag.as_str())];
    let condition = heard.headers.get(IF_NONE_MATCH);
    if condition.is_some_and(|condition| condition.as_bytes() == tag.as_bytes()) {
        let status = match heard.method {
            Method::POST => 412,
            _ => 304,
        };
        return answer(status, &lines, "");
    }
    answer(200, &lines, text)
}

impl Service<Request<OriginBody>> for Contents {
    type Response = Response;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OriginBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let (content, trailers) = match body.collect().await {
                Ok(whole) => {
                    let trailers = whole.trailers().cloned();
                    let text = String::from_utf8(whole.to_bytes().into()).expect("UTF-8");
                    (Ok(text), trailers)
                }
                Err(error) => (Err(error.to_string()), None),
            };
            let heard = Heard {
                method: parts.method,
                headers: parts.headers,
                content,
                trailers,
            };
            this.heard.lock().expect("no panic").push(heard.clone());
            let is_write = match &heard.content {
                Ok(content) if heard.method == Method::POST => content.starts_with("write"),
                _ => heard.method == Method::PUT,
            };
            if is_write {
                this.writes.fetch_add(1, Ordering::SeqCst);
                return Ok(answer(204, &[], ""));
            }
            let answered = (this.answering)(&heard, this.writes.load(Ordering::SeqCst));
            if !this.delay.is_zero() {
                sleep(this.delay).await;
            }
            Ok(answered)
        })
    }
}

/// Sends a request with any body to a clone of a service and collects the answer.
pub async fn ask<S, B, Req>(service: &S, request: Request<Req>) -> Answer
where
    S: Service<Request<Req>, Response = http::Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = service.clone().oneshot(request).await;
    collect(response.expect("an answer")).await
}
