//! A future that is polled only once it was woken itself.
//!
//! The task of a connection is woken for each request, and waits for more besides: for its timeouts,
//! and for the end of the server. To look at these each time takes longer than to serve a hit.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future at first, and then only when it was woken, however often the task is.
pub fn when_woken<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
    let own = Arc::new(OwnWaker {
        is_woken: AtomicBool::new(true),
        task: Mutex::new(Waker::noop().clone()),
    });
    let waker = Waker::from(own.clone());
    let mut task = Waker::noop().clone();
    poll_fn(move |cx| {
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
            let replaced = std::mem::replace(&mut *own.task(), task.clone());
            drop(replaced);
        }
        match own.take_woken() {
            true => future.as_mut().poll(&mut Context::from_waker(&waker)),
            false => Poll::Pending,
        }
    })
}

/// Wakes a task, and notes what for.
struct OwnWaker {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl OwnWaker {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_woken(&self) -> bool {
        // Nearly always it is not: to read that takes less time than to swap it.
        self.is_woken.load(Ordering::Relaxed) && self.is_woken.swap(false, Ordering::Acquire)
    }
}

impl Wake for OwnWaker {
    fn wake(self: Arc<Self>) {
        // First: the task may be polled at once.
        self.is_woken.store(true, Ordering::Release);
        // Not under the lock: a waker is foreign code.
        let task = self.task().clone();
        task.wake();
    }
}
