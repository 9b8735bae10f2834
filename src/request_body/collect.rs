//! Collects the content of a request up to a bound.

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;

use super::content::{AnyBody, RequestContent};
use crate::error::BoxError;
use crate::semantics::reason::Bypass;

/// What has become of the content of a request.
pub(crate) enum Collected {
    /// All of it is here.
    Whole(Bytes),
    /// It is no part of a key, for this reason. It goes on as it came.
    PassedOn(Bypass, RequestContent),
}

/// Collects content of at most `max` bytes, of which the head has announced a length or none.
///
/// It holds the bytes alone, however small the frames are that they come in. Cancelling this drops
/// them.
pub(crate) async fn collect(mut body: AnyBody, announced: Option<u64>, max: usize) -> Collected {
    if announced.is_some_and(|length| length > max as u64) {
        let content = RequestContent::empty().with_rest(body);
        return Collected::PassedOn(Bypass::ContentTooLong, content);
    }
    let mut bytes = Chunks::default();
    while let Some(frame) = body.frame().await {
        // Content that is there at once must not keep others from their turn.
        tokio::task::consume_budget().await;
        let frame = match frame.map(Frame::into_data) {
            Ok(Ok(data)) if data.len() <= max - bytes.len() => {
                bytes.push(data);
                continue;
            }
            Ok(Ok(data)) => {
                let read = RequestContent::of_bytes(bytes.into_bytes());
                let content = read.followed_by(Ok(Frame::data(data))).with_rest(body);
                return Collected::PassedOn(Bypass::ContentTooLong, content);
            }
            Ok(Err(trailers)) if trailers.trailers_ref().is_none_or(|all| all.is_empty()) => {
                continue;
            }
            Ok(Err(trailers)) => Ok(trailers),
            Err(error) => Err(error),
        };
        return unusable(bytes, Some(frame));
    }
    match announced {
        Some(length) if length != bytes.len() as u64 => unusable(bytes, None),
        _ => Collected::Whole(bytes.into_bytes()),
    }
}

/// Passes content on that has ended otherwise than it should.
fn unusable(bytes: Chunks, end: Option<Result<Frame<Bytes>, BoxError>>) -> Collected {
    let read = RequestContent::of_bytes(bytes.into_bytes());
    let content = match end {
        Some(frame) => read.followed_by(frame),
        None => read,
    };
    Collected::PassedOn(Bypass::ContentUnusable, content)
}

/// The bytes of several chunks, copied only if there is more than one.
#[derive(Default)]
struct Chunks {
    first: Bytes,
    all: BytesMut,
}

impl Chunks {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}
