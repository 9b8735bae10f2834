//! A timer for pauses within a body.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The error of a body whose sender paused for longer than the idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum StalledBody {
    /// The client paused within the request's content.
    Client,
    /// The upstream paused within the response's content.
    Upstream,
    /// The reader of the response paused.
    Reader,
}

impl fmt::Display for StalledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the client stopped sending its content",
            Self::Upstream => "the upstream stopped sending its content",
            Self::Reader => "the response's reader stopped reading",
        })
    }
}

impl std::error::Error for StalledBody {}

/// Measures how long a body that is being read has produced nothing.
///
/// The timer runs only between a poll that found nothing and the next frame. A body that is not
/// polled cannot be late.
#[derive(Debug)]
pub(in crate::proxy::body) struct IdleTimer {
    timeout: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(in crate::proxy::body) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            running: None,
        }
    }

    /// Starts the timer unless it runs already; ready when the timeout has passed.
    pub(in crate::proxy::body) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let timer = self.running.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(cx)
    }

    /// Stops the timer: a frame has arrived.
    pub(in crate::proxy::body) fn stop(&mut self) {
        self.running = None;
    }
}
