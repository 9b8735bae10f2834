//! Collects a body for the store while it streams to its client.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::flight::BudgetShare;
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredContent;

use super::kept_chunks::join;

/// A body that arrived whole, or why it is not stored.
pub(crate) type Captured = Result<Whole, Refusal>;

/// A whole body, with its share of the bytes that may be buffered until it is stored.
pub(crate) struct Whole {
    pub(crate) content: StoredContent,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) share: Arc<BudgetShare>,
}

/// The conditions under which a body is kept.
pub(crate) struct CaptureLimits {
    /// The largest body, in bytes.
    pub(crate) max_bytes: u64,
    /// The announced length, in bytes.
    pub(crate) announced: Option<u64>,
    /// Whether trailers were announced: the body has not ended before they are here.
    pub(crate) has_trailers: bool,
    /// Whether the stream of a flight buffers the same bytes, and takes them from the share.
    pub(crate) is_counted: bool,
}

/// Keeps a body that streams by, up to a limit, and hands it over exactly once: when the body has
/// ended cleanly with its announced length, or as soon as that has become impossible.
///
/// Dropped before the end it hands over, too: as whole if all announced bytes have passed (a
/// server may stop polling then), as abandoned otherwise.
pub(crate) struct Capture {
    limits: CaptureLimits,
    length: u64,
    collecting: Option<Collecting>,
}

/// The body so far, and the function it is handed over to.
struct Collecting {
    chunks: Vec<Bytes>,
    share: Arc<BudgetShare>,
    done: Box<dyn FnOnce(Captured) + Send>,
}

impl Capture {
    /// A capture that calls `done` exactly once, with the body or a refusal.
    pub(crate) fn new(
        limits: CaptureLimits,
        share: Arc<BudgetShare>,
        done: impl FnOnce(Captured) + Send + 'static,
    ) -> Self {
        Self {
            limits,
            length: 0,
            collecting: Some(Collecting {
                chunks: Vec::new(),
                share,
                done: Box::new(done),
            }),
        }
    }

    /// Whether the body was handed over, or given up.
    pub(crate) fn is_over(&self) -> bool {
        self.collecting.is_none()
    }

    /// The length of what was collected, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes of the body.
    pub(crate) fn data(&mut self, data: &Bytes) {
        let Some(collecting) = &mut self.collecting else {
            return;
        };
        self.length = self.length.saturating_add(data.len() as u64);
        if self.length > self.limits.max_bytes {
            self.give_up(Refusal::TooLarge);
        } else if self
            .limits
            .announced
            .is_some_and(|length| self.length > length)
        {
            self.give_up(Refusal::Truncated);
        } else if !collecting.share.may_store(self.length)
            || (!self.limits.is_counted && !collecting.share.try_take(data.len() as u64))
        {
            self.give_up(Refusal::Budget);
        } else if !data.is_empty() {
            collecting.chunks.push(data.clone());
        }
    }

    /// Takes the clean end of the body, with its trailers.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        self.end_with(trailers, |_| ());
    }

    /// Like [`end`](Self::end), and shows the kept body to `inspect` before it is handed over.
    pub(crate) fn end_with(&mut self, trailers: Option<HeaderMap>, inspect: impl FnOnce(&Bytes)) {
        if self
            .limits
            .announced
            .is_some_and(|length| self.length != length)
        {
            return self.give_up(Refusal::Truncated);
        }
        let Some(collecting) = self.collecting.take() else {
            return;
        };
        let data = join(&collecting.chunks, self.length as usize);
        let content = collecting.share.count_stored(data);
        inspect(content.bytes());
        (collecting.done)(Ok(Whole {
            content,
            trailers,
            share: collecting.share,
        }));
    }

    /// Hands over a refusal, and frees the collected bytes at once.
    pub(crate) fn give_up(&mut self, refusal: Refusal) {
        if let Some(Collecting {
            chunks,
            share,
            done,
        }) = self.collecting.take()
        {
            drop((chunks, share));
            done(Err(refusal));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.limits.announced == Some(self.length) && !self.limits.has_trailers {
            self.end(None);
        } else {
            self.give_up(Refusal::Abandoned);
        }
    }
}
