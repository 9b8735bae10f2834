//! The time that a client of HTTP/1.1 has for the head of its next request.
//!
//! hyper makes a timer for each head. Here it is a number that the connection's own timer looks at,
//! which is set once for many requests: to wait for a head takes nothing then.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The deadline of a connection that waits for no head.
const NONE: u64 = u64::MAX;

/// When the next head of a connection is late. Clones share it. hyper asks it within the
/// connection's task, which must [look](Self::look) at the deadline, and poll hyper's connection
/// after that.
#[derive(Clone, Debug)]
pub struct HeadTimer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// In nanoseconds since the beginning.
    deadline: AtomicU64,
    is_late: AtomicBool,
}

impl HeadTimer {
    /// The timer of a connection that began then.
    pub fn new(began: Instant) -> Self {
        Self(Arc::new(Shared {
            began,
            deadline: AtomicU64::new(NONE),
            is_late: AtomicBool::new(false),
        }))
    }

    /// When to look next; `None` if no head is awaited now.
    pub fn deadline(&self) -> Option<Instant> {
        match self.0.deadline.load(Ordering::Relaxed) {
            NONE => None,
            nanos => Some(self.0.began + Duration::from_nanos(nanos)),
        }
    }

    fn set(&self, deadline: Instant) {
        let since = deadline.saturating_duration_since(self.0.began).as_nanos();
        let since = u64::try_from(since).unwrap_or(NONE);
        self.0.is_late.store(false, Ordering::Relaxed);
        self.0.deadline.store(since, Ordering::Relaxed);
    }

    /// Lets the wait for a head end, if its time has come. That is told once: hyper may keep a wait
    /// that it does not ask any more, after an error.
    pub fn look(&self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.0.deadline.store(NONE, Ordering::Relaxed);
            self.0.is_late.store(true, Ordering::Relaxed);
        }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.set(deadline);
        Box::pin(HeadWait(self.0.clone()))
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.set(deadline);
    }
}

/// The wait for one head, which hyper drops when the head has come.
struct HeadWait(Arc<Shared>);

impl Future for HeadWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.is_late.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Sleep for HeadWait {}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.deadline.store(NONE, Ordering::Relaxed);
        self.0.is_late.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_its_deadline_is_looked_at_and_not_before() {
        let (began, mut cx) = (
            Instant::now(),
            Context::from_waker(std::task::Waker::noop()),
        );
        let at = |seconds| began + Duration::from_secs(seconds);
        let timer = HeadTimer::new(began);
        assert_eq!(timer.deadline(), None);
        timer.look(at(1_000_000));
        for deadline in [10, 20, 15] {
            let mut wait = timer.sleep_until(at(deadline));
            assert_eq!(timer.deadline(), Some(at(deadline)));
            timer.look(at(deadline - 1));
            assert!(wait.as_mut().poll(&mut cx).is_pending(), "{deadline}");
            timer.look(at(deadline));
            assert_eq!(timer.deadline(), None, "there is nothing more to look at");
            timer.look(at(deadline + 1));
            assert!(wait.as_mut().poll(&mut cx).is_ready(), "{deadline}");
            drop(wait);
            assert_eq!(timer.deadline(), None);
        }
        let mut wait = timer.sleep_until(at(10));
        timer.look(at(10));
        timer.reset(&mut wait, at(30));
        assert_eq!(timer.deadline(), Some(at(30)));
        timer.look(at(29));
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    }
}
