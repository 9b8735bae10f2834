//! The future of every response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use tracing::Span;

use crate::body::response::ResponseBody;

type Answer<B, E> = Result<Response<ResponseBody<B>>, E>;

/// The future of a [`Cache`](super::Cache)'s response.
///
/// Dropping it before it is ready drops the call to the inner service with it, except for a write
/// that the inner service has been given: that one runs on in the background, see
/// [`CacheLayer::detached_write_timeout`](crate::CacheLayer::detached_write_timeout).
pub struct ResponseFuture<B, E> {
    kind: Kind<B, E>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large variant would cost every hit an allocation"
)]
/// The state of the response: here already, or on its way.
enum Kind<B, E> {
    /// A hit: it waits for nothing, and allocates nothing.
    Ready(Option<Response<ResponseBody<B>>>),
    Pending(Pin<Box<dyn Future<Output = Answer<B, E>> + Send>>, Span),
}

impl<B, E> ResponseFuture<B, E> {
    /// A future that is ready at once.
    pub(crate) fn ready(response: Response<ResponseBody<B>>) -> Self {
        Self {
            kind: Kind::Ready(Some(response)),
        }
    }

    /// A future that has to wait.
    pub(crate) fn pending(future: impl Future<Output = Answer<B, E>> + Send + 'static) -> Self {
        Self {
            kind: Kind::Pending(Box::pin(future), Span::none()),
        }
    }

    /// Lets the future run in a span, if it has to wait.
    pub(crate) fn in_span(mut self, span: Span) -> Self {
        if let Kind::Pending(_, current) = &mut self.kind {
            *current = span;
        }
        self
    }
}

// The response is never pinned, only moved out.
impl<B, E> Unpin for ResponseFuture<B, E> {}

impl<B, E> Future for ResponseFuture<B, E> {
    type Output = Answer<B, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.kind {
            Kind::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
            Kind::Pending(future, span) => {
                let _entered = span.enter();
                future.as_mut().poll(cx)
            }
        }
    }
}

impl<B, E> fmt::Debug for ResponseFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Ready(_) => "ready",
            Kind::Pending(..) => "pending",
        };
        f.debug_tuple("ResponseFuture").field(&kind).finish()
    }
}
