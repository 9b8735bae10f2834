//! Collects the body of a response to a write, for the store.
//!
//! Knows the write, because its client may leave meanwhile: the rest of the body is read without it
//! then. Start at [`CollectingBody::collect`].

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::backend::Backend;
use crate::body::origin::OriginBody;
use crate::body::resumed::Resumed;
use crate::body::watched::WatchedBody;
use crate::error::{BodyError, SharedError};
use crate::flight::BudgetShare;
use crate::service::bounds::InnerBody;

use super::late_work::read_without_client;
use super::write_guard::CommittedWrite;

/// A body that is being collected. Dropped before it has ended, its rest is read in the background.
pub(super) struct CollectingBody<'w, B: Backend, Res: InnerBody> {
    write: CommittedWrite<'w, B>,
    /// `None` once it has ended, and while it is polled: one that panics is not polled again.
    body: Option<Pin<Box<WatchedBody<Res>>>>,
    /// The announced bytes that are still to come.
    left: u64,
    collected: CollectedBody,
}

/// The frames of a body.
#[derive(Default)]
pub(super) struct CollectedBody {
    chunks: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
}

impl CollectedBody {
    pub(super) fn to_bytes(&self) -> Bytes {
        match &*self.chunks {
            [chunk] => chunk.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

impl<'w, B: Backend, Res: InnerBody> CollectingBody<'w, B, Res> {
    /// Begins with a body of `length` announced bytes.
    pub(super) fn new(write: CommittedWrite<'w, B>, body: WatchedBody<Res>, length: u64) -> Self {
        Self {
            write,
            body: Some(Box::pin(body)),
            left: length,
            collected: CollectedBody::default(),
        }
    }

    /// Collects the body to its end. Dropping the future keeps the chunks that have arrived.
    ///
    /// # Errors
    /// The body has failed, or is longer than announced.
    pub(super) async fn collect(&mut self) -> Result<CollectedBody, SharedError> {
        let collected = self.collect_frames().await;
        self.body = None;
        collected.map(|()| std::mem::take(&mut self.collected))
    }

    async fn collect_frames(&mut self) -> Result<(), SharedError> {
        while let Some(frame) = poll_fn(|cx| self.poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(data) => {
                    let left = self.left.checked_sub(data.len() as u64);
                    self.left = left.ok_or_else(|| SharedError::cache(TooLong))?;
                    self.collected.chunks.push(data);
                }
                // Nothing follows the trailers.
                Err(frame) => {
                    self.collected.trailers = frame.into_trailers().ok();
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SharedError>>> {
        let Some(mut body) = self.body.take() else {
            return Poll::Ready(None);
        };
        let frame = body.as_mut().poll_frame(cx);
        self.body = Some(body);
        frame.map_err(|error| BodyError::inner(error).into_shared())
    }

    /// The body as it is: the chunks that have arrived, which the share counts, and then the rest.
    pub(super) fn into_rest(mut self, share: BudgetShare) -> OriginBody<Res> {
        let chunks = std::mem::take(&mut self.collected.chunks);
        match self.body.take() {
            Some(body) => OriginBody::resumed(Resumed::new(chunks, body, share)),
            None => unreachable!("a body that is given up has not ended"),
        }
    }
}

impl<B: Backend, Res: InnerBody> Drop for CollectingBody<'_, B, Res> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            let share = self.write.pending.state.buffer_share();
            let rest = OriginBody::resumed(Resumed::new(Vec::new(), body, share));
            read_without_client(self.write, rest, self.left);
        }
    }
}

/// The error of a body that is longer than announced.
#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is longer than announced")
    }
}

impl Error for TooLong {}
