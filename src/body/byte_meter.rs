//! Counts the bytes of a body that is still to come as they are read.
//!
//! Knows whom to tell the number, and nothing of the request. Start at [`ByteMeter`].

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;

use crate::semantics::reason::BodySource;
use crate::stats::CountBodies;

/// Counts the bytes of frames.
pub(crate) struct ByteMeter {
    counted_by: Arc<dyn CountBodies>,
    source: BodySource,
}

impl ByteMeter {
    /// A meter of bytes from this source.
    pub(crate) fn new(counted_by: Arc<dyn CountBodies>, source: BodySource) -> Self {
        Self { counted_by, source }
    }

    /// Counts the bytes of what a body has yielded.
    pub(super) fn count<E>(&self, yielded: &Option<Result<Frame<Bytes>, E>>) {
        if let Some(Ok(frame)) = yielded
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.len() as u64;
            self.counted_by.count_body_bytes(self.source, bytes);
        }
    }
}
