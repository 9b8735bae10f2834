//! A body that comes in pieces.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};
use tower_response_cache::BoxError;

use crate::support::origin::OriginBody;

/// A body that comes in pieces, each after a while.
pub struct Trickle {
    /// The pieces, each with the time before it.
    pub chunks: VecDeque<(Duration, Bytes)>,
    /// Whether it breaks off after that.
    pub fails: bool,
    /// Its length, if that is known beforehand.
    pub length: Option<u64>,
    pub timer: Option<Pin<Box<Sleep>>>,
}

impl Trickle {
    pub fn boxed(self) -> OriginBody {
        BodyExt::boxed_unsync(self)
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((wait, _)) = self.chunks.front() else {
            let failed = std::mem::take(&mut self.fails);
            return Poll::Ready(failed.then(|| Err("broken off".into())));
        };
        let wait = *wait;
        if !wait.is_zero() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        let chunk = self.chunks.pop_front().map(|(_, chunk)| chunk);
        self.length = self
            .length
            .map(|length| length - chunk.as_ref().map_or(0, Bytes::len) as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
