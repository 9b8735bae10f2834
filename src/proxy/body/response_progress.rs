//! The progress of the upstream's response to a request with content.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Awaited,
    /// The head has arrived; the body is being read.
    InProgress,
    /// The response has been read or dropped.
    Ended,
}

/// The progress of one response, for the content of its request. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ResponseProgress(Arc<Stages>);

#[derive(Debug)]
struct Stages {
    stage: watch::Sender<Stage>,
    /// Whether the upstream was sent all of the request's content.
    is_content_sent: watch::Sender<bool>,
}

impl ResponseProgress {
    /// A response whose head has not arrived.
    pub(super) fn awaited() -> Self {
        Self(Arc::new(Stages {
            stage: watch::Sender::new(Stage::Awaited),
            is_content_sent: watch::Sender::new(false),
        }))
    }

    /// Records that the request's content is whole.
    pub(super) fn content_sent(&self) {
        self.0.is_content_sent.send_replace(true);
    }

    /// Waits until the request's content is whole.
    pub(super) async fn wait_for_content(&self) {
        let mut is_sent = self.0.is_content_sent.subscribe();
        // The sender lives as long as `self`.
        let _ = is_sent.wait_for(|is_sent| *is_sent).await;
    }

    /// Records that the head has arrived.
    pub(super) fn start(&self) -> ResponseInProgress {
        self.0.stage.send_replace(Stage::InProgress);
        ResponseInProgress(self.clone())
    }

    /// Whether the head has arrived.
    pub(super) fn has_head(&self) -> bool {
        *self.0.stage.borrow() != Stage::Awaited
    }

    /// Waits for the head, for `limit` at most. Returns whether it has arrived.
    pub(super) async fn wait_for_head(&self, limit: Duration) -> bool {
        timeout(limit, self.wait_for(|stage| stage != Stage::Awaited))
            .await
            .is_ok()
    }

    /// Waits until the response has been read or dropped.
    pub(super) async fn wait_for_end(&self) {
        self.wait_for(|stage| stage == Stage::Ended).await;
    }

    async fn wait_for(&self, is_reached: impl Fn(Stage) -> bool) {
        let mut stage = self.0.stage.subscribe();
        // The sender lives as long as `self`.
        let _ = stage.wait_for(|stage| is_reached(*stage)).await;
    }
}

/// Records that the response has ended when it is dropped with it.
///
/// Content that the upstream does not get stays unfinished until then: an error would make hyper
/// close the connection and cut the response off.
#[derive(Debug)]
pub(in crate::proxy) struct ResponseInProgress(ResponseProgress);

impl ResponseInProgress {
    /// Whether the upstream was sent all of the request's content.
    pub(super) fn is_content_sent(&self) -> bool {
        *self.0.0.is_content_sent.borrow()
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        self.0.0.stage.send_replace(Stage::Ended);
    }
}
