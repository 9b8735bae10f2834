//! Collects a body while it streams to its client.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::semantics::reason::Refusal;

use super::budget::Share;

/// A body that arrived whole, or why there is none.
pub(crate) type Captured = Result<(Bytes, Option<HeaderMap>), Refusal>;

/// Keeps what streams by, up to a limit, and hands it over exactly once: when the body has ended cleanly and its length
/// is what was announced, or as soon as that can no longer be.
///
/// Dropped before the end it hands over too: whole if all announced bytes have passed (a server may stop polling then),
/// as abandoned otherwise.
pub(crate) struct Capture {
    chunks: Vec<Bytes>,
    length: u64,
    limit: u64,
    announced: Option<u64>,
    share: Share,
    done: Option<Box<dyn FnOnce(Captured) + Send>>,
}

impl Capture {
    pub(crate) fn new(
        limit: u64,
        announced: Option<u64>,
        share: Share,
        done: impl FnOnce(Captured) + Send + 'static,
    ) -> Self {
        Self {
            chunks: Vec::new(),
            length: 0,
            limit,
            announced,
            share,
            done: Some(Box::new(done)),
        }
    }

    /// Whether there is nothing left to collect: it was handed over, or given up.
    pub(crate) fn is_over(&self) -> bool {
        self.done.is_none()
    }

    /// Bytes that pass.
    pub(crate) fn data(&mut self, data: &Bytes) {
        if self.done.is_none() || data.is_empty() {
            return;
        }
        self.length = self.length.saturating_add(data.len() as u64);
        if self.length > self.limit {
            self.give_up(Refusal::TooLarge);
        } else if self
            .announced
            .is_some_and(|announced| self.length > announced)
        {
            self.give_up(Refusal::Truncated);
        } else if self.share.take(data.len() as u64) {
            self.chunks.push(data.clone());
        } else {
            self.give_up(Refusal::Budget);
        }
    }

    /// The clean end, with the trailers if there were any.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        if self
            .announced
            .is_some_and(|announced| self.length != announced)
        {
            return self.give_up(Refusal::Truncated);
        }
        if let Some(done) = self.done.take() {
            let body = join(std::mem::take(&mut self.chunks), self.length as usize);
            done(Ok((body, trailers)));
        }
    }

    /// Nothing will come of it: what was collected is freed at once.
    pub(crate) fn give_up(&mut self, refusal: Refusal) {
        self.chunks = Vec::new();
        if let Some(done) = self.done.take() {
            done(Err(refusal));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.announced == Some(self.length) {
            self.end(None);
        } else {
            self.give_up(Refusal::Abandoned);
        }
    }
}

/// One buffer of its own: a chunk may be a slice that keeps a much larger read buffer alive.
fn join(chunks: Vec<Bytes>, length: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(length);
    for chunk in chunks {
        body.extend_from_slice(&chunk);
    }
    body.freeze()
}
