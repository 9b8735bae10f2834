//! Tasks that outlive the request they came from: owned, counted, and ended with the cache.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::clock::throttle::Throttle;
use crate::clock::{Clock, SystemClock};
use crate::timeout::with_timeout;

/// The background tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Background {
    tasks: TaskTracker,
    is_closing: AtomicBool,
    deadline: CancellationToken,
    log: Throttle,
}

/// The result of [`CacheHandle::shutdown`](crate::CacheHandle::shutdown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of tasks that were cancelled at the deadline; 0 if all of them ended in time.
    pub cancelled: usize,
}

/// How long cancelled tasks have to end. A task that blocks its thread never does.
pub(crate) const CANCELLED_TASKS_TIMEOUT: Duration = Duration::from_secs(1);

impl Background {
    /// Whether the cache is shutting down. Optional work begins no more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// The runtime for new optional work; `None` outside of a runtime, and once the cache is
    /// shutting down.
    pub(crate) fn runtime_for_new_work(&self) -> Option<Handle> {
        if self.is_closing() {
            None
        } else {
            self.runtime()
        }
    }

    /// The runtime for work that has begun already; `None` outside of a runtime, and after the
    /// deadline of the shutdown.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        if self.deadline.is_cancelled() {
            return None;
        }
        Handle::try_current().ok()
    }

    /// The number of tasks that run.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Runs a future in a task of its own, until the deadline of the shutdown. The current span is
    /// that of the task.
    pub(crate) fn spawn(
        &self,
        runtime: &Handle,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let deadline = self.deadline.clone();
        let bounded = async move {
            deadline.run_until_cancelled_owned(future).await;
        };
        drop(
            self.tasks
                .spawn_on(bounded.instrument(Span::current()), runtime),
        );
    }

    /// Polls a future once on the spot, and moves it into a task if it has to wait.
    pub(crate) fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.run_on(Handle::try_current().ok().as_ref(), future);
    }

    /// Like [`run`](Self::run), with the runtime whose timers and sockets the future may need.
    /// Without a runtime a future that has to wait is dropped, and an error is logged.
    ///
    /// Called while values are dropped, possibly in a panic: a panic of the future ends here.
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
                None => self.report("background work of the cache was dropped: no runtime"),
            },
            Err(_) => self.report_panic(),
        }
    }

    /// Logs that work for all readers of a body, or for the store, has panicked.
    pub(crate) fn report_panic(&self) {
        self.report("background work of the cache panicked");
    }

    /// Logs an error, at most once a second.
    #[cold]
    fn report(&self, error: &str) {
        if let Some(suppressed) = self.log.admit(SystemClock.now().monotonic()) {
            tracing::error!(suppressed, "{error}");
        }
    }

    /// Lets no optional work begin any more, waits for the tasks that run, and cancels those that
    /// are left at the deadline.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.is_closing.store(true, Ordering::Release);
        self.tasks.close();
        let finished = with_timeout(deadline, self.tasks.wait()).await.is_some();
        let cancelled = if finished { 0 } else { self.tasks.len() };
        self.deadline.cancel();
        if cancelled > 0 {
            tracing::warn!(cancelled, "background work of the cache was cancelled");
            let gone = with_timeout(CANCELLED_TASKS_TIMEOUT, self.tasks.wait()).await;
            if gone.is_none() {
                tracing::error!(left = self.tasks.len(), "background work does not end");
            }
        }
        ShutdownReport { cancelled }
    }
}
