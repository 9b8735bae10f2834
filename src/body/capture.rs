//! Collects a body while it streams to its client.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::flight::BudgetShare;
use crate::semantics::reason::Refusal;

/// A body that arrived whole, or why there is none.
pub(crate) type Captured = Result<Whole, Refusal>;

/// A whole body, with its share of the bytes that may be held until it is stored.
pub(crate) struct Whole {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) share: Arc<BudgetShare>,
}

/// What a body must be like to be kept.
pub(crate) struct Terms {
    /// The most bytes.
    pub(crate) limit: u64,
    /// The length that was announced.
    pub(crate) announced: Option<u64>,
    /// Whether trailers were announced: then it has not ended before they are here.
    pub(crate) has_trailers: bool,
    /// Whether somebody else holds the same bytes, and takes them from the share.
    pub(crate) is_counted: bool,
}

/// Keeps what streams by, up to a limit, and hands it over exactly once: when the body has ended cleanly and its length
/// is what was announced, or as soon as that can no longer be.
///
/// Dropped before the end it hands over too: whole if all announced bytes have passed (a server may stop polling then),
/// as abandoned otherwise.
pub(crate) struct Capture {
    terms: Terms,
    length: u64,
    collecting: Option<Collecting>,
}

struct Collecting {
    chunks: Vec<Bytes>,
    share: Arc<BudgetShare>,
    done: Box<dyn FnOnce(Captured) + Send>,
}

impl Capture {
    pub(crate) fn new(
        terms: Terms,
        share: Arc<BudgetShare>,
        done: impl FnOnce(Captured) + Send + 'static,
    ) -> Self {
        Self {
            terms,
            length: 0,
            collecting: Some(Collecting {
                chunks: Vec::new(),
                share,
                done: Box::new(done),
            }),
        }
    }

    /// Whether there is nothing left to collect: it was handed over, or given up.
    pub(crate) fn is_over(&self) -> bool {
        self.collecting.is_none()
    }

    /// Bytes that pass.
    pub(crate) fn data(&mut self, data: &Bytes) {
        let Some(collecting) = &mut self.collecting else {
            return;
        };
        self.length = self.length.saturating_add(data.len() as u64);
        if self.length > self.terms.limit {
            self.give_up(Refusal::TooLarge);
        } else if self
            .terms
            .announced
            .is_some_and(|length| self.length > length)
        {
            self.give_up(Refusal::Truncated);
        } else if !self.terms.is_counted && !collecting.share.try_take(data.len() as u64) {
            self.give_up(Refusal::Budget);
        } else if !data.is_empty() {
            collecting.chunks.push(data.clone());
        }
    }

    /// The clean end, with the trailers if there were any.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        self.end_as(trailers, |_| ());
    }

    /// The same; `is_whole` is shown the body that is kept, before it is handed over.
    pub(crate) fn end_as(&mut self, trailers: Option<HeaderMap>, is_whole: impl FnOnce(&Bytes)) {
        if self
            .terms
            .announced
            .is_some_and(|length| self.length != length)
        {
            return self.give_up(Refusal::Truncated);
        }
        let Some(collecting) = self.collecting.take() else {
            return;
        };
        let data = join(&collecting.chunks, self.length as usize);
        is_whole(&data);
        (collecting.done)(Ok(Whole {
            data,
            trailers,
            share: collecting.share,
        }));
    }

    /// Nothing will come of it: what was collected is freed at once.
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
        if self.terms.announced == Some(self.length) && !self.terms.has_trailers {
            self.end(None);
        } else {
            self.give_up(Refusal::Abandoned);
        }
    }
}

/// Bytes below which a chunk is copied when it is kept.
const SMALL: usize = 2048;

/// A chunk that may be kept: a small one may be a slice of a much larger read buffer, which it would keep alive.
pub(crate) fn keepable(chunk: &Bytes) -> Bytes {
    if chunk.len() < SMALL {
        Bytes::copy_from_slice(chunk)
    } else {
        chunk.clone()
    }
}

/// One buffer of its own, for the same reason.
fn join(chunks: &[Bytes], length: usize) -> Bytes {
    if let [chunk] = chunks
        && chunk.len() < SMALL
    {
        // See `keepable`: it has one already.
        return chunk.clone();
    }
    let mut body = BytesMut::with_capacity(length);
    for chunk in chunks {
        body.extend_from_slice(chunk);
    }
    body.freeze()
}
