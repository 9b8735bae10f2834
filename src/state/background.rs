//! Work that outlives the request it came from: owned, counted, and ended with the cache.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::timeout::with_timeout;

/// All tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Background {
    tasks: TaskTracker,
    is_closing: AtomicBool,
    deadline: CancellationToken,
}

/// The result of [`CacheHandle::shutdown`](crate::CacheHandle::shutdown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// How many tasks were cancelled at the deadline; 0 if all of them ended in time.
    pub cancelled: usize,
}

/// How long tasks have to go away once they are cancelled: one that blocks its thread never does.
pub(crate) const LAST_MOMENT: Duration = Duration::from_secs(1);

impl Background {
    /// Whether the cache is shutting down: nothing optional begins any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Where work may begin; `None` outside of a runtime, and once the cache is shutting down.
    pub(crate) fn open(&self) -> Option<Handle> {
        if self.is_closing() {
            None
        } else {
            self.runtime()
        }
    }

    /// Where work that has begun may go on; `None` outside of a runtime, and behind the deadline.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        if self.deadline.is_cancelled() {
            return None;
        }
        Handle::try_current().ok()
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// A task of its own, until the deadline of the shutdown.
    pub(crate) fn spawn(
        &self,
        runtime: &Handle,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let deadline = self.deadline.clone();
        let bounded = async move {
            deadline.run_until_cancelled_owned(future).await;
        };
        drop(self.tasks.spawn_on(bounded, runtime));
    }

    /// Runs what needs no waiting right here, and the rest, if there is one, in a task of its own.
    pub(crate) fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.run_on(Handle::try_current().ok().as_ref(), future);
    }

    /// The same with the runtime for the rest, whose timers and sockets may be needed at once. Without one there is nobody
    /// to run it: it is given up, and said.
    ///
    /// This is called while values are dropped, in a panic too: one of the future's own ends here.
    pub(crate) fn run_on(
        &self,
        runtime: Option<&Handle>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let _entered = runtime.map(Handle::enter);
        let mut future = Box::pin(future);
        let mut cx = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx))) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => match runtime {
                Some(runtime) => self.spawn(runtime, future),
                None => tracing::error!("no runtime: background work of the cache was given up"),
            },
            Err(_) => tracing::error!("background work of the cache panicked"),
        }
    }

    /// Lets nothing optional begin any more, waits for what there is, and cancels what is left at the deadline.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.is_closing.store(true, Ordering::Release);
        self.tasks.close();
        let finished = with_timeout(deadline, self.tasks.wait()).await.is_some();
        let cancelled = if finished { 0 } else { self.tasks.len() };
        self.deadline.cancel();
        if cancelled > 0 {
            tracing::warn!(cancelled, "background work of the cache was cancelled");
            let gone = with_timeout(LAST_MOMENT, self.tasks.wait()).await;
            if gone.is_none() {
                tracing::error!(left = self.tasks.len(), "background work does not end");
            }
        }
        ShutdownReport { cancelled }
    }
}
