//! Content that its client breaks off: the upstream may act on a part of it, and then answers.
//!
//! ```text
//!  broken off --response is in progress--> unfinished until that ends
//!      |      --wait---------------------> unfinished for `timeout`, or until too many others wait;
//!      |                                   a response ends the wait
//!      `------no wait--------------------> error at once
//! ```
//!
//! Knows nothing of the body itself: see `upload`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::proxy::error::ProxyErrorKind;

use super::bounded_waits::{BoundedWait, BoundedWaits, ClientNetwork};
use super::response_progress::ResponseProgress;

/// The limits of the wait for a response; see
/// [`broken_upload_timeout`](crate::proxy::ReverseProxy::broken_upload_timeout). Clones share what
/// waits.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct BrokenUploads {
    pub(in crate::proxy) timeout: Duration,
    pub(in crate::proxy) max: usize,
    waiting: BoundedWaits,
}

impl Default for BrokenUploads {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            max: 128,
            waiting: BoundedWaits::default(),
        }
    }
}

impl BrokenUploads {
    /// Begins a wait, which ends others beyond the limit. `None` if there is none.
    fn begin(&self, client: ClientNetwork) -> Option<Wait> {
        if self.timeout.is_zero() || self.max == 0 {
            return None;
        }
        Some(Wait {
            timeout: self.timeout,
            ended: self.waiting.begin(self.max, client),
        })
    }
}

/// One of the writes that wait.
struct Wait {
    timeout: Duration,
    ended: BoundedWait,
}

impl Wait {
    /// Waits for the head of a response. Returns whether it has come.
    async fn for_head(self, response: &ResponseProgress) -> bool {
        tokio::select! {
            has_head = response.wait_for_head(self.timeout) => has_head,
            () = self.ended.ended().cancelled() => response.has_head(),
        }
    }
}

/// Resolves when unfinished content is to end with an error.
pub(super) type EndOfWait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of one request's content when its client breaks it off. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct UploadFate {
    /// Set once the client has broken its content off.
    broken: Arc<OnceLock<ProxyErrorKind>>,
    response: ResponseProgress,
    /// `None` if nothing depends on a response: the method is safe.
    limits: Option<BrokenUploads>,
    client: ClientNetwork,
}

impl UploadFate {
    pub(super) fn new(
        response: ResponseProgress,
        limits: Option<BrokenUploads>,
        client: ClientNetwork,
    ) -> Self {
        Self {
            broken: Arc::default(),
            response,
            limits,
            client,
        }
    }

    pub(super) fn response(&self) -> &ResponseProgress {
        &self.response
    }

    /// The error that the client has caused by breaking its content off; `None` if that is whole,
    /// or on its way.
    pub(super) fn broken(&self) -> Option<ProxyErrorKind> {
        self.broken.get().copied()
    }

    /// Records that the client has broken its content off. Returns what the content waits for;
    /// `None` if it ends at once.
    pub(super) fn break_off(&self, kind: ProxyErrorKind) -> Option<EndOfWait> {
        let _ = self.broken.set(kind);
        let has_head = self.response.has_head();
        let limits = self.limits.as_ref().filter(|_| !has_head);
        let wait = limits.and_then(|limits| limits.begin(self.client));
        if wait.is_none() && !has_head {
            return None;
        }
        let response = self.response.clone();
        Some(Box::pin(async move {
            let has_head = match wait {
                Some(wait) => wait.for_head(&response).await,
                None => true,
            };
            if has_head {
                response.wait_for_end().await;
            }
        }))
    }
}
