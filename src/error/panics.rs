//! Panics of foreign code, hooks and backends, that end where it was called.
//!
//! With `panic = "abort"` nothing can be caught: the process ends. This module knows nothing of
//! caching; start reading at [`catch`].

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Foreign code panicked. Its message went to the panic hook of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it panicked")
    }
}

impl std::error::Error for Panicked {}

/// Calls foreign code; an error means that it panicked.
///
/// What the caller holds must be valid after each step of the code.
pub(crate) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        // The value that the code panicked with is foreign, too. One that panics when it is
        // dropped leaves another such value, which is leaked.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        Panicked
    })
}

pin_project! {
    /// A future of foreign code, which resolves to an error where that code panics.
    pub(crate) struct CatchPanics<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> CatchPanics<F> {
    /// Wraps a future.
    pub(crate) fn new(future: F) -> Self {
        let future = Some(future);
        Self { future }
    }
}

impl<F: Future> Future for CatchPanics<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.project().future;
        let Some(future) = slot.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Panicked));
        };
        match catch(|| future.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(Panicked) => {
                // The drop of the rest may panic as well.
                let _ = catch(|| slot.set(None));
                Poll::Ready(Err(Panicked))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value whose drop panics with another such value, this often.
    struct Bomb(u8);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if let Some(left) = self.0.checked_sub(1) {
                std::panic::panic_any(Self(left));
            }
        }
    }

    #[test]
    fn the_value_of_a_panic_may_panic_itself() {
        assert_eq!(catch(|| 1), Ok(1));
        for bombs in 0..3 {
            let caught = catch(|| std::panic::panic_any(Bomb(bombs)));
            assert_eq!(caught, Err(Panicked), "{bombs}");
        }
    }

    /// A future that panics when it is polled, and when it is dropped.
    struct Panicking;

    impl Future for Panicking {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("on purpose, when polled")
        }
    }

    impl Drop for Panicking {
        fn drop(&mut self) {
            panic!("on purpose, when dropped")
        }
    }

    #[tokio::test]
    async fn a_future_may_panic_when_it_is_polled_and_dropped() {
        assert_eq!(CatchPanics::new(async { 1 }).await, Ok(1));
        assert_eq!(CatchPanics::new(Panicking).await, Err(Panicked));
    }
}
