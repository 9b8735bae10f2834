//! What the tests share: requests, answers, a scripted origin, backends that yield.
#![allow(dead_code, reason = "every test file uses its part of it")]

pub mod around;
pub mod both;
pub mod contents;
pub mod dying;
pub mod gate;
pub mod logs;
pub mod luck;
pub mod names;
pub mod origin;
pub mod polling;
pub mod puts;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sample;
pub mod schedule;
pub mod spellings;
pub mod time;
pub mod trickle;
pub mod yielding;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::LocalSet;
use tower::{Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{BoxError, CacheLayer};

/// A GET on the test's one host.
pub fn get(path: &str) -> Request<()> {
    request(Method::GET, path)
}

/// A PUT on the test's one host.
pub fn put(path: &str) -> Request<()> {
    request(Method::PUT, path)
}

pub fn request(method: Method, path: &str) -> Request<()> {
    let builder = Request::builder().method(method).uri(path);
    let request = builder.header("host", "test.example").body(());
    request.expect("a request")
}

/// Adds a header line to a request.
pub fn with(mut request: Request<()>, name: &'static str, value: &str) -> Request<()> {
    let value = value.parse().expect("a field value");
    request.headers_mut().append(name, value);
    request
}

/// Adds these header lines to a request.
pub fn with_lines(request: Request<()>, lines: &[(&'static str, &str)]) -> Request<()> {
    lines
        .iter()
        .fold(request, |request, line| with(request, line.0, line.1))
}

/// This many GETs of one path.
pub fn gets(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|_| get("/a"))
}

/// A cache in memory.
pub fn in_memory() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

/// An answer, collected.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// All lines of a field, joined.
    pub fn header(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        lines.join(", ")
    }

    /// `Cache-Status` without the cache's name.
    pub fn cache_status(&self) -> String {
        let status = self.header("cache-status");
        status
            .trim_start_matches("tower-response-cache; ")
            .to_owned()
    }

    pub fn is_hit(&self) -> bool {
        self.cache_status().starts_with("hit")
    }
}

/// Sends a request to a clone of a service and collects the answer.
pub async fn send<S, B>(service: &S, request: Request<()>) -> Answer
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = service.clone().oneshot(request).await;
    collect(response.expect("an answer")).await
}

/// Sends all requests at once and waits for all answers, which come in the order of the requests.
pub async fn send_all<S, B>(
    service: &S,
    requests: impl IntoIterator<Item = Request<()>>,
) -> Vec<Answer>
where
    S: Service<Request<()>, Response = Response<B>> + Clone + 'static,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let local = LocalSet::new();
    let send_one = |request| {
        let service = service.clone();
        local.spawn_local(async move { send(&service, request).await })
    };
    let tasks: Vec<_> = requests.into_iter().map(send_one).collect();
    let answers = async {
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("an answer"));
        }
        answers
    };
    local.run_until(answers).await
}

/// Whether a request is answered from the store.
pub async fn is_stored<S, B>(service: &S, request: Request<()>) -> bool
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let request = with(request, "cache-control", "only-if-cached");
    send(service, request).await.is_hit()
}

pub async fn collect<B>(response: Response<B>) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(Into::into)
        .expect("a whole body");
    Answer {
        status: head.status,
        headers: head.headers,
        trailers: body.trailers().cloned(),
        body: String::from_utf8(body.to_bytes().into()).expect("UTF-8"),
    }
}
