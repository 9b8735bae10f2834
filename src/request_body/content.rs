//! The content of a request that the cache has read, as a body.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::BoxError;

/// A body whose type says nothing of where it comes from.
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// The content of a request that the cache has read, as a body: see
/// [`CacheLayer::request_body`](crate::CacheLayer::request_body).
///
/// Where the content is longer than the cache collects, its rest still comes from the client. An
/// error of the client's body stays what it is.
pub struct RequestContent {
    /// What has been read, in its order.
    read: VecDeque<Result<Frame<Bytes>, BoxError>>,
    /// The rest, if there is more. The lock makes it `Sync`, as boxed bodies have to be.
    rest: Option<Mutex<AnyBody>>,
}

impl RequestContent {
    /// Creates the content of a request that has none.
    pub(crate) fn empty() -> Self {
        Self {
            read: VecDeque::new(),
            rest: None,
        }
    }

    /// Creates content of these bytes.
    pub(crate) fn of_bytes(bytes: Bytes) -> Self {
        let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
        Self {
            read: frame.into_iter().collect(),
            rest: None,
        }
    }

    /// Adds a frame behind the bytes that were read, or the error in its place.
    pub(crate) fn followed_by(mut self, frame: Result<Frame<Bytes>, BoxError>) -> Self {
        self.read.push_back(frame);
        self
    }

    /// Adds the part of a body that has not been read.
    pub(crate) fn with_rest(self, rest: AnyBody) -> Self {
        Self {
            rest: Some(Mutex::new(rest)),
            ..self
        }
    }

    /// Returns the first bytes that were read.
    pub(super) fn into_first_bytes(mut self) -> Bytes {
        let first = self.read.pop_front().and_then(Result::ok);
        let data = first.and_then(|frame| frame.into_data().ok());
        data.unwrap_or_default()
    }

    /// Asks the rest of the body, if there is more.
    fn of_rest<R>(&self, ask: impl FnOnce(&AnyBody) -> R) -> Option<R> {
        let rest = self.rest.as_ref()?;
        Some(ask(&rest.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Body for RequestContent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let rest = rest.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.of_rest(Body::is_end_stream).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.read.iter().flatten();
        let data = frames.filter_map(Frame::data_ref);
        let read: u64 = data.map(|data| data.len() as u64).sum();
        let Some(rest) = self.of_rest(Body::size_hint) else {
            return SizeHint::with_exact(read);
        };
        let mut whole = SizeHint::new();
        whole.set_lower(read.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| read.checked_add(upper)) {
            whole.set_upper(upper);
        }
        whole
    }
}

impl fmt::Debug for RequestContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContent")
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}
