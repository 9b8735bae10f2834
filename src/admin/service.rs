//! The way of a request through the service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::access::Denial;
use super::answer::{Answer, content, unavailable};
use super::content::read_json;
use super::options::Admin;
use super::page::page;
use super::route::Route;
use crate::clock::{Clock, SystemClock};
use crate::error::BoxError;

impl<B> Service<Request<B>> for Admin
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let answer = admin.answer(&parts, body).await;
            Ok(match parts.method {
                Method::HEAD => answer.map(|_| Full::default()),
                _ => answer,
            })
        })
    }
}

impl Admin {
    async fn answer<B>(&self, request: &request::Parts, body: B) -> Answer
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let route = match Route::new(&request.method, &request.uri) {
            Ok(route) => route,
            Err(reason) => return reason.into(),
        };
        if let Err(denial) = self.access.check(request, route.need()) {
            self.report(denial, request);
            return denial.into();
        }
        match route {
            Route::Page => page(),
            Route::Health => content(StatusCode::OK, TEXT, "ok\n"),
            Route::Readiness if !self.is_ready() => unavailable("shutting down"),
            Route::Readiness => content(StatusCode::OK, TEXT, "ready\n"),
            Route::Stats => self.stats(),
            Route::Metrics => self.metrics(request),
            Route::Purge => self.purge(request).await,
            Route::Explain => match read_json(request, body, self.max_content).await {
                Ok(question) => self.explain(question).await,
                Err(refusal) => refusal,
            },
            Route::Invalidate => match read_json(request, body, self.max_content).await {
                Ok(invalidation) => self.invalidate(invalidation).await,
                Err(refusal) => refusal,
            },
        }
    }

    fn is_ready(&self) -> bool {
        let is_ready = self.ready_if.as_ref().is_none_or(|is_ready| is_ready());
        is_ready && !self.cache.is_shutting_down()
    }

    /// Logs a refusal, once a second with the number of those left out: strangers can send many.
    fn report(&self, denial: Denial, request: &request::Parts) {
        let Some(suppressed) = self.refusals.admit(SystemClock.now().monotonic()) else {
            return;
        };
        let (method, path) = (&request.method, request.uri.path());
        let path: String = path.chars().take(MAX_LOGGED_PATH).collect();
        tracing::warn!(?denial, %method, path, suppressed, "admin request refused");
    }
}

/// The longest part of a path that is logged, in characters.
const MAX_LOGGED_PATH: usize = 200;

const TEXT: &str = "text/plain; charset=utf-8";
