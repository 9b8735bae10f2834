//! The access log: one line per request when its response has been sent or broke off, or when its
//! client has left before.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;
use tracing::Span;

/// A request that is to be logged with its response. Its line is written when it is dropped.
pub struct AccessLogEntry {
    id: String,
    client: SocketAddr,
    method: Method,
    /// Without its query unless that is logged.
    uri: String,
    version: Version,
    received: Instant,
    /// `None` as long as there is no response.
    answer: Option<Answer>,
}

/// What a line says once the head of the response is there.
struct Answer {
    status: StatusCode,
    length: Option<String>,
    cache: Option<String>,
    upstream: Option<Duration>,
    head: Duration,
    bytes: u64,
    is_whole: bool,
}

impl AccessLogEntry {
    /// Records a request; `None` if the access log is off.
    pub fn from_request<B>(
        request: &Request<B>,
        client: SocketAddr,
        log_query: bool,
    ) -> Option<Box<Self>> {
        is_on().then(|| {
            Box::new(Self {
                id: next_id(),
                client,
                method: request.method().clone(),
                uri: logged(request.uri(), log_query),
                version: request.version(),
                received: Instant::now(),
                answer: None,
            })
        })
    }

    /// The span of the request: other lines about it have its number.
    pub fn span(&self) -> Span {
        tracing::info_span!(target: "access", "request", id = self.id)
    }

    /// Notes the head of the response.
    fn note_answer<B: Body>(&mut self, response: &Response<B>) {
        let upstream = response.extensions().get();
        let has_content = self.method != Method::HEAD && !response.body().is_end_stream();
        self.answer = Some(Answer {
            status: response.status(),
            length: field(response.headers(), "content-length"),
            cache: field(response.headers(), "cache-status"),
            upstream: upstream.map(|UpstreamTime(time)| *time),
            head: self.received.elapsed(),
            bytes: 0,
            is_whole: !has_content,
        });
    }
}

/// A URI without user and password, and without its query unless that is logged.
fn logged(uri: &Uri, log_query: bool) -> String {
    let authority = uri.authority().map_or("", Authority::as_str);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let scheme = uri.scheme_str().map(|scheme| format!("{scheme}://"));
    let path = match uri.path_and_query() {
        Some(path) if log_query => path.as_str(),
        _ => uri.path(),
    };
    scheme.unwrap_or_default() + host + path
}

/// Whether requests are logged.
fn is_on() -> bool {
    tracing::enabled!(target: "access", tracing::Level::INFO)
}

/// A number that no other request has, of this process or the last one.
fn next_id() -> String {
    static STARTED: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let started = STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    });
    format!("{started:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The last line of a field: that of the cache nearest to the client.
fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let line = headers.get_all(name).iter().next_back()?;
    line.to_str().ok().map(str::to_owned)
}

impl Drop for AccessLogEntry {
    /// Writes the line. Without a status, the client has left before there was one.
    fn drop(&mut self) {
        let answer = self.answer.as_ref();
        tracing::info!(
            target: "access",
            id = self.id,
            client = %self.client,
            method = %self.method,
            uri = %self.uri,
            version = ?self.version,
            status = answer.map(|answer| answer.status.as_u16()),
            length = answer.and_then(|answer| answer.length.as_deref()),
            bytes = answer.map_or(0, |answer| answer.bytes),
            is_whole = answer.is_some_and(|answer| answer.is_whole),
            cache = answer.and_then(|answer| answer.cache.as_deref()),
            upstream_ms = answer.and_then(|answer| answer.upstream).map(millis),
            head_ms = answer.map(|answer| millis(answer.head)),
            elapsed_ms = millis(self.received.elapsed()),
        );
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// Attaches a request to its response, to be logged at the end of that.
pub fn attach<B: Body>(
    mut entry: Option<Box<AccessLogEntry>>,
    response: Response<B>,
) -> Response<LoggedBody<B>> {
    if let Some(entry) = &mut entry {
        entry.note_answer(&response);
    }
    response.map(|body| LoggedBody { body, entry })
}

pin_project! {
    /// A response's body, whose bytes are counted for its line.
    pub struct LoggedBody<B> {
        #[pin]
        body: B,
        entry: Option<Box<AccessLogEntry>>,
    }
}

impl<B: Body<Data = Bytes>> Body for LoggedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = ready!(this.body.as_mut().poll_frame(cx));
        let answer = this.entry.as_mut().and_then(|entry| entry.answer.as_mut());
        if let Some(answer) = answer {
            answer.is_whole = match &polled {
                Some(Ok(frame)) => {
                    answer.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    this.body.is_end_stream()
                }
                Some(Err(_)) => false,
                None => true,
            };
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The time from a request to an upstream until the head of its response: an extension.
#[derive(Clone, Copy)]
struct UpstreamTime(Duration);

/// Notes on each response how long the service inside took, if requests are logged.
#[derive(Clone)]
pub struct TimeUpstream<S>(pub S);

impl<S, R, B> Service<R> for TimeUpstream<S>
where
    S: Service<R, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Timed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        Timed {
            begun: is_on().then(Instant::now),
            response: self.0.call(request),
        }
    }
}

pin_project! {
    /// The future of [`TimeUpstream`].
    pub struct Timed<F> {
        begun: Option<Instant>,
        #[pin]
        response: F,
    }
}

impl<F, B, E> Future for Timed<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx));
        let Some(begun) = this.begun else {
            return Poll::Ready(response);
        };
        let time = UpstreamTime(begun.elapsed());
        Poll::Ready(response.map(|mut response| {
            response.extensions_mut().insert(time);
            response
        }))
    }
}
