//! A body of unknown length, whose bytes are counted as they are read.
//!
//! Knows whom to tell the number, and nothing of the request. Start at [`Metered`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::semantics::reason::BodySource;
use crate::stats::CountBodyBytes;

pin_project! {
    /// A body whose bytes are counted when it ends or is dropped.
    pub(super) struct Metered<B> {
        #[pin]
        pub(super) body: B,
        meter: Meter,
    }
}

struct Meter {
    counted_by: Arc<dyn CountBodyBytes>,
    source: BodySource,
    bytes: u64,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, counted_by: Arc<dyn CountBodyBytes>, source: BodySource) -> Self {
        let meter = Meter {
            counted_by,
            source,
            bytes: 0,
        };
        Self { body, meter }
    }
}

impl<B: Body<Data = Bytes>> Metered<B> {
    pub(super) fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.meter.bytes += length as u64;
        }
        polled
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.counted_by.count_body_bytes(self.source, self.bytes);
    }
}

impl<B: fmt::Debug> fmt::Debug for Metered<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}
