//! A service that is not ready at once, and sometimes never, or broken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::Known;
use crate::support::origin::{Origin, OriginError, OriginFuture, Response};

pub struct Busy {
    origin: Origin,
    known: Arc<Known>,
    wait: Option<Pin<Box<Sleep>>>,
    is_ready: bool,
}

impl Busy {
    pub fn new(origin: Origin, known: Arc<Known>) -> Self {
        Self {
            origin,
            known,
            wait: None,
            is_ready: false,
        }
    }

    fn next_wait(&self) -> Duration {
        let Known { plan, luck, .. } = &*self.known;
        if plan.has_silence && self.known.chance(2) {
            return Duration::from_secs(1 << 40);
        }
        match self.known.chance(50) {
            true => Duration::from_millis(luck.below(plan.busy + 1)),
            false => Duration::ZERO,
        }
    }
}

impl Clone for Busy {
    /// A clone of a service that is ready is not ready.
    fn clone(&self) -> Self {
        Self::new(self.origin.clone(), self.known.clone())
    }
}

impl Service<Request<()>> for Busy {
    type Response = Response;
    type Error = OriginError;
    type Future = OriginFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        if self.is_ready {
            return Poll::Ready(Ok(()));
        }
        if self.wait.is_none() {
            if self.known.chance(self.known.plan.failures / 4) {
                self.known.database.fails();
                return Poll::Ready(Err(OriginError("never ready")));
            }
            let wait = self.next_wait();
            if wait.is_zero() {
                self.is_ready = true;
                return Poll::Ready(Ok(()));
            }
            self.wait = Some(Box::pin(sleep(wait)));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
        }
        self.wait = None;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> OriginFuture {
        if !self.is_ready {
            let report = &self.known.report;
            report.broke("", "a call of a service that is not ready");
        }
        self.is_ready = false;
        self.origin.call(request)
    }
}
