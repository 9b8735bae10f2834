//! Content that is collected before its request has a place: what its client has sent so far.

use bytes::{Bytes, BytesMut};
use http_body::Frame;

/// The beginning of a request's content, or all of it.
#[derive(Debug, Default)]
pub(super) struct CollectedContent {
    /// The only piece so far.
    first: Option<Bytes>,
    /// A copy of several pieces: each may be a byte of a large buffer.
    copied: BytesMut,
    trailers: Option<Frame<Bytes>>,
}

impl CollectedContent {
    pub(super) fn push(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) if self.is_empty() => self.first = Some(data),
            Ok(data) => {
                if let Some(first) = self.first.take() {
                    self.copied.extend_from_slice(&first);
                }
                self.copied.extend_from_slice(&data);
            }
            Err(trailers) => self.trailers = Some(trailers),
        }
    }

    /// Takes the next frame.
    pub(super) fn take(&mut self) -> Option<Frame<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Frame::data(first));
        }
        match self.copied.is_empty() {
            true => self.trailers.take(),
            false => Some(Frame::data(std::mem::take(&mut self.copied).freeze())),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.copied.is_empty() && self.trailers.is_none()
    }

    /// The length of the data, in bytes.
    pub(super) fn len(&self) -> u64 {
        let first = self.first.as_ref().map_or(0, Bytes::len);
        (first + self.copied.len()) as u64
    }
}
