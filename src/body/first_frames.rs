//! The frames of a body that are there at once, before the head of the response is sent.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::error::BodyError;
use crate::error::panics::{Panicked, catch};

use super::kept_chunks::keepable;
use super::origin::OriginBody;

/// The frames that are polled: enough for a body that is in memory already.
pub(crate) const AT_ONCE: usize = 2;

/// The first frames of a body, and its rest.
pub(crate) struct FirstFrames<B: Body> {
    /// The chunks of the first frames. None is empty.
    pub(super) chunks: [Option<Bytes>; AT_ONCE],
    pub(super) rest: Rest<B>,
}

/// The rest of a body, behind its first frames.
pub(super) enum Rest<B: Body> {
    /// Nothing but the trailers: the body has ended.
    Ended(Option<HeaderMap>),
    Failed(BodyError<B::Error>),
    Panicked,
    More(Pin<Box<OriginBody<B>>>),
}

impl<B: Body<Data = Bytes>> FirstFrames<B> {
    /// Polls a body as often as it has a frame. It has to be polled again if there is more to come:
    /// no task is woken for it yet.
    pub(crate) fn poll(body: OriginBody<B>) -> Self {
        let mut chunks = [const { None }; AT_ONCE];
        let mut body = Box::pin(body);
        let polled = catch(|| poll_chunks(body.as_mut(), &mut chunks));
        let rest = match polled {
            Ok(Some(end)) => end,
            Ok(None) => Rest::More(body),
            Err(Panicked) => Rest::Panicked,
        };
        Self { chunks, rest }
    }

    /// Whether polling the body has panicked. It is polled no more then.
    pub(crate) fn has_panicked(&self) -> bool {
        matches!(self.rest, Rest::Panicked)
    }

    /// The length of the body, if it is whole, and has at most one chunk.
    pub(crate) fn whole_length(&self) -> Option<u64> {
        match (&self.chunks, &self.rest) {
            ([chunk, None], Rest::Ended(_)) => {
                Some(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64))
            }
            _ => None,
        }
    }

    /// The content and the trailers of a body that is whole, and has at most one chunk.
    pub(crate) fn into_whole(self) -> (Bytes, Option<HeaderMap>) {
        let [chunk, _] = self.chunks;
        let trailers = match self.rest {
            Rest::Ended(trailers) => trailers,
            Rest::Failed(_) | Rest::Panicked | Rest::More(_) => None,
        };
        (chunk.unwrap_or_default(), trailers)
    }
}

/// Polls the chunks of a body that are there. Returns its end, if that is there, too.
fn poll_chunks<B: Body<Data = Bytes>>(
    mut body: Pin<&mut OriginBody<B>>,
    chunks: &mut [Option<Bytes>; AT_ONCE],
) -> Option<Rest<B>> {
    let mut cx = Context::from_waker(Waker::noop());
    for chunk in chunks {
        let Poll::Ready(frame) = body.as_mut().poll_frame(&mut cx) else {
            return None;
        };
        match frame {
            None => return Some(Rest::Ended(None)),
            Some(Err(error)) => return Some(Rest::Failed(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => *chunk = Some(keepable(&data)),
                Err(frame) => return Some(Rest::Ended(frame.into_trailers().ok())),
            },
        }
    }
    None
}
