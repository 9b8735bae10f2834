//! A service that is not ready at once, as one behind a concurrency limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use tokio::time::{Sleep, sleep};
use tower::Service;

use crate::luck::Luck;
use crate::support::origin::{Origin, OriginError, OriginFuture, Response};

/// An origin each of whose calls has to wait for readiness, some for a while.
pub struct Busy {
    origin: Origin,
    luck: Arc<Luck>,
    /// The longest wait, in milliseconds.
    longest: u64,
    wait: Option<Pin<Box<Sleep>>>,
    is_ready: bool,
}

impl Busy {
    pub fn new(origin: Origin, longest: u64, luck: Arc<Luck>) -> Self {
        Self {
            origin,
            luck,
            longest,
            wait: None,
            is_ready: longest == 0,
        }
    }
}

impl Clone for Busy {
    /// A clone of a service that is ready is not ready.
    fn clone(&self) -> Self {
        Self::new(self.origin.clone(), self.longest, self.luck.clone())
    }
}

impl Service<Request<()>> for Busy {
    type Response = Response;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        if !self.is_ready {
            let (luck, longest) = (&self.luck, self.longest);
            let wait = self.wait.get_or_insert_with(|| {
                let wait = luck.below(2) * luck.below(longest);
                Box::pin(sleep(Duration::from_millis(wait)))
            });
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
            self.is_ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        assert!(self.is_ready, "a call of a service that is not ready");
        self.is_ready = self.longest == 0;
        self.origin.call(request)
    }
}
