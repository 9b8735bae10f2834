//! Reports the operations of a backend: which they were, how they ended, and how long they took.
//!
//! Knows the observer, and not what it does with the reports. Start at [`ObserveOperations`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::BackendError;
use crate::semantics::reason::{BackendOperation, OperationResult};

/// Observes operations that have ended. One that is dropped before its end is not reported.
pub(crate) trait ObserveOperations: fmt::Debug + Send + Sync + 'static {
    fn observe(&self, operation: BackendOperation, result: OperationResult, time: Duration);
}

/// An observer, if there is one.
pub(super) type Observer = Option<Arc<dyn ObserveOperations>>;

pin_project! {
    /// An operation whose end is reported to an observer.
    pub(super) struct Observed<'o, F> {
        #[pin]
        future: F,
        operation: BackendOperation,
        observer: Option<(&'o dyn ObserveOperations, Instant)>,
    }
}

/// Makes an operation, which begins now, report its end to an observer.
pub(super) fn observed<F>(
    observer: &Observer,
    operation: BackendOperation,
    future: F,
) -> Observed<'_, F> {
    let observer = observer.as_deref();
    Observed {
        future,
        operation,
        observer: observer.map(|observer| (observer, Instant::now())),
    }
}

impl<F, R> Future for Observed<'_, F>
where
    F: Future<Output = Result<R, BackendError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let ended = ready!(this.future.poll(cx));
        if let Some((observer, began)) = this.observer.take() {
            observer.observe(*this.operation, result_of(&ended), began.elapsed());
        }
        Poll::Ready(ended)
    }
}

fn result_of<R>(ended: &Result<R, BackendError>) -> OperationResult {
    match ended {
        Ok(_) => OperationResult::Ok,
        Err(error) if error.is_timeout() => OperationResult::Timeout,
        Err(error) if error.is_refused() => OperationResult::Refused,
        Err(error) if error.is_unavailable() || error.is_inconclusive() => {
            OperationResult::Rejected
        }
        Err(_) => OperationResult::Error,
    }
}
