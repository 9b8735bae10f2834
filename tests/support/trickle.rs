//! A body that comes in pieces.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};
use tower_response_cache::BoxError;

use super::origin::OriginBody;

/// The next step of a body.
pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// It breaks off.
    Error,
    /// Nothing comes any more, and no end.
    Silence,
}

/// A body that comes in pieces, each after a while.
pub struct Trickle {
    /// The pieces, each with the time before it.
    steps: VecDeque<(Duration, Step)>,
    /// The length of the rest, if it is announced.
    length: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Trickle {
    pub fn new(steps: VecDeque<(Duration, Step)>, length: Option<u64>) -> Self {
        Self {
            steps,
            length,
            timer: None,
        }
    }

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
        let Some((wait, step)) = self.steps.front() else {
            return Poll::Ready(None);
        };
        if matches!(step, Step::Silence) {
            return Poll::Pending;
        }
        let wait = *wait;
        if !wait.is_zero() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        let Some((_, step)) = self.steps.pop_front() else {
            return Poll::Ready(None);
        };
        Poll::Ready(match step {
            Step::Data(data) => {
                let sent = data.len() as u64;
                self.length = self.length.map(|length| length - sent);
                Some(Ok(Frame::data(data)))
            }
            Step::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Step::Error => Some(Err("broken off".into())),
            Step::Silence => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
