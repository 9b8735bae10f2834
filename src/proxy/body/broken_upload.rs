//! Content that its client breaks off: the upstream may act on a part of it, and then answers.
//!
//! ```text
//!  broken off --response is in progress--> unfinished until that ends
//!      |      --a place is free----------> unfinished for `timeout`; a response ends the wait
//!      `------no place, or no wait-------> error at once
//! ```
//!
//! Knows nothing of the body itself: see `upload`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::proxy::error::ProxyErrorKind;

use super::response_progress::ResponseProgress;

/// The limits of the wait for a response; see
/// [`broken_upload_timeout`](crate::proxy::ReverseProxy::broken_upload_timeout). Clones share the
/// places.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct BrokenUploads {
    pub(in crate::proxy) timeout: Duration,
    places: Arc<Semaphore>,
}

impl Default for BrokenUploads {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            places: Arc::new(Semaphore::new(128)),
        }
    }
}

impl BrokenUploads {
    /// Sets how many may wait at a time. Those that wait already are not counted.
    pub(in crate::proxy) fn set_max(&mut self, max: usize) {
        self.places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
    }
}

/// A request without a response whose client has broken its content off.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct BrokenUpload {
    /// The error that the client has caused.
    pub(in crate::proxy) kind: ProxyErrorKind,
    /// Whether the upstream had no time to answer: too many others were waiting.
    pub(in crate::proxy) is_unjudged: bool,
}

/// Resolves when unfinished content is to end with an error.
pub(super) type EndOfWait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of one request's content when its client breaks it off. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct UploadFate {
    /// Set once the client has broken its content off.
    broken: Arc<OnceLock<BrokenUpload>>,
    response: ResponseProgress,
    /// `None` if nothing depends on a response: the method is safe.
    limits: Option<BrokenUploads>,
}

impl UploadFate {
    pub(super) fn new(response: ResponseProgress, limits: Option<BrokenUploads>) -> Self {
        Self {
            broken: Arc::default(),
            response,
            limits,
        }
    }

    pub(super) fn response(&self) -> &ResponseProgress {
        &self.response
    }

    /// `None` if the client's content is whole, or on its way.
    pub(super) fn broken(&self) -> Option<BrokenUpload> {
        self.broken.get().copied()
    }

    /// Records that the client has broken its content off. Returns what the content waits for;
    /// `None` if it ends at once.
    pub(super) fn break_off(&self, kind: ProxyErrorKind) -> Option<EndOfWait> {
        let (mut permit, mut is_unjudged) = (None, false);
        let limits = self.limits.as_ref();
        let timeout = limits.map_or(Duration::ZERO, |limits| limits.timeout);
        if let Some(limits) = limits.filter(|_| !timeout.is_zero() && !self.response.has_head()) {
            permit = limits.places.clone().try_acquire_owned().ok();
            is_unjudged = permit.is_none();
        }
        let _ = self.broken.set(BrokenUpload { kind, is_unjudged });
        if permit.is_none() && !self.response.has_head() {
            return None;
        }
        let response = self.response.clone();
        Some(Box::pin(async move {
            if response.wait_for_head(timeout).await {
                drop(permit);
                response.wait_for_end().await;
            }
        }))
    }
}
