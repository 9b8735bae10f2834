//! Where an error becomes an answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;
use crate::semantics::stored::CACHE_STATUS;

use super::error::{ProxyError, ProxyErrorKind, causes};
use super::{NAME, is_token, text};

/// RFC 9209
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Answers errors, so that there are none: a [`ProxyError`] with its [status](ProxyErrorKind::status), 502 where the
/// upstream failed and 504 where it was too late, anything else with 500. The reason is in `Proxy-Status` (RFC 9209) and in
/// `Cache-Status`. To be put around a cache, which then sees the error first.
#[derive(Debug)]
pub struct AnswerErrors<S> {
    service: S,
    name: &'static str,
    /// What it was not ready for.
    unready: Option<ProxyErrorKind>,
}

impl<S> AnswerErrors<S> {
    /// Around `service`.
    pub fn new(service: S) -> Self {
        Self {
            service,
            name: NAME,
            unready: None,
        }
    }

    /// The name in both fields. Default: `tower-response-cache`.
    ///
    /// # Panics
    ///
    /// If it is not a token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        assert!(is_token(name), "{name:?} is no token");
        self.name = name;
        self
    }
}

impl<S: Clone> Clone for AnswerErrors<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            name: self.name,
            unready: None,
        }
    }
}

impl<S, B, Res> Service<Request<B>> for AnswerErrors<S>
where
    S: Service<Request<B>, Response = Response<Res>>,
    S::Error: Into<BoxError>,
    Res: From<Bytes>,
{
    type Response = Response<Res>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.service.poll_ready(cx)) {
            self.unready = Some(told(error.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let unready = self.unready.take();
        Answering {
            future: match unready {
                Some(_) => None,
                None => Some(self.service.call(request)),
            },
            unready: unready.unwrap_or(ProxyErrorKind::Internal),
            name: self.name,
        }
    }
}

pin_project! {
    /// What [`AnswerErrors`] comes to.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        future: Option<F>,
        // What there is instead of a future.
        unready: ProxyErrorKind,
        name: &'static str,
    }
}

impl<F, E, Res> Future for Answering<F>
where
    F: Future<Output = Result<Response<Res>, E>>,
    E: Into<BoxError>,
    Res: From<Bytes>,
{
    type Output = Result<Response<Res>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answering = self.project();
        let kind = match answering.future.as_pin_mut() {
            None => *answering.unready,
            Some(future) => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(error) => told(error.into()),
            },
        };
        Poll::Ready(Ok(answer(kind, answering.name)))
    }
}

/// Logs an error.
fn told(error: BoxError) -> ProxyErrorKind {
    let all: Vec<String> = causes(&*error).map(ToString::to_string).collect();
    let kind = causes(&*error)
        .find_map(|cause| cause.downcast_ref())
        .map_or(ProxyErrorKind::Internal, ProxyError::kind);
    let (reason, all) = (kind.as_str(), all.join(": "));
    match kind.status().is_client_error() {
        true => tracing::debug!(reason, "{all}"),
        false => tracing::warn!(reason, "{all}"),
    }
    kind
}

fn answer<Res: From<Bytes>>(kind: ProxyErrorKind, name: &str) -> Response<Res> {
    let (status, reason) = (kind.status(), kind.as_str());
    let body = Bytes::from(format!("{status}: {}\n", ProxyError::from(kind)));
    let mut answer = Response::new(Res::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (field, value) in [
        (PROXY_STATUS, text(format_args!("{name}; error={reason}"))),
        (CACHE_STATUS, text(format_args!("{name}; detail={reason}"))),
    ] {
        if let Some(value) = value {
            headers.insert(field, value);
        }
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}
