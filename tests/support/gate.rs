//! A service that is not ready while its gate is closed, as one that waits for a permit.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tower::Service;

/// A gate that several services wait at. It is open at first.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    pub fn close(&self) {
        self.0.lock().expect("no panic").is_closed = true;
    }

    pub fn open(&self) {
        let mut state = self.0.lock().expect("no panic");
        state.is_closed = false;
        std::mem::take(&mut state.waiting)
            .into_iter()
            .for_each(Waker::wake);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().expect("no panic");
        if !state.is_closed {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

/// A service behind a gate: calls that have begun are not held.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    pub inner: S,
    pub gate: Gate,
}

impl<S: Service<R>, R> Service<R> for Gated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.gate.poll(cx) {
            Poll::Ready(()) => self.inner.poll_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}
